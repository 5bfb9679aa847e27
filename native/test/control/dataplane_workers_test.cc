// Workers that are added, and that end, while others move frames: no flow loses, repeats or
// reorders one, and every worker gets its share. Run with ThreadSanitizer, this is where the first
// worker begins to take locks.

#include <algorithm>
#include <cerrno>

#include "core/policy/stages.h"
#include "core/policy/wire.h"
#include "test/open_fds.h"
#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1;
constexpr uint32_t kWorkersInTheEnd = 4;

// Guests that all send numbered frames to each other, so that every receiveq is filled from every
// transmitq. At most kOnTheWayMax of a flow are under way, for which there are buffers.
class Mesh {
 public:
  explicit Mesh(RunningBridge& bridge) : bridge_(bridge) {
    for (uint32_t i = 0; i < kGuests; ++i) {
      guests_.push_back(bridge.Join(kModern));
      CHECK_EQ(guests_[i]->port, i);
    }
    // Once every address is known, nothing is flooded.
    for (auto& guest : guests_) {
      CHECK(RunningBridge::Send(*guest, MakeFrame(kBroadcast, MacOf(guest->port), 60)));
    }
    CHECK(ComesTrue([&] {
      for (auto& guest : guests_) Receive(*guest);
      return bridge.plane().ReadFdb(0).size() == kGuests && greetings_ == kGuests * (kGuests - 1);
    }));
  }

  // As many as may be on the way.
  void Fill() {
    for (uint32_t from = 0; from < kGuests; ++from) {
      for (uint32_t to = 0; to < kGuests; ++to) {
        while (to != from && sent_[from][to] - received_[from][to] < kOnTheWayMax &&
               RunningBridge::Send(*guests_[from], Frame(from, to, sent_[from][to]))) {
          ++sent_[from][to];
        }
      }
    }
  }
  // Until `count` more frames of every flow have arrived.
  void Pass(uint32_t count) {
    wanted_ += count;
    CHECK(ComesTrue([&] {
      Fill();
      for (auto& guest : guests_) Receive(*guest);
      return EveryFlow([&](uint32_t, uint32_t received) { return received >= wanted_; });
    }));
  }
  void Finish() {
    CHECK(ComesTrue([&] {
      for (auto& guest : guests_) Receive(*guest);
      return EveryFlow([](uint32_t sent, uint32_t received) { return received == sent; });
    }));
  }
  // How many transmitqs each worker polls.
  std::vector<uint32_t> Shares() {
    std::vector<uint32_t> shares(bridge_.plane().worker_count(), 0);
    for (auto& guest : guests_) ++shares[bridge_.plane().WorkerOf(guest->port, 1)];
    return shares;
  }
  static constexpr uint32_t kGuests = 5;

 private:
  static constexpr uint32_t kOnTheWayMax = 15;

  static FrameBytes Frame(uint32_t from, uint32_t to, uint32_t number) {
    return MakeFrame(MacOf(to), MacOf(from), 60 + number % 1000, number);
  }
  void Receive(RunningBridge::Member& to) {
    for (const FrameBytes& frame : to.guest.Receive()) {
      const uint32_t from = frame[11];
      if (frame[0] == 0xff) {
        ++greetings_;
        continue;
      }
      CHECK(frame == Frame(from, to.port, received_[from][to.port]));
      ++received_[from][to.port];
    }
    to.guest.Post();
  }
  template <class Fits>
  bool EveryFlow(Fits fits) const {
    for (uint32_t from = 0; from < kGuests; ++from) {
      for (uint32_t to = 0; to < kGuests; ++to) {
        if (to != from && !fits(sent_[from][to], received_[from][to])) return false;
      }
    }
    return true;
  }

  RunningBridge& bridge_;
  std::vector<std::unique_ptr<RunningBridge::Member>> guests_;
  uint32_t sent_[kGuests][kGuests] = {};
  uint32_t received_[kGuests][kGuests] = {};
  uint32_t wanted_ = 0;
  uint32_t greetings_ = 0;
};

FACT("a worker that is stuck in a round is told from one that works and one that sleeps") {
  RunningBridge bridge(2);
  Dataplane& plane = bridge.plane();
  const auto stuck = bridge.Join(kModern);
  const auto other = bridge.Join(kModern);
  const uint32_t worker = plane.WorkerOf(stuck->port, 1);
  CHECK_EQ(plane.WorkerOf(other->port, 1), 1 - worker);
  const auto makes_rounds = [&](uint32_t which) {
    return ComesTrue([&] { return plane.WorkerHasMadeRound(which); });
  };
  // Often enough to meet them awake and asleep; each time says it of the time since.
  for (uint32_t i = 0; i < 100; ++i) CHECK(makes_rounds(0) && makes_rounds(1));
  bridge.Hold();
  CHECK(RunningBridge::Send(*stuck, MakeFrame(kBroadcast, MacOf(stuck->port), 60)));
  CHECK(ComesTrue([&] { return bridge.notifications() == 1; }));
  // It was not stuck from the beginning.
  plane.WorkerHasMadeRound(worker);
  for (uint32_t i = 0; i < 100; ++i) {
    CHECK(!plane.WorkerHasMadeRound(worker));
    CHECK(makes_rounds(1 - worker));
  }
  bridge.LetGo();
  for (uint32_t i = 0; i < 100; ++i) CHECK(makes_rounds(worker));
  CHECK(ComesTrue([&] { return !other->guest.Receive().empty(); }));
  other->guest.Post();
  // Whoever asks hinders no frames and no pauses, nor they it.
  Stream stream(*stuck, *other);
  for (uint32_t i = 0; i < 100; ++i) {
    plane.WorkerHasMadeRound(worker);
    plane.EnableQueue(other->port, 0, true);
    stream.Pass(10);
    CHECK(makes_rounds(worker));
  }
  stream.Finish();
}

FACT("workers added under the traffic of several ports lose, repeat and reorder no frame") {
  for (const uint32_t idle_us : {0u, 50u}) {
    RunningBridge bridge(1, idle_us);
    Mesh mesh(bridge);
    mesh.Pass(100);
    while (bridge.plane().worker_count() < kWorkersInTheEnd) {
      mesh.Fill();
      CHECK(bridge.plane().AddWorker(-1));
      mesh.Pass(200);
    }
    mesh.Finish();
  }
}

FACT("workers that end under the traffic of several ports lose, repeat and reorder no frame") {
  RunningBridge bridge(kWorkersInTheEnd, 0);
  Mesh mesh(bridge);
  while (bridge.plane().worker_count() > 1) {
    mesh.Pass(200);
    mesh.Fill();
    bridge.plane().RemoveWorker();
    bridge.plane().SetIdle(bridge.plane().worker_count());
    mesh.Pass(200);
  }
  CHECK((mesh.Shares() == std::vector<uint32_t>{Mesh::kGuests}));
  CHECK(bridge.plane().AddWorker(-1));
  mesh.Pass(200);
  mesh.Finish();
}

FACT("what links hold back for a worker that ends goes on in front of what comes later") {
  RunningBridge bridge(2, 0);
  auto left = bridge.Join(kModern);
  auto right = bridge.Join(kModern);
  Stream there(*left, *right);
  there.Pass(1);
  LinkSettings settings = {};
  settings.delay_ns = kNsPerMs;
  bridge.plane().SetLink(left->port, kNoPort, &settings);
  bridge.plane().SetLink(left->port, right->port, &settings);
  for (uint32_t i = 0; i < 10; ++i) {
    bridge.plane().AssignWorker(left->port, 1, 1);
    there.Pass(30);
    there.Fill();
    bridge.plane().RemoveWorker();
    there.Pass(30);
    CHECK(bridge.plane().AddWorker(-1));
  }
  there.Finish();
}

FACT("a worker is pinned to a CPU, taken off it, and stays where it is for one that is not there") {
  RunningBridge bridge(1);
  Mesh mesh(bridge);
  CHECK(bridge.plane().PinWorker(0, 0));
  mesh.Pass(20);
  constexpr int kNoSuchCpu = 1023;
  CHECK(!bridge.plane().PinWorker(0, kNoSuchCpu));
  CHECK(bridge.plane().PinWorker(0, -1));
  mesh.Pass(20);
  mesh.Finish();
}

FACT("a worker that is added polls as many transmitqs as the others, give or take one") {
  RunningBridge bridge(1);
  Mesh mesh(bridge);
  CHECK((mesh.Shares() == std::vector<uint32_t>{Mesh::kGuests}));
  while (bridge.plane().worker_count() < kWorkersInTheEnd) {
    CHECK(bridge.plane().AddWorker(-1));
    const std::vector<uint32_t> shares = mesh.Shares();
    const auto [fewest, most] = std::minmax_element(shares.begin(), shares.end());
    CHECK(*most - *fewest <= 1);
  }
}

FACT("a worker that cannot run on its CPU leaves everything as it was") {
  RunningBridge bridge(1);
  Mesh mesh(bridge);
  const size_t fds = OpenFdCount();
  constexpr int kNoSuchCpu = 1023;
  CHECK(!bridge.plane().AddWorker(kNoSuchCpu));
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(bridge.plane().worker_count(), 1u);
  CHECK_EQ(OpenFdCount(), fds);
  mesh.Pass(20);
  mesh.Finish();
}

FACT("frames that links hold back stay in front of those that a worker added later takes") {
  RunningBridge bridge(1, 0);
  auto left = bridge.Join(kModern);
  auto right = bridge.Join(kModern);
  Stream there(*left, *right);
  Stream back(*right, *left);
  there.Pass(1);
  back.Pass(1);
  LinkSettings settings = {};
  settings.delay_ns = kNsPerMs;
  settings.jitter_ns = kNsPerMs / 2;
  bridge.plane().SetLink(left->port, kNoPort, &settings);
  bridge.plane().SetLink(left->port, right->port, &settings);
  bridge.plane().SetLink(kNoPort, left->port, &settings);
  for (uint32_t i = 0; i < 30; ++i) {
    there.Pass(30);
    back.Pass(30);
    there.Fill();
    back.Fill();
    if (i % 10 == 0) {
      CHECK(bridge.plane().AddWorker(-1));
      continue;
    }
    const uint32_t worker = i % bridge.plane().worker_count();
    bridge.plane().AssignWorker(left->port, 1, worker);
    bridge.plane().AssignWorker(right->port, 1, worker);
  }
  there.Finish();
  back.Finish();
}

FACT("what a worker counts of its time holds at every moment of a sleep, and afterwards") {
  WorkerCounters counters;
  counters.CountIdle(7);
  CHECK_EQ(counters.Read(kIdleNs, 100), 7u);
  counters.FallAsleep(100);
  CHECK_EQ(counters.Read(kIdleNs, 100), 7u);
  CHECK_EQ(counters.Read(kIdleNs, 150), 57u);
  CHECK_EQ(counters.Read(kWakeups, 150), 0u);
  counters.WakeUp(160);
  CHECK_EQ(counters.Read(kIdleNs, 1000), 67u);
  CHECK_EQ(counters.Read(kWakeups, 1000), 1u);
  // Its first sleep, longer than it has been awake.
  WorkerCounters first;
  first.FallAsleep(5);
  first.WakeUp(1000);
  first.FallAsleep(1001);
  CHECK_EQ(first.Read(kIdleNs, 1002), 996u);
}

FACT("a round is counted by how many frames it moved, one that moved nothing is not") {
  const struct {
    uint32_t moved;
    WorkerCounter counter;
  } rounds[] = {
      {1, kRoundsOf1},       {2, kRoundsUpTo3},    {3, kRoundsUpTo3},     {4, kRoundsUpTo7},
      {15, kRoundsUpTo15},   {16, kRoundsUpTo31},  {63, kRoundsUpTo63},   {64, kRoundsUpTo127},
      {255, kRoundsUpTo255}, {256, kRoundsOfMore}, {8128, kRoundsOfMore},
  };
  for (const auto& [moved, counter] : rounds) {
    WorkerCounters counters;
    counters.CountRound(moved);
    for (uint32_t at = kRoundsOf1; at <= kRoundsOfMore; ++at)
      CHECK_EQ(counters.Read(static_cast<WorkerCounter>(at), 0), at == counter ? 1u : 0u);
    CHECK_EQ(counters.Read(kFramesMoved, 0), moved);
  }
  RunningBridge bridge(1);
  Dataplane& plane = bridge.plane();
  const auto from = bridge.Join(kModern);
  const auto to = bridge.Join(kModern);
  const auto counted = [&](WorkerCounter counter) { return plane.WorkerCounted(0, counter); };
  const uint64_t idle_ns = counted(kIdleNs);
  Stream stream(*from, *to);
  const uint64_t before = counted(kFramesMoved);
  stream.Pass(100);
  stream.Finish();
  CHECK(ComesTrue([&] { return counted(kFramesMoved) - before >= 100; }));
  uint64_t rounds_counted = 0;
  for (uint32_t at = kRoundsOf1; at <= kRoundsOfMore; ++at)
    rounds_counted += counted(static_cast<WorkerCounter>(at));
  CHECK(rounds_counted > 0 && rounds_counted <= counted(kFramesMoved));
  CHECK(ComesTrue([&] { return counted(kIdleNs) > idle_ns && counted(kWakeups) > 0; }));
}

FACT("what a transmitq takes along to another worker is waited for there, however late it is") {
  Clock clock(true);
  Wire left(clock, 0), joined(clock, 0);
  Port port(1), other_port(1);
  Queue moving, other;
  LinkSettings settings = {};
  settings.delay_ns = 10;
  Link link(settings), other_link(settings);
  uint8_t bytes[60] = {};
  const Piece piece = {bytes, sizeof(bytes)};
  const Frame frame = {
      .destination = 0, .source = 0, .body = {&piece, 0, sizeof(bytes)}, .offload = {}};
  const auto goes_on = [&](Wire& wire, Link& over, const Hop& hop) {
    FateCounters counters;
    Outcomes outcomes;
    FrameList list = {.count = 1, .frame = {0}};
    wire.Enter(over, &frame, &list, hop, counters, outcomes);
    return list.count == 1;
  };
  const Hop hop = {.stage = BitOf(Egress::kToGuestLink), .from = &moving, .to = &port};
  CHECK(!goes_on(left, link, hop));
  clock.AdvanceTo(clock.NowNs() + 20);
  CHECK(!goes_on(joined, other_link,
                 {.stage = BitOf(Egress::kToGuestLink), .from = &other, .to = &other_port}));
  CHECK_EQ(left.GiveTo(joined, &moving), 0u);
  settings.delay_ns = 0;
  link.Set(settings);
  CHECK(!goes_on(joined, link, hop));
  HeldFrame batch[kBatchFramesMax];
  CHECK_EQ(joined.TakeDue(batch), 2u);
  CHECK(batch[0].hop == hop && batch[0].due_ns < batch[1].due_ns);
  CHECK(goes_on(joined, link, hop));
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
