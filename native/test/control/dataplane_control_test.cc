// The control queue of a port as the data plane serves it: how many commands a turn answers, what
// it says of them, and what breaks the queue.
//
// Source: virtio 1.2 §5.1.6.5; vhost-user "Ring states" (rings that are not enabled).

#include "test/check.h"
#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kFeatures = VIRTIO_F_VERSION_1 | VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX |
                               VIRTIO_NET_F_CTRL_MAC_ADDR | VIRTIO_NET_F_GUEST_ANNOUNCE;
constexpr uint32_t kQueue = 2;
constexpr uint8_t kUnanswered = 0xff;
const Bytes kPromiscuous = {VIRTIO_NET_CTRL_RX, 0, 1};
const Bytes kAnnounced = {VIRTIO_NET_CTRL_ANNOUNCE, 0};

Bytes SetMac(uint8_t last) { return {VIRTIO_NET_CTRL_MAC, 1, 0x52, 0x54, 0, 0, 0, last}; }

// A port of which nothing runs but the control queue.
class Controlled {
 public:
  Controlled() : driver_(ram_, 64) {
    port_ = plane().AddPort(2, 0);
    plane().SetFeatures(port_, kFeatures);
    CHECK_EQ(plane().SetMemory(port_, ram_.Share()), MapResult::kOk);
    Start(0);
    plane().EnableQueue(port_, kQueue, true);
  }

  Dataplane& plane() { return bridge_.plane(); }
  uint16_t port() const { return port_; }
  SplitDriver& driver() { return driver_; }

  void Start(uint32_t base) {
    const QueueStart start = {.rings = driver_.addresses(),
                              .size = driver_.size(),
                              .base = base,
                              .kick_fd = -1,
                              .control_pairs = 1};
    CHECK_EQ(plane().StartQueue(port_, kQueue, start), RingResult::kOk);
  }

  // Offers a command, with a status if that is wanted.
  void Say(const Bytes& command, bool with_status = true) {
    const uint64_t at = ram_.Allocate(command.size());
    const uint64_t status = ram_.Allocate(1);
    ram_.Write(at, command);
    ram_.Write(status, {kUnanswered});
    const auto next = static_cast<uint16_t>(head_ + 1);
    driver_.WriteDescriptor(head_, {at, static_cast<uint32_t>(command.size())},
                            with_status ? SplitDriver::kNext : 0, next);
    driver_.WriteDescriptor(next, {status, 1}, SplitDriver::kWrite);
    driver_.Offer(head_);
    head_ = static_cast<uint16_t>(head_ + 2);
    statuses_.push_back(status);
  }
  uint8_t Answer(size_t command) { return ram_.Read(statuses_.at(command), 1).front(); }
  Dataplane::ControlTurn Serve(uint32_t commands_max) {
    return plane().ServeControl(port_, kQueue, commands_max);
  }
  BreakReason broken() { return plane().ReadQueue(port_, kQueue).broken; }

 private:
  RunningBridge bridge_{1};
  GuestRam ram_ = GuestRam::OfBytes(4 << 20);
  SplitDriver driver_;
  uint16_t port_;
  uint16_t head_ = 0;
  std::vector<uint64_t> statuses_;
};

FACT("a turn answers as many commands as it may, in order, and says whether others wait") {
  Controlled guest;
  CHECK_EQ(guest.Serve(8).commands, 0u);
  for (int i = 0; i < 5; ++i) guest.Say(kPromiscuous);
  for (const uint16_t answered : {uint16_t{2}, uint16_t{4}, uint16_t{5}}) {
    const Dataplane::ControlTurn turn = guest.Serve(2);
    CHECK_EQ(turn.commands, answered == 5 ? 1u : 2u);
    CHECK_EQ(turn.more, answered != 5);
    CHECK_EQ(guest.driver().used_index(), answered);
    for (size_t i = 0; i < 5; ++i) {
      CHECK_EQ(guest.Answer(i), i < answered ? VIRTIO_NET_OK : kUnanswered);
    }
  }
}

FACT("a turn has a bound of its own, whatever is asked for") {
  Controlled guest;
  for (int i = 0; i < 20; ++i) guest.Say(kPromiscuous);
  CHECK_EQ(guest.Serve(1000).commands, 16u);
  CHECK_EQ(guest.Serve(1000).commands, 4u);
}

FACT("of several addresses in a turn the last counts, and a refused one does not") {
  Controlled guest;
  guest.Say(SetMac(1));
  guest.Say(SetMac(2));
  guest.Say({VIRTIO_NET_CTRL_MAC, 1, 0x53, 0, 0, 0, 0, 3});
  guest.Say(kAnnounced);
  const Dataplane::ControlTurn turn = guest.Serve(8);
  CHECK_EQ(turn.mac, 0x5254'0000'0002u);
  CHECK(turn.announced);
  CHECK_EQ(guest.Answer(1), VIRTIO_NET_OK);
  CHECK_EQ(guest.Answer(2), VIRTIO_NET_ERR);
  CHECK_EQ(guest.Serve(8).mac, 0u);
}

FACT("a command without a status breaks the queue, behind those that are answered") {
  Controlled guest;
  guest.Say(kPromiscuous);
  guest.Say(kPromiscuous);
  guest.Say(kPromiscuous, false);
  guest.Say(kPromiscuous);
  const Dataplane::ControlTurn turn = guest.Serve(8);
  CHECK_EQ(turn.commands, 2u);
  CHECK(!turn.more);
  CHECK_EQ(guest.Answer(1), VIRTIO_NET_OK);
  CHECK_EQ(guest.Answer(3), kUnanswered);
  CHECK_EQ(guest.driver().used_index(), 2);
  CHECK_EQ(guest.broken(), BreakReason::kCommandWithoutStatus);
  CHECK_EQ(guest.Serve(8).commands, 0u);
}

FACT("vhost-user Ring states: not enabled, the queue answers with an error and changes nothing") {
  Controlled guest;
  guest.plane().EnableQueue(guest.port(), kQueue, false);
  guest.Say(SetMac(1));
  const Dataplane::ControlTurn turn = guest.Serve(8);
  CHECK_EQ(turn.commands, 1u);
  CHECK_EQ(turn.mac, 0u);
  CHECK_EQ(guest.Answer(0), VIRTIO_NET_ERR);
}

FACT("a queue that is stopped goes on behind the commands that were answered") {
  Controlled guest;
  guest.Say(kPromiscuous);
  CHECK_EQ(guest.Serve(8).commands, 1u);
  guest.Say(kPromiscuous);
  const uint32_t base = guest.plane().StopQueue(guest.port(), kQueue);
  CHECK_EQ(base, 1u);
  guest.Start(base);
  CHECK_EQ(guest.Serve(8).commands, 1u);
  CHECK_EQ(guest.Answer(1), VIRTIO_NET_OK);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
