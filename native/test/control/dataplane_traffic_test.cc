// Control calls while frames are on the way: each takes effect between two rounds, and nobody who
// is not concerned loses a frame. Every fact is held with one worker and with two.

#include <algorithm>

#include "test/open_fds.h"
#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1;
constexpr uint64_t kMerge = VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF;
constexpr uint32_t kRepeats = 40;

// Two guests with a stream each way, whose addresses the bridge has learned: nothing is flooded any
// more.
struct Pair {
  explicit Pair(RunningBridge& bridge, uint64_t features = kModern)
      : left(bridge.Join(features)), right(bridge.Join(features)) {
    Pass(1);
    Finish();
  }
  void Pass(uint32_t count) {
    there.Pass(count);
    back.Pass(count);
  }
  // As many as may be on the way, both ways, so that a call finds the workers busy.
  void Fill() {
    there.Fill();
    back.Fill();
  }
  void Finish() {
    there.Finish();
    back.Finish();
  }
  std::unique_ptr<RunningBridge::Member> left, right;
  Stream there{*left, *right};
  Stream back{*right, *left};
};

// Lets the bridge's every worker come round: frames from both sides of `other` have passed.
void LetRoundsPass(Pair& other) { other.Pass(200); }

FACT("frames pass both ways, in order and complete") {
  for (const uint32_t workers : {1u, 2u}) {
    RunningBridge bridge(workers);
    Pair pair(bridge, kMerge);
    for (uint32_t i = 0; i < kRepeats; ++i) pair.Pass(200);
    pair.Finish();
  }
}

FACT("StopQueue of a busy transmitq is exact, nothing touches it after, and it goes on there") {
  for (const uint32_t workers : {1u, 2u}) {
    RunningBridge bridge(workers);
    Pair pair(bridge);
    Pair other(bridge);
    for (uint32_t i = 0; i < kRepeats; ++i) {
      pair.there.Pass(i);
      pair.there.Fill();
      const auto base = static_cast<uint16_t>(bridge.plane().StopQueue(pair.left->port, 1));
      SplitDriver& driver = pair.left->guest.transmitq();
      CHECK_EQ(driver.used_index(), base);
      // More is offered and kicked; others are served; the ring stays as it was.
      CHECK(pair.left->guest.Send(MakeFrame(kBroadcast, MacOf(77), 60)));
      eventfd_write(pair.left->kick_fds[1], 1);
      LetRoundsPass(other);
      CHECK_EQ(driver.used_index(), base);
      bridge.StartQueue(*pair.left, 1, base);
    }
    pair.Finish();
  }
}

FACT("StopQueue of a busy receiveq is exact, and nothing is written into its buffers afterwards") {
  for (const uint32_t workers : {1u, 2u}) {
    RunningBridge bridge(workers);
    Pair pair(bridge);
    Pair other(bridge);
    for (uint32_t i = 0; i < kRepeats; ++i) {
      pair.there.Pass(i);
      pair.there.Fill();
      const auto base = static_cast<uint16_t>(bridge.plane().StopQueue(pair.right->port, 0));
      SplitDriver& driver = pair.right->guest.receiveq();
      CHECK_EQ(driver.used_index(), base);
      CHECK(ComesTrue([&] { return pair.left->guest.Sending() == 0; }));
      LetRoundsPass(other);
      CHECK_EQ(driver.used_index(), base);
      pair.there.Forgive();  // what came meanwhile was dropped and counted
      bridge.StartQueue(*pair.right, 0, base);
    }
    const uint64_t missed = bridge.Drops(*pair.right, Fate::kNotReady);
    pair.there.Pass(1);
    CHECK_EQ(missed, pair.there.forgiven());
  }
}

FACT("memory is replaced under traffic without the loss of a frame") {
  for (const uint32_t workers : {1u, 2u}) {
    RunningBridge bridge(workers);
    Pair pair(bridge);
    for (uint32_t i = 0; i < kRepeats; ++i) {
      pair.Fill();
      auto& member = i % 2 == 0 ? *pair.left : *pair.right;
      CHECK_EQ(bridge.plane().SetMemory(member.port, member.guest.ram().Share()), MapResult::kOk);
      pair.Pass(50);
    }
    pair.Finish();
  }
}

FACT("regions come and go under traffic without the loss of a frame") {
  for (const uint32_t workers : {1u, 2u}) {
    RunningBridge bridge(workers);
    Pair pair(bridge);
    const GuestRam hotplugged({{uint64_t{1} << 40, 1 << 20}});
    for (uint32_t i = 0; i < kRepeats; ++i) {
      pair.Fill();
      const RegionWithFile region = hotplugged.ShareRegion(0);
      CHECK_EQ(bridge.plane().AddMemoryRegion(pair.left->port, region), MapResult::kOk);
      pair.Fill();
      CHECK_EQ(bridge.plane().RemoveMemoryRegion(pair.left->port, region.description),
               MapResult::kOk);
      pair.Pass(50);
    }
    pair.Finish();
  }
}

FACT("a ring whose region is taken away rests, and goes on when the region is back") {
  for (const uint32_t workers : {1u, 2u}) {
    RunningBridge bridge(workers);
    Pair pair(bridge);
    Pair other(bridge);
    for (uint32_t i = 0; i < kRepeats; ++i) {
      pair.there.Pass(20);
      pair.there.Finish();  // nothing is on the way, so nothing may be lost
      const RegionWithFile region = pair.left->guest.ram().ShareRegion(0);
      CHECK_EQ(bridge.plane().RemoveMemoryRegion(pair.left->port, region.description),
               MapResult::kOk);
      pair.there.Fill();
      other.Pass(20);
      CHECK_EQ(bridge.plane().AddMemoryRegion(pair.left->port, region), MapResult::kOk);
    }
    pair.there.Finish();
  }
}

FACT("ports come, speak, hear and go under the traffic of others without the loss of a frame") {
  for (const uint32_t workers : {1u, 2u}) {
    RunningBridge bridge(workers);
    Pair pair(bridge);
    const size_t fds = OpenFdCount();
    for (uint32_t i = 0; i < kRepeats; ++i) {
      pair.Fill();
      auto guest = bridge.Join(kModern);
      CHECK_EQ(guest->port, 2);
      pair.Fill();
      // A broadcast reaches both others; the pair's streams tell them apart by source.
      CHECK(RunningBridge::Send(*guest, MakeFrame(kBroadcast, MacOf(guest->port), 60)));
      pair.Pass(20);
      CHECK(ComesTrue([&] { return guest->guest.Sending() == 0; }));
      pair.Fill();
      bridge.plane().RemovePort(guest->port);
      guest.reset();
      CHECK_EQ(OpenFdCount(), fds);
    }
    pair.Finish();
    // The pair's addresses stay known, the guest's went with its port.
    CHECK_EQ(bridge.plane().ReadFdb(0).size(), 2u);
  }
}

FACT("a transmitq disabled under traffic is emptied, and every frame arrives or is counted") {
  for (const uint32_t workers : {1u, 2u}) {
    RunningBridge bridge(workers);
    auto left = bridge.Join(kModern);
    auto right = bridge.Join(kModern);
    const FrameBytes frame = MakeFrame(kBroadcast, MacOf(left->port), 60);
    uint64_t sent = 0;
    for (uint32_t i = 0; i < kRepeats; ++i) {
      for (int burst = 0; burst < 200 && RunningBridge::Send(*left, frame); ++burst) ++sent;
      bridge.plane().EnableQueue(left->port, 1, i % 2 != 0);
      CHECK(ComesTrue([&] { return left->guest.Sending() == 0; }));
      right->guest.Receive();
      right->guest.Post();
    }
    // However late the worker was every time: it is enabled now.
    CHECK(RunningBridge::Send(*left, frame));
    ++sent;
    CHECK(ComesTrue([&] { return left->guest.Sending() == 0; }));
    const uint64_t discarded = bridge.Drops(*left, Fate::kDisabled);
    const uint64_t delivered = bridge.Count(*right, 0, kFrames);
    CHECK(discarded != 0);
    CHECK(delivered != 0);
    CHECK_EQ(discarded + delivered + bridge.Drops(*right, Fate::kNoBuffer), sent);
  }
}

FACT("a transmitq that moves between workers keeps its frames in order") {
  RunningBridge bridge(2);
  Pair pair(bridge);
  for (uint32_t i = 0; i < 2 * kRepeats; ++i) {
    pair.Fill();
    bridge.plane().AssignWorker(pair.left->port, 1, i % 2);
    CHECK_EQ(bridge.plane().WorkerOf(pair.left->port, 1), i % 2);
    pair.Pass(20);
  }
  pair.Finish();
}

FACT("several workers fill one receiveq and every sender's frames stay in order") {
  RunningBridge bridge(2);
  auto to = bridge.Join(kModern, {.chains = 400});
  std::vector<std::unique_ptr<RunningBridge::Member>> senders;
  std::vector<uint32_t> sent(5, 0);
  std::vector<uint32_t> received(5, 0);
  for (int i = 0; i < 4; ++i) senders.push_back(bridge.Join(kModern));
  for (uint32_t i = 0; i < 4; ++i) bridge.plane().AssignWorker(senders[i]->port, 1, i % 2);
  // Unicast needs the address; a frame from it teaches all.
  CHECK(RunningBridge::Send(*to, MakeFrame(kBroadcast, MacOf(to->port), 60)));
  CHECK(ComesTrue([&] { return to->guest.Sending() == 0; }));
  const uint32_t kEach = 5000;
  CHECK(ComesTrue([&] {
    for (auto& sender : senders) {
      uint32_t& number = sent[sender->port];
      while (number < kEach && number - received[sender->port] < 60 &&
             RunningBridge::Send(*sender,
                                 MakeFrame(MacOf(to->port), MacOf(sender->port), 100, number))) {
        ++number;
      }
    }
    for (const FrameBytes& frame : to->guest.Receive()) {
      const uint32_t port = frame[11];
      CHECK(frame == MakeFrame(MacOf(to->port), MacOf(port), 100, received[port]));
      ++received[port];
    }
    to->guest.Post();
    return std::all_of(received.begin() + 1, received.end(),
                       [&](uint32_t n) { return n == kEach; });
  }));
  CHECK_EQ(bridge.Count(*to, 0, kFrames), 4 * kEach);
}

FACT("a guest that breaks its queue in a thousand ways stops only itself") {
  for (const uint32_t workers : {1u, 2u}) {
    RunningBridge bridge(workers);
    Pair pair(bridge);
    auto hostile = bridge.Join(kModern);
    SplitDriver& driver = hostile->guest.transmitq();
    uint32_t state = 12345;
    const auto random = [&] { return state = state * 1664525u + 1013904223u; };
    for (uint32_t i = 0; i < kRepeats; ++i) {
      for (uint32_t entry = 0; entry < NetGuest::kQueueSize; ++entry) {
        // Zeros, so that what passes for a frame is one from no address; now and then nowhere.
        const uint64_t address =
            random() % 32 == 0 ? ~uint64_t{0} : (2 << 20) + random() % (3 << 20);
        driver.WriteDescriptor(entry, {address, random() % 2000},
                               static_cast<uint16_t>(random() >> 16 & 7),
                               static_cast<uint16_t>(random() >> 16));
        driver.Put(static_cast<uint16_t>(random() >> 16) % 520);
      }
      driver.Publish();
      eventfd_write(hostile->kick_fds[1], 1);
      pair.Pass(20);
      const uint32_t base = bridge.plane().StopQueue(hostile->port, 1);
      driver.ResumeAt(static_cast<uint16_t>(base));
      bridge.StartQueue(*hostile, 1, base);
    }
    Event event;
    uint32_t broken = 0;
    while (bridge.plane().PopEvent(&event)) {
      if (event.type != Event::Type::kQueueBroken) continue;
      CHECK_EQ(event.port, hostile->port);
      ++broken;
    }
    CHECK(broken > kRepeats / 2);
  }
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
