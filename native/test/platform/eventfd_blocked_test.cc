// A frontend that makes its eventfds blocking and fills them loses its port, in one event; to the
// others on the bridge nothing happens but a short wait.

#include <fcntl.h>
#include <sys/socket.h>

#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1;

// An eventfd as an honest frontend passes it, until it is spoilt.
class Spoilable {
 public:
  Spoilable() : fd_(eventfd(0, EFD_NONBLOCK)) { CHECK(fd_ >= 0); }
  Spoilable(const Spoilable&) = delete;
  Spoilable& operator=(const Spoilable&) = delete;
  ~Spoilable() { close(fd_); }
  int Pass() const { return dup(fd_); }

  // Whoever writes from now on waits.
  void Spoil() const {
    uint64_t count = 0;
    eventfd_read(fd_, &count);
    CHECK_EQ(eventfd_write(fd_, ~uint64_t{0} - 1), 0);
    CHECK_EQ(fcntl(fd_, F_SETFL, 0), 0);
  }

 private:
  const int fd_;
};

// A frontend that is about to make a worker wait, and two guests that go on.
struct Attacked {
  explicit Attacked(uint32_t workers) : bridge(workers) {}
  Dataplane& plane() { return bridge.plane(); }

  RunningBridge bridge;
  std::unique_ptr<RunningBridge::Member> hostile = bridge.Join(kModern);
  std::unique_ptr<RunningBridge::Member> from = bridge.Join(kModern);
  std::unique_ptr<RunningBridge::Member> to = bridge.Join(kModern);
  Stream stream{*from, *to};
};

// The events but those of addresses, until one of this type; how many came before it.
uint32_t EventsBefore(RunningBridge& bridge, Event::Type type,
                      const RunningBridge::Member& member) {
  uint32_t before = 0;
  CHECK(ComesTrue([&] {
    for (Event event; bridge.plane().PopEvent(&event);) {
      if (event.type == Event::Type::kMacLearned) continue;
      CHECK_EQ(event.port, member.port);
      if (event.type == type) return true;
      ++before;
    }
    return false;
  }));
  return before;
}

void CheckNothingHappens(RunningBridge& bridge) {
  for (Event event; bridge.plane().PopEvent(&event);)
    CHECK_EQ(event.type, Event::Type::kMacLearned);
}

void CheckGivenUp(RunningBridge& bridge, const RunningBridge::Member& member) {
  for (uint32_t queue = 0; queue < 2; ++queue)
    CHECK(bridge.plane().QueueBroken(member.port, queue));
}

FACT("a full call eventfd of a transmitq costs its own port, and is reported once") {
  for (const uint32_t workers : {1u, 2u}) {
    Attacked at(workers);
    Spoilable call;
    at.plane().SetCall(at.hostile->port, 1, call.Pass());
    at.stream.Pass(100);
    call.Spoil();
    CHECK(RunningBridge::Send(*at.hostile, MakeFrame(kBroadcast, MacOf(at.hostile->port), 60)));
    at.stream.Pass(1000);
    CHECK_EQ(EventsBefore(at.bridge, Event::Type::kEventfdBlocked, *at.hostile), 0u);
    CheckGivenUp(at.bridge, *at.hostile);
    at.stream.Pass(1000);
    CheckNothingHappens(at.bridge);
  }
}

FACT("a call socket that nobody reads, or whose other end is closed, costs nobody anything") {
  Attacked at(1);
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const char much[4096] = {};
  while (send(ends[0], much, sizeof(much), MSG_DONTWAIT) > 0) {
  }
  at.plane().SetCall(at.hostile->port, 1, dup(ends[0]));
  CHECK_EQ(fcntl(ends[0], F_SETFL, 0), 0);
  for (const bool closed : {false, true}) {
    if (closed) close(ends[1]);
    CHECK(RunningBridge::Send(*at.hostile, MakeFrame(kBroadcast, MacOf(at.hostile->port), 60)));
    at.stream.Pass(1000);
    CheckNothingHappens(at.bridge);
    for (uint32_t queue = 0; queue < 2; ++queue) {
      CHECK(!at.plane().QueueBroken(at.hostile->port, queue));
    }
  }
  close(ends[0]);
}

FACT("a full call eventfd of a receiveq that several workers fill costs its own port") {
  Attacked at(2);
  CHECK(at.plane().WorkerOf(at.from->port, 1) != at.plane().WorkerOf(at.to->port, 1));
  Spoilable call;
  at.plane().SetCall(at.hostile->port, 0, call.Pass());
  Stream back(*at.to, *at.from);
  at.stream.Pass(100);
  back.Pass(100);
  call.Spoil();
  for (auto* member : {at.from.get(), at.to.get()}) {
    // From an address of its own, which streams leave out.
    const uint64_t source = MacOf(100u + member->port);
    CHECK(RunningBridge::Send(*member, MakeFrame(MacOf(at.hostile->port), source, 60)));
  }
  at.stream.Pass(1000);
  back.Pass(1000);
  CHECK_EQ(EventsBefore(at.bridge, Event::Type::kEventfdBlocked, *at.hostile), 0u);
  CheckGivenUp(at.bridge, *at.hostile);
}

FACT("a full err eventfd costs its own port as well, after the queue that broke") {
  Attacked at(1);
  Spoilable err;
  at.plane().SetErr(at.hostile->port, 1, err.Pass());
  at.stream.Pass(100);
  err.Spoil();
  at.hostile->guest.transmitq().PublishIndex(1000);
  eventfd_write(at.hostile->kick_fds[1], 1);
  CHECK_EQ(EventsBefore(at.bridge, Event::Type::kEventfdBlocked, *at.hostile), 1u);
  CheckGivenUp(at.bridge, *at.hostile);
  at.stream.Pass(1000);
}

FACT("lost memory whose frontend fills its err eventfds is waited for once, and reported once") {
  Attacked at(1);
  Spoilable err;
  for (uint32_t queue = 0; queue < 2; ++queue) {
    at.plane().SetErr(at.hostile->port, queue, err.Pass());
  }
  at.stream.Pass(100);
  err.Spoil();
  at.hostile->guest.ram().TruncateFile(0, 0);
  eventfd_write(at.hostile->kick_fds[1], 1);
  CHECK_EQ(EventsBefore(at.bridge, Event::Type::kEventfdBlocked, *at.hostile), 0u);
  CheckGivenUp(at.bridge, *at.hostile);
  at.stream.Pass(1000);
}

FACT("the next frontend of a port that was given up is served") {
  RunningBridge bridge(1);
  auto member = bridge.Join(kModern);
  auto other = bridge.Join(kModern);
  Spoilable call;
  bridge.plane().SetCall(member->port, 1, call.Pass());
  call.Spoil();
  CHECK(RunningBridge::Send(*member, MakeFrame(kBroadcast, MacOf(100), 60)));
  CHECK_EQ(EventsBefore(bridge, Event::Type::kEventfdBlocked, *member), 0u);
  Spoilable honest;
  bridge.plane().SetCall(member->port, 1, honest.Pass());
  for (uint32_t queue = 0; queue < 2; ++queue) {
    bridge.StartQueue(*member, queue, bridge.plane().StopQueue(member->port, queue));
  }
  Stream there(*member, *other);
  Stream back(*other, *member);
  there.Pass(100);
  back.Pass(100);
  CheckNothingHappens(bridge);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
