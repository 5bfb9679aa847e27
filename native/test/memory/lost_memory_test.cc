// A memory file that is truncated in the middle of a buffer: found out by the copy itself, from the
// page or to it, by one worker or by two at once, with and without a capture. Its rings, which are
// kept, show that nothing but the access told of it.

#include <sys/eventfd.h>

#include "core/policy/capture.h"
#include "test/packets.h"
#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1;
constexpr uint32_t kPage = 4096;
constexpr uint32_t kHeaderBytes = 12;
constexpr uint32_t kLongFrameBytes = 3 * kPage / 2;
// Behind those that NetGuest uses.
constexpr uint16_t kDescriptor = NetGuest::kQueueSize - 1;

// A buffer at the very end of a guest's memory, whose second page then goes.
class TornBuffer {
 public:
  explicit TornBuffer(GuestRam& ram) : ram_(ram), guest_(ram.Allocate(2 * kPage, kPage)) {}

  Buffer buffer() const { return {guest_, kHeaderBytes + kLongFrameBytes}; }
  void Fill(const FrameBytes& frame) const { ram_.Write(guest_ + kHeaderBytes, frame); }
  void Tear() const { ram_.TruncateFile(0, guest_ + kPage - (1 << 20)); }

 private:
  GuestRam& ram_;
  const uint64_t guest_;
};

// Nothing but the loss of this member's memory, told once.
void CheckLost(RunningBridge& bridge, const RunningBridge::Member& member) {
  Event event;
  CHECK(ComesTrue([&] {
    while (bridge.plane().PopEvent(&event)) {
      if (event.type == Event::Type::kMacLearned) continue;
      CHECK_EQ(event.type, Event::Type::kMemoryLost);
      return true;
    }
    return false;
  }));
  CHECK_EQ(event.port, member.port);
  for (uint32_t queue = 0; queue < 2; ++queue)
    CHECK(bridge.plane().QueueBroken(member.port, queue));
}

// Streams both ways between two others, each on a worker of its own if there are two. Whatever is
// flooded is copied to both.
struct Bystanders {
  explicit Bystanders(RunningBridge& bridge)
      : one(bridge.Join(kModern, kShape)),
        other(bridge.Join(kModern, kShape)),
        there(*one, *other),
        back(*other, *one) {}
  void GoOn(uint32_t count) {
    there.Pass(count);
    back.Pass(count);
  }
  static constexpr ReceiveShape kShape = {.chains = 256, .buffer_bytes = 2 * kPage};
  std::unique_ptr<RunningBridge::Member> one;
  std::unique_ptr<RunningBridge::Member> other;
  Stream there;
  Stream back;
};

// From an address of its own, which the streams leave out.
FrameBytes FrameFrom(uint32_t number) {
  return MakeFrame(kBroadcast, MacOf(100 + number), kLongFrameBytes);
}

void SendTorn(RunningBridge::Member& member) {
  const TornBuffer torn(member.guest.ram());
  torn.Fill(FrameFrom(member.port));
  SplitDriver& driver = member.guest.transmitq();
  driver.WriteChain(kDescriptor, {torn.buffer()}, 0);
  torn.Tear();
  driver.Offer(kDescriptor);
  eventfd_write(member.kick_fds[1], 1);
}

FACT("a page that goes from under a copy from it costs its own port") {
  for (const uint32_t workers : {1u, 2u}) {
    RunningBridge bridge(workers);
    auto torn = bridge.Join(kModern);
    Bystanders bystanders(bridge);
    bystanders.GoOn(100);
    SendTorn(*torn);
    bystanders.GoOn(1000);
    CheckLost(bridge, *torn);
    bystanders.GoOn(1000);
  }
}

FACT("a page that goes from under a copy to it, by two workers at once, costs its own port") {
  for (const uint32_t workers : {1u, 2u}) {
    RunningBridge bridge(workers);
    auto torn = bridge.Join(kModern, {.chains = 0});
    Bystanders bystanders(bridge);
    bystanders.GoOn(100);
    const TornBuffer buffer(torn->guest.ram());
    SplitDriver& driver = torn->guest.receiveq();
    // As one chain for each of the two: what is copied into it is of no interest.
    for (const uint16_t descriptor : {kDescriptor, uint16_t{kDescriptor - 1}}) {
      driver.WriteChain(descriptor, {buffer.buffer()}, SplitDriver::kWrite);
      driver.Put(descriptor);
    }
    buffer.Tear();
    driver.Publish();
    for (auto* sender : {bystanders.one.get(), bystanders.other.get()}) {
      CHECK(RunningBridge::Send(*sender, FrameFrom(sender->port)));
    }
    bystanders.GoOn(1000);
    CheckLost(bridge, *torn);
    bystanders.GoOn(1000);
  }
}

FACT("two ports that lose their memory at once, on two workers, lose it apart from each other") {
  RunningBridge bridge(2);
  auto first = bridge.Join(kModern);
  auto second = bridge.Join(kModern);
  Bystanders bystanders(bridge);
  CHECK(bridge.plane().WorkerOf(first->port, 1) != bridge.plane().WorkerOf(second->port, 1));
  bystanders.GoOn(100);
  SendTorn(*first);
  SendTorn(*second);
  bystanders.GoOn(1000);
  uint32_t lost = 0;
  CHECK(ComesTrue([&] {
    for (Event event; bridge.plane().PopEvent(&event);) {
      if (event.type != Event::Type::kMemoryLost) continue;
      lost |= 1u << event.port;
    }
    return lost == (1u << first->port | 1u << second->port);
  }));
  bystanders.GoOn(1000);
}

FACT("a frame in memory that goes is recorded at both ports, and everybody else's frames whole") {
  RunningBridge bridge(2);
  auto torn = bridge.Join(kModern);
  Bystanders bystanders(bridge);
  const int call_fd = eventfd(0, EFD_NONBLOCK);
  const uint32_t capture = bridge.plane().CaptureBridge(0, kLongFrameBytes, call_fd);
  bystanders.GoOn(100);
  SendTorn(*torn);
  CheckLost(bridge, *torn);
  bystanders.GoOn(100);
  uint32_t recorded = 0;
  Capture& at = bridge.plane().CaptureAt(capture);
  ReadPackets(at, Capture::kRingBytes, [&](const CapturedPacket& packet) {
    CHECK_EQ(packet.lost, 0u);
    if (packet.interface != torn->port || packet.direction != Direction::kFromGuest) return;
    ++recorded;
    CHECK_EQ(packet.bytes, kLongFrameBytes);
  });
  CHECK_EQ(recorded, 1u);
  bridge.plane().RemoveCapture(capture);
  close(call_fd);
  bystanders.GoOn(1000);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
