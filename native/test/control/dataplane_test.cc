// The data plane as control sees it: what each call refuses, what it owns, and what it answers.

#include "core/control/dataplane.h"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include "test/open_fds.h"
#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1;
constexpr uint64_t kEventIdx = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX;

// By their name, since a sanitizer may have a thread of its own. One that was joined is listed
// until the kernel is done with it: zero has to be waited for.
size_t WorkerThreads() {
  size_t count = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::ifstream comm(thread.path() / "comm");
    std::getline(comm, name);
    count += name == "tsvswitch-work";
  }
  return count;
}

FACT("ports are numbered from 0, and a number that became free is given again") {
  RunningBridge bridge(1);
  Dataplane& plane = bridge.plane();
  for (uint16_t port = 0; port < 5; ++port) CHECK_EQ(plane.AddPort(1, 0), port);
  plane.RemovePort(2);
  CHECK(!plane.HasPort(2));
  CHECK(plane.HasPort(3));
  CHECK_EQ(plane.AddPort(1, 0), 2);
  CHECK_EQ(plane.AddPort(1, 0), 5);
}

FACT("1024 ports fit, and a 1025th is refused") {
  RunningBridge bridge(1);
  for (uint32_t port = 0; port < kPortsMax; ++port) CHECK_EQ(bridge.plane().AddPort(1, 0), port);
  CHECK_EQ(bridge.plane().AddPort(1, 0), kNoPort);
}

FACT("a worker for a CPU that does not exist cannot start") {
  Dataplane plane(
      {.worker_cpus = {1023}, .idle_us = 0, .notify = [](void*) {}, .notify_context = nullptr});
  errno = 0;
  CHECK(!plane.Start());
  CHECK_EQ(errno, EINVAL);
}

FACT("rings outside memory or misaligned are refused, and the kick fd is closed") {
  RunningBridge bridge(1);
  Dataplane& plane = bridge.plane();
  NetGuest guest(kModern);
  const uint16_t port = plane.AddPort(1, 0);
  plane.SetFeatures(port, kModern);
  const size_t before = OpenFdCount();
  const auto start = [&](const RingAddresses& rings) {
    return plane.StartQueue(port, 1,
                            {.rings = rings, .size = 512, .base = 0, .kick_fd = eventfd(0, 0)});
  };
  const RingAddresses good = guest.transmitq().addresses();
  const auto moved = [](UserAddress address, uint64_t by) {
    return UserAddress{static_cast<uint64_t>(address) + by};
  };
  CHECK_EQ(start(good), RingResult::kUnmapped);  // no memory yet
  CHECK_EQ(plane.SetMemory(port, guest.ram().Share()), MapResult::kOk);
  const UserAddress nowhere{0xdead'0000'0000};
  CHECK_EQ(start({nowhere, good.avail, good.used}), RingResult::kUnmapped);
  CHECK_EQ(start({good.desc, nowhere, good.used}), RingResult::kUnmapped);
  CHECK_EQ(start({good.desc, good.avail, nowhere}), RingResult::kUnmapped);
  CHECK_EQ(start({moved(good.desc, 8), good.avail, good.used}), RingResult::kMisaligned);
  CHECK_EQ(start({good.desc, moved(good.avail, 1), good.used}), RingResult::kMisaligned);
  CHECK_EQ(start({good.desc, good.avail, moved(good.used, 2)}), RingResult::kMisaligned);
  CHECK_EQ(OpenFdCount(), before);
  CHECK(!plane.QueueStarted(port, 1));
  CHECK_EQ(start(good), RingResult::kOk);
  CHECK(plane.QueueStarted(port, 1));
}

FACT("every fd that was passed is closed at the latest with its port") {
  const size_t before = OpenFdCount();
  {
    RunningBridge bridge(1);
    const size_t running = OpenFdCount();
    auto member = bridge.Join(kModern);
    for (int i = 0; i < 5; ++i) {
      for (uint32_t queue = 0; queue < 2; ++queue) {
        bridge.plane().SetCall(member->port, queue, eventfd(0, 0));
        bridge.plane().SetErr(member->port, queue, eventfd(0, 0));
        const uint32_t base = bridge.plane().StopQueue(member->port, queue);
        bridge.StartQueue(*member, queue, base);
      }
      CHECK_EQ(bridge.plane().SetMemory(member->port, member->guest.ram().Share()), MapResult::kOk);
    }
    bridge.plane().RemovePort(member->port);
    member.reset();
    CHECK_EQ(OpenFdCount(), running);
    member = bridge.Join(kModern);  // and closing removes what is left
  }
  CHECK_EQ(OpenFdCount(), before);
}

FACT("memory that is refused closes every fd and leaves the memory that was there") {
  RunningBridge bridge(1);
  auto from = bridge.Join(kModern);
  auto to = bridge.Join(kModern);
  const size_t before = OpenFdCount();
  Dataplane& plane = bridge.plane();
  const SharedFile file(4096);
  const auto region = [&](uint64_t guest, uint64_t bytes) -> RegionWithFile {
    return {{.guest = GuestAddress{guest},
             .bytes = bytes,
             .user = UserAddress{guest},
             .mmap_offset = 0},
            file.NewFd()};
  };
  const size_t file_open = OpenFdCount();
  CHECK_EQ(plane.SetMemory(from->port, {region(0, 4096), region(8192, 4097), region(16384, 4096)}),
           MapResult::kFileTooSmall);
  CHECK_EQ(plane.SetMemory(from->port, {region(0, 4096), region(4095, 4096)}),
           MapResult::kOverlaps);
  CHECK_EQ(plane.AddMemoryRegion(from->port, region(1 << 20, 4096)), MapResult::kOverlaps);
  CHECK_EQ(plane.RemoveMemoryRegion(from->port, {GuestAddress{0}, 4096, UserAddress{0}, 0}),
           MapResult::kNoSuchRegion);
  CHECK_EQ(OpenFdCount(), file_open);
  CHECK_EQ(file_open, before + 1);
  Stream stream(*from, *to);
  stream.Pass(100);
}

FACT("StopQueue answers with the base, also again, and a queue starts there anew") {
  RunningBridge bridge(1);
  auto from = bridge.Join(kModern);
  auto to = bridge.Join(kModern);
  Stream stream(*from, *to);
  stream.Pass(1000);
  stream.Finish();
  const uint32_t base = bridge.plane().StopQueue(from->port, 1);
  CHECK_EQ(base, from->guest.transmitq().avail_index());
  CHECK_EQ(bridge.plane().StopQueue(from->port, 1), base);
  bridge.StartQueue(*from, 1, base);
  stream.Pass(1000);
}

FACT("what starting a queue writes into its ring is logged for a guest that migrates") {
  for (const uint64_t features : {kModern, kModern | VIRTIO_F_RING_PACKED}) {
    RunningBridge bridge(1);
    Dataplane& plane = bridge.plane();
    NetGuest guest(kModern);
    const uint16_t port = plane.AddPort(1, 0);
    plane.SetFeatures(port, features);
    CHECK_EQ(plane.SetMemory(port, guest.ram().Share()), MapResult::kOk);
    const SharedFile log(4096);
    CHECK_EQ(plane.SetLog(port, log.NewFd(), log.bytes(), 0), MapResult::kOk);
    plane.SetLogging(port, true);
    // A receiveq, since no worker looks at one to which nothing is sent.
    RingAddresses rings = guest.receiveq().addresses();
    rings.used_log = static_cast<uint64_t>(rings.used) - GuestRam::kUserOffset;
    CHECK_EQ(plane.StartQueue(port, 0, {.rings = rings, .size = 256, .base = 0, .kick_fd = -1}),
             RingResult::kOk);
    const uint64_t page = rings.used_log / 4096;
    CHECK_EQ(log.data()[page / 8] >> page % 8 & 1, 1);
  }
}

FACT("a queue that starts anew does not trust the source it knew") {
  RunningBridge bridge(1);
  auto from = bridge.Join(kModern);
  auto to = bridge.Join(kModern);
  Stream stream(*from, *to);
  stream.Pass(10);
  stream.Finish();
  bridge.StartQueue(*from, 1, bridge.plane().StopQueue(from->port, 1));
  CHECK(RunningBridge::Send(*from, MakeFrame(MacOf(to->port), 0, 60)));
  CHECK(ComesTrue([&] { return from->guest.Sending() == 0; }));
  CHECK_EQ(bridge.Drops(*from, Fate::kBadSource), 1u);
}

FACT("a sleeping worker wakes at a kick and delivers, with and without EVENT_IDX") {
  for (const uint64_t features : {kModern, kEventIdx}) {
    RunningBridge bridge(1, 0);  // it means to sleep as soon as there is nothing to do
    auto from = bridge.Join(features);
    auto to = bridge.Join(features);
    for (uint32_t number = 0; number < 200; ++number) {
      // EVENT_IDX: avail_event is where we are; without: NO_NOTIFY is gone.
      CHECK(ComesTrue([&] {
        const SplitDriver& driver = from->guest.transmitq();
        return features == kModern ? driver.used_flags() == 0
                                   : driver.avail_event() == driver.avail_index();
      }));
      const FrameBytes frame = MakeFrame(kBroadcast, MacOf(from->port), 60, number);
      CHECK(RunningBridge::Send(*from, frame));
      std::vector<FrameBytes> received;
      CHECK(ComesTrue([&] {
        received = to->guest.Receive();
        return !received.empty();
      }));
      CHECK(received[0] == frame);
      to->guest.Post();
    }
  }
}

FACT("a queue without a kick fd is polled, also by a worker that would sleep") {
  RunningBridge bridge(1, 0);
  auto from = bridge.Join(kModern);
  auto to = bridge.Join(kModern);
  Dataplane& plane = bridge.plane();
  const uint32_t base = plane.StopQueue(from->port, 1);
  CHECK_EQ(plane.StartQueue(from->port, 1,
                            {.rings = from->guest.transmitq().addresses(),
                             .size = NetGuest::kQueueSize,
                             .base = base,
                             .kick_fd = -1}),
           RingResult::kOk);
  for (uint32_t number = 0; number < 20; ++number) {
    CHECK(from->guest.Send(MakeFrame(kBroadcast, MacOf(from->port), 60, number)));
    CHECK(ComesTrue([&] { return !to->guest.Receive().empty(); }));
  }
}

FACT("vhost-user Ring states: a disabled transmitq is emptied, and counts what it discards") {
  RunningBridge bridge(1, 0);
  auto from = bridge.Join(kModern);
  auto to = bridge.Join(kModern);
  bridge.plane().EnableQueue(from->port, 1, false);
  for (uint32_t i = 0; i < 20; ++i) {
    CHECK(RunningBridge::Send(*from, MakeFrame(kBroadcast, MacOf(from->port), 60)));
  }
  CHECK(ComesTrue([&] { return from->guest.Sending() == 0; }));
  CHECK_EQ(bridge.Drops(*from, Fate::kDisabled), 20u);
  CHECK_EQ(bridge.Count(*from, 1, kFrames), 0u);
  CHECK(to->guest.Receive().empty());
  bridge.plane().EnableQueue(from->port, 1, true);
  CHECK(RunningBridge::Send(*from, MakeFrame(kBroadcast, MacOf(from->port), 60)));
  CHECK(ComesTrue([&] { return !to->guest.Receive().empty(); }));
}

FACT("what was offered before the queue was started goes out when it is, without a kick") {
  RunningBridge bridge(1, 0);
  auto from = bridge.Join(kModern);
  auto to = bridge.Join(kModern);
  const uint32_t base = bridge.plane().StopQueue(from->port, 1);
  CHECK(from->guest.Send(MakeFrame(kBroadcast, MacOf(from->port), 60)));
  bridge.StartQueue(*from, 1, base);
  CHECK(ComesTrue([&] { return !to->guest.Receive().empty(); }));
}

FACT("a learned address is read back, flushed, and gone with its port; events say so once") {
  RunningBridge bridge(1);
  auto from = bridge.Join(kModern);
  auto to = bridge.Join(kModern);
  Stream stream(*from, *to);
  stream.Pass(10);
  std::vector<FdbRecord> records = bridge.plane().ReadFdb(0);
  CHECK_EQ(records.size(), 1u);
  CHECK_EQ(records[0].mac, MacOf(from->port));
  CHECK_EQ(records[0].port, from->port);
  Event event;
  CHECK(bridge.plane().PopEvent(&event));
  CHECK_EQ(event.type, Event::Type::kMacLearned);
  CHECK(!bridge.plane().PopEvent(&event));
  CHECK(bridge.notifications() >= 1);
  stream.Finish();
  bridge.plane().EndSession(to->port);
  CHECK_EQ(bridge.plane().ReadFdb(0).size(), 1u);
  bridge.plane().RemovePort(from->port);
  CHECK(bridge.plane().ReadFdb(0).empty());
}

FACT("a port that is bound to a MAC address is announced by that one only") {
  RunningBridge bridge(1);
  auto bound = bridge.Join(kModern);
  auto other = bridge.Join(kModern);
  bridge.plane().BindSources(bound->port, {.macs = {MacOf(bound->port)}, .networks = {}});
  bridge.plane().Announce(bound->port, MacOf(other->port));
  bridge.plane().Announce(bound->port, MacOf(bound->port));
  CHECK_EQ(other->guest.Receive().size(), 1u);
  CHECK_EQ(bridge.Drops(*bound, Fate::kSpoofedMac), 1u);
  const std::vector<FdbRecord> records = bridge.plane().ReadFdb(0);
  CHECK_EQ(records.size(), 1u);
  CHECK_EQ(records[0].mac, MacOf(bound->port));
}

FACT("a truncated memory file costs its own port, and is reported") {
  RunningBridge bridge(1);
  auto truncated = bridge.Join(kModern);
  auto from = bridge.Join(kModern);
  auto to = bridge.Join(kModern);
  Stream stream(*from, *to);
  stream.Pass(100);
  truncated->guest.ram().TruncateFile(0, 0);
  Event event;
  CHECK(ComesTrue([&] {
    stream.Pass(10);
    return bridge.plane().PopEvent(&event) && event.type == Event::Type::kMemoryLost;
  }));
  CHECK_EQ(event.port, truncated->port);
  stream.Pass(1000);
}

// Ends a session as its port does when its frontend has left.
uint32_t Leave(RunningBridge& bridge, RunningBridge::Member& member) {
  for (uint32_t queue = 0; queue < 2; ++queue) bridge.plane().StopQueue(member.port, queue);
  CHECK_EQ(bridge.plane().SetMemory(member.port, {}), MapResult::kOk);
  return bridge.plane().EndSession(member.port);
}

FACT("an event of a session does not come out in another one, nor for another port of its number") {
  for (const bool port_goes : {false, true}) {
    RunningBridge bridge(1);
    auto truncated = bridge.Join(kModern);
    auto from = bridge.Join(kModern);
    auto to = bridge.Join(kModern);
    Stream stream(*from, *to);
    truncated->guest.ram().TruncateFile(0, 0);
    CHECK(ComesTrue([&] {
      stream.Pass(10);
      return bridge.plane().QueueBroken(truncated->port, 1);
    }));
    const uint32_t session = bridge.plane().SessionOf(truncated->port);
    if (port_goes) {
      bridge.plane().RemovePort(truncated->port);
      CHECK_EQ(bridge.Join(kModern)->port, truncated->port);
    } else {
      CHECK(Leave(bridge, *truncated) != session);
    }
    CHECK(bridge.plane().SessionOf(truncated->port) != session);
    for (Event event; bridge.plane().PopEvent(&event);) {
      CHECK(event.type == Event::Type::kMacLearned);
      CHECK_EQ(event.port, from->port);
    }
  }
}

// A guest's session on port 0 of a data plane whose rounds the test runs.
void Serve(Dataplane& plane, NetGuest& guest) {
  plane.SetFeatures(0, kModern);
  CHECK_EQ(plane.SetMemory(0, guest.ram().Share()), MapResult::kOk);
  for (uint32_t queue = 0; queue < 2; ++queue) {
    const SplitDriver& driver = queue == 0 ? guest.receiveq() : guest.transmitq();
    const QueueStart start = {
        .rings = driver.addresses(), .size = driver.size(), .base = 0, .kick_fd = -1};
    CHECK_EQ(plane.StartQueue(0, queue, start), RingResult::kOk);
    plane.EnableQueue(0, queue, true);
  }
}

FACT("memory that was found lost when its session ended is not held against the next one") {
  Dataplane plane({.worker_cpus = {-1},
                   .idle_us = 0,
                   .manual = true,
                   .notify = [](void*) {},
                   .notify_context = nullptr});
  CHECK(plane.Start());
  plane.AddBridge(0);
  CHECK_EQ(plane.AddPort(1, 0), 0u);
  NetGuest first(kModern);
  Serve(plane, first);
  first.ram().TruncateFile(0, 0);
  // Found out by control, which tells nobody.
  plane.ReadQueue(0, 1);
  for (uint32_t queue = 0; queue < 2; ++queue) plane.StopQueue(0, queue);
  CHECK_EQ(plane.SetMemory(0, {}), MapResult::kOk);
  plane.EndSession(0);
  NetGuest second(kModern);
  Serve(plane, second);
  CHECK(second.Send(MakeFrame(kBroadcast, MacOf(1), 60)));
  CHECK_EQ(plane.Step(1), 1u);
  CHECK(!plane.QueueBroken(0, 1));
  Event event;
  CHECK(plane.PopEvent(&event) && event.type == Event::Type::kMacLearned);
  CHECK(!plane.PopEvent(&event));
}

FACT("closing under traffic joins the workers and hands back every frame that was taken") {
  CHECK(ComesTrue([] { return WorkerThreads() == 0; }));
  auto bridge = std::make_unique<RunningBridge>(2);
  auto from = bridge->Join(kModern);
  auto to = bridge->Join(kModern);
  CHECK_EQ(WorkerThreads(), 2u);
  Stream stream(*from, *to);
  stream.Pass(1000);
  stream.Fill();
  bridge->Close();
  CHECK(ComesTrue([] { return WorkerThreads() == 0; }));
  // As many frames were returned to their sender as arrived: none was cut off in between.
  const uint32_t returned = from->guest.transmitq().avail_index() - from->guest.Sending();
  stream.Drain();
  CHECK_EQ(stream.received(), returned);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
