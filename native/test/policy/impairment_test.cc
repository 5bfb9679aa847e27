// Impaired links between ports: what arrives, when, and which counter says what did not. With a
// manual clock where outcomes are exact, and with worker threads where it is about races.

#include <algorithm>

#include "test/check.h"
#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1;

LinkSettings Seeded() {
  LinkSettings settings = {};
  settings.seed = 42;
  return settings;
}
LinkSettings Delayed(uint64_t ms) {
  LinkSettings settings = Seeded();
  settings.delay_ns = ms * kNsPerMs;
  return settings;
}

// Host ports on one bridge, whose addresses are known, with a clock that stands still.
class Network {
 public:
  explicit Network(uint32_t ports) {
    plane_ = std::make_unique<Dataplane>(Dataplane::Options{.worker_cpus = {-1},
                                                            .idle_us = 0,
                                                            .manual = true,
                                                            .notify = [](void*) {},
                                                            .notify_context = nullptr});
    CHECK(plane_->Start());
    plane_->AddBridge(0);
    for (uint32_t i = 0; i < ports; ++i) CHECK_EQ(plane_->AddProcessPort(0), i);
    for (uint16_t i = 0; i < ports; ++i) Send(i, kNoPort, 0);
    plane_->Step(1000);
    for (uint16_t i = 0; i < ports; ++i) Take(i);
  }
  Dataplane& plane() { return *plane_; }

  // To everybody with kNoPort.
  void Send(uint16_t from, uint16_t to, uint32_t number, uint32_t bytes = 100) {
    const FrameBytes frame =
        MakeFrame(to == kNoPort ? kBroadcast : MacOf(to), MacOf(from), bytes, number);
    CHECK(plane_->ProcessTransmitqOf(from).Send(frame.data(), bytes));
    plane_->PublishProcessSent(from);
  }
  std::vector<FrameBytes> Take(uint16_t port) {
    ProcessReceiveq& queue = plane_->ProcessReceiveqOf(port);
    std::vector<FrameBytes> frames;
    for (uint32_t bytes = queue.NextBytes(); bytes != 0; bytes = queue.NextBytes()) {
      const uint8_t* frame = queue.Next();
      frames.emplace_back(frame, frame + bytes);
    }
    queue.Release();
    return frames;
  }
  uint64_t Drops(uint16_t port, Fate fate) {
    return fate == Fate::kNoBuffer ? plane_->Counters(port)[0].value[kNoBuffer]
                                   : plane_->Fates(port)->Read(fate);
  }
  uint64_t Marked(uint16_t port, Mark mark) { return plane_->Fates(port)->Read(mark); }
  void Step() { plane_->Step(1000); }
  void Advance(uint64_t ms) { plane_->Advance(ms * kNsPerMs); }

 private:
  std::unique_ptr<Dataplane> plane_;
};

FACT("a delay on either side of a port, or between two ports, holds frames to the nanosecond") {
  struct Place {
    uint16_t from, to;
  };
  for (const Place place : {Place{0, kNoPort}, Place{kNoPort, 1}, Place{0, 1}}) {
    Network network(3);
    const LinkSettings settings = Delayed(10);
    network.plane().SetLink(place.from, place.to, &settings);
    network.Send(0, 1, 7);
    network.Step();
    CHECK_EQ(network.Take(1).size(), 0u);
    network.plane().Advance(10 * kNsPerMs - 1);
    CHECK_EQ(network.Take(1).size(), 0u);
    network.plane().Advance(1);
    const std::vector<FrameBytes> frames = network.Take(1);
    CHECK_EQ(frames.size(), 1u);
    CHECK(frames[0] == MakeFrame(MacOf(1), MacOf(0), 100, 7));
    // The other way, and to others where the link is not between the two, nothing is held.
    network.Send(1, 2, 8);
    network.Step();
    CHECK_EQ(network.Take(2).size(), 1u);
  }
}

FACT("links in a row add up, each taking a frame when the one before lets it go") {
  Network network(2);
  const LinkSettings first = Delayed(5), second = Delayed(7), third = Delayed(11);
  network.plane().SetLink(0, kNoPort, &first);
  network.plane().SetLink(0, 1, &second);
  network.plane().SetLink(kNoPort, 1, &third);
  network.Send(0, 1, 1);
  network.Advance(22);
  CHECK_EQ(network.Take(1).size(), 0u);
  network.Advance(1);
  CHECK_EQ(network.Take(1).size(), 1u);
}

FACT("what a link loses on its way from a guest teaches the bridge nothing") {
  Network network(2);
  LinkSettings settings = Seeded();
  settings.loss_good = 1;
  network.plane().FlushFdb(0, kNoPort);
  network.plane().SetLink(0, kNoPort, &settings);
  network.Send(0, 1, 1);
  network.Step();
  CHECK(network.plane().ReadFdb(0).empty());
  CHECK_EQ(network.Drops(0, Fate::kLost), 1u);
  network.plane().SetLink(0, kNoPort, nullptr);
  network.Send(0, 1, 2);
  network.Step();
  CHECK_EQ(network.plane().ReadFdb(0).size(), 1u);
  CHECK_EQ(network.Take(1).size(), 1u);
}

FACT("duplicates follow their originals, corrupted frames differ in one bit, and order is kept") {
  Network network(2);
  LinkSettings settings = Seeded();
  settings.duplicate = 0.2;
  settings.corrupt = 0.2;
  network.plane().SetLink(kNoPort, 1, &settings);
  uint32_t received = 0, corrupted = 0;
  constexpr uint32_t kFrames = 2000;
  uint32_t next = 0;
  for (uint32_t i = 0; i < kFrames; ++i) {
    network.Send(0, 1, i, 1000);
    if (i % 50 == 49) {
      network.Step();
      for (const FrameBytes& frame : network.Take(1)) {
        const auto bits_apart = [&](uint32_t number) {
          const FrameBytes expected = MakeFrame(MacOf(1), MacOf(0), 1000, number);
          int bits = 0;
          for (size_t k = 0; k < frame.size(); ++k)
            bits += __builtin_popcount(frame[k] ^ expected[k]);
          return bits;
        };
        // A copy of the frame before, or the next.
        const bool copy = next != 0 && bits_apart(next - 1) <= 1;
        if (!copy) ++next;
        CHECK(bits_apart(next - 1) <= 1);
        corrupted += bits_apart(next - 1) == 1;
        ++received;
      }
    }
  }
  CHECK_EQ(next, kFrames);
  CHECK_EQ(received, kFrames + network.Marked(1, Mark::kDuplicated));
  CHECK(network.Marked(1, Mark::kDuplicated) > 300 && network.Marked(1, Mark::kDuplicated) < 500);
  CHECK(corrupted >= network.Marked(1, Mark::kCorrupted));  // copies of corrupted frames are, too
  CHECK(network.Marked(1, Mark::kCorrupted) > 300);
}

FACT("a full pool drops and counts, the frames in it arrive, and the others are served meanwhile") {
  Network network(4);
  const LinkSettings settings = Delayed(1000);
  network.plane().SetLink(0, 1, &settings);
  constexpr uint32_t kFrames = HeldFrames::kFramesMax + 100;
  for (uint32_t i = 0; i < kFrames; ++i) {
    network.Send(0, 1, i, 60);
    network.plane().Step(1);
  }
  CHECK_EQ(network.Drops(1, Fate::kHeldOverflow), 100u);
  network.Send(2, 3, 1);
  network.Step();
  CHECK_EQ(network.Take(3).size(), 1u);
  uint32_t received = 0;
  const uint64_t no_buffer = network.Drops(1, Fate::kNoBuffer);
  network.Advance(1000);
  received = static_cast<uint32_t>(network.Take(1).size());
  CHECK_EQ(received + network.Drops(1, Fate::kNoBuffer) - no_buffer, HeldFrames::kFramesMax);
  CHECK(received > 1000);
}

FACT("a partition cuts its sides off from each other, one on none talks with all, and it heals") {
  Network network(5);
  const auto hears = [&](uint16_t from) {
    network.Send(from, kNoPort, 1);
    network.Step();
    std::vector<uint16_t> ports;
    for (uint16_t port = 0; port < 5; ++port) {
      if (!network.Take(port).empty()) ports.push_back(port);
    }
    return ports;
  };
  network.plane().SetPartition({{0, 1}, {2}, {3}});
  CHECK((hears(0) == std::vector<uint16_t>{1, 4}));
  CHECK((hears(2) == std::vector<uint16_t>{4}));
  CHECK((hears(4) == std::vector<uint16_t>{0, 1, 2, 3}));
  CHECK_EQ(network.Drops(2, Fate::kPartitioned), 1u);
  network.plane().SetPartition({{0}, {1}});
  CHECK((hears(2) == std::vector<uint16_t>{0, 1, 3, 4}));
  CHECK((hears(0) == std::vector<uint16_t>{2, 3, 4}));
  network.plane().SetPartition({});
  CHECK((hears(0) == std::vector<uint16_t>{1, 2, 3, 4}));
}

FACT("a port that goes takes along what is held for it, and its number serves the next one") {
  Network network(3);
  const LinkSettings settings = Delayed(10);
  network.plane().SetLink(0, 1, &settings);
  network.plane().SetLink(0, kNoPort, &settings);
  network.plane().SetLink(kNoPort, 1, &settings);
  network.Send(0, 1, 1);
  network.Send(2, 1, 2);
  network.Step();
  network.plane().RemovePort(0);
  network.plane().RemovePort(1);
  network.Advance(100);
  CHECK_EQ(network.plane().AddProcessPort(0), 0);
  CHECK_EQ(network.plane().AddProcessPort(0), 1);
  network.Send(0, kNoPort, 3);
  network.Step();
  CHECK_EQ(network.Take(1).size(), 1u);
}

FACT("links, ports and the workers of queues change while two workers move frames over them") {
  RunningBridge bridge(2, 0);
  Dataplane& plane = bridge.plane();
  auto left = bridge.Join(kModern);
  auto right = bridge.Join(kModern);
  Stream there(*left, *right);
  Stream back(*right, *left);
  there.Pass(1);
  back.Pass(1);
  for (uint32_t i = 0; i < 40; ++i) {
    LinkSettings settings = Seeded();
    settings.delay_ns = (i % 4) * 300'000;
    settings.jitter_ns = settings.delay_ns / 2;
    settings.bits_per_second = i % 3 == 0 ? 0 : 1'000'000'000;
    settings.queue_bytes = 1 << 20;
    plane.SetLink(left->port, kNoPort, &settings);
    plane.SetLink(kNoPort, right->port, &settings);
    plane.SetLink(right->port, left->port, &settings);
    plane.AssignWorker(left->port, 1, i % 2);
    const uint16_t passing = plane.AddProcessPort(0);
    plane.SetLink(left->port, passing, &settings);
    plane.SetPartition({{passing}, {left->port, right->port}});
    there.Pass(50);
    back.Pass(50);
    plane.RemovePort(passing);
    plane.SetPartition({});
    there.Pass(50);
    // Held frames and those behind them on a link that is whole again may pass each other: wait
    // first.
    there.Finish();
    back.Finish();
    if (i % 5 != 0) continue;
    plane.SetLink(left->port, kNoPort, nullptr);
    plane.SetLink(kNoPort, right->port, nullptr);
    plane.SetLink(right->port, left->port, nullptr);
  }
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
