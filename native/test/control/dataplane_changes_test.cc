// What is changed of ports and bridges while others move frames: those lose nothing, and from the
// change on it holds.

#include "test/packets.h"
#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1;
constexpr uint32_t kFrameBytes = 60;

// Two guests that talk to each other meanwhile, and one that changes.
struct Changed {
  explicit Changed(uint32_t workers = 1) : bridge(workers) {
    there.Pass(10);
    CHECK_EQ(bridge.plane().AddBridge(300), 1u);
  }
  Dataplane& plane() { return bridge.plane(); }
  // How many frames it was given since the last look.
  size_t Heard() {
    const size_t frames = changing->guest.Receive().size();
    changing->guest.Post();
    return frames;
  }
  // Floods a frame from a member, and returns when its buffer is back: it is where it goes then.
  static void Flood(RunningBridge::Member& from) {
    const FrameBytes frame = MakeFrame(kBroadcast, MacOf(from.port), kFrameBytes);
    CHECK(RunningBridge::Send(from, frame));
    CHECK(ComesTrue([&] { return from.guest.Sending() == 0; }));
  }

  RunningBridge bridge;
  std::unique_ptr<RunningBridge::Member> from = bridge.Join(kModern);
  std::unique_ptr<RunningBridge::Member> to = bridge.Join(kModern);
  std::unique_ptr<RunningBridge::Member> changing = bridge.Join(kModern);
  Stream there{*from, *to};
};

FACT("a port that is moved is heard on its new bridge only, and the others lose nothing") {
  for (const uint32_t workers : {1u, 2u}) {
    Changed at(workers);
    auto other = at.bridge.Join(kModern);
    at.Flood(*at.changing);
    at.Flood(*other);
    CHECK(at.Heard() >= 1);
    at.there.Fill();
    at.plane().MovePort(at.changing->port, 1);
    at.there.Pass(500);
    CHECK_EQ(at.plane().ReadFdb(1).size(), 0u);
    for (const FdbRecord& record : at.plane().ReadFdb(0)) CHECK(record.port != at.changing->port);
    at.Heard();
    at.Flood(*other);
    CHECK_EQ(at.Heard(), 0u);
    at.plane().MovePort(other->port, 1);
    at.Flood(*other);
    CHECK_EQ(at.Heard(), 1u);
    // To an address that was learned where the port was before.
    CHECK(RunningBridge::Send(
        *at.changing, MakeFrame(MacOf(other->port), MacOf(at.changing->port), kFrameBytes)));
    CHECK(ComesTrue([&] { return at.changing->guest.Sending() == 0; }));
    CHECK_EQ(at.plane().ReadFdb(1).size(), 2u);
    at.there.Pass(500);
    at.there.Finish();
  }
}

FACT("a port that is moved is recorded with its new bridge, and not with the old one any more") {
  Changed at;
  // What the other two still had on the way would be recorded, rightly.
  at.there.Finish();
  const int call_fd = eventfd(0, EFD_NONBLOCK);
  const uint32_t old_capture = at.plane().CaptureBridge(0, 64, call_fd);
  const uint32_t new_capture = at.plane().CaptureBridge(1, 64, call_fd);
  const auto recorded = [&](uint32_t capture) {
    return ReadPackets(at.plane().CaptureAt(capture), 4096, [](const CapturedPacket&) {});
  };
  at.plane().MovePort(at.changing->port, 1);
  at.Flood(*at.changing);
  CHECK(recorded(new_capture) > 0);
  CHECK_EQ(recorded(old_capture), 0u);
  at.plane().RemoveCapture(old_capture);
  at.plane().RemoveCapture(new_capture);
  close(call_fd);
}

FACT("the number of a bridge that was removed is given to the next one") {
  Changed at;
  at.plane().MovePort(at.changing->port, 1);
  CHECK_EQ(at.plane().AddBridge(300), 2u);
  at.plane().MovePort(at.changing->port, 2);
  at.plane().RemoveBridge(1);
  CHECK(!at.plane().HasBridge(1));
  // Sweeps go past the gap.
  at.there.Pass(5000);
  CHECK_EQ(at.plane().AddBridge(300), 1u);
  at.plane().MovePort(at.changing->port, 0);
  at.there.Finish();
}

FACT("a forwarding table grows as it fills, one event after another, and others lose nothing") {
  constexpr uint32_t kAddresses = 20'000;
  for (const uint32_t workers : {1u, 2u}) {
    Changed at(workers);
    Dataplane& plane = at.plane();
    const uint16_t sender = plane.AddProcessPort(1);
    plane.AddProcessPort(1);
    plane.SetPortFdbLimit(sender, kAddresses);
    at.there.Fill();
    Event event;
    for (uint32_t i = 0; i < kAddresses; ++i) {
      const FrameBytes frame = MakeFrame(kBroadcast, MacOf(1000 + i), kFrameBytes);
      // As long as the table has no room an address is refused, so each comes until it is learned.
      CHECK(ComesTrue(
          [&] { return plane.ProcessTransmitqOf(sender).Send(frame.data(), kFrameBytes); }));
      if (i % 64 != 63) continue;
      plane.PublishProcessSent(sender);
      while (plane.PopEvent(&event)) continue;
    }
    plane.PublishProcessSent(sender);
    CHECK(ComesTrue([&] { return plane.ProcessTransmitqOf(sender).Drained(); }));
    at.there.Pass(500);
    // What came while there was no room: now there is.
    CHECK(ComesTrue([&] {
      while (plane.PopEvent(&event)) continue;
      const size_t known = plane.ReadFdb(1).size();
      if (known == kAddresses) return true;
      const std::vector<FdbRecord> records = plane.ReadFdb(1);
      std::vector<bool> is_known(kAddresses);
      for (const FdbRecord& record : records) is_known[record.mac - MacOf(1000)] = true;
      for (uint32_t i = 0; i < kAddresses; ++i) {
        const FrameBytes frame = MakeFrame(kBroadcast, MacOf(1000 + i), kFrameBytes);
        if (!is_known[i]) plane.ProcessTransmitqOf(sender).Send(frame.data(), kFrameBytes);
      }
      plane.PublishProcessSent(sender);
      return false;
    }));
    at.there.Finish();
  }
}

FACT("sources that a port is bound to no more are let through") {
  Changed at;
  at.plane().BindSources(at.changing->port, {.macs = {MacOf(99)}, .networks = {}});
  at.Flood(*at.changing);
  CHECK_EQ(at.bridge.Drops(*at.changing, Fate::kSpoofedMac), 1u);
  at.plane().UnbindSources(at.changing->port);
  at.Flood(*at.changing);
  CHECK_EQ(at.bridge.Drops(*at.changing, Fate::kSpoofedMac), 1u);
  at.there.Pass(10);
  at.there.Finish();
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
