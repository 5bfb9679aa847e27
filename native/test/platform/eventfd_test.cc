// A write to an eventfd that its other owner made blocking and filled comes back, on every kind of
// thread, and nothing else is changed about the process.

#include "core/platform/eventfd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <thread>

#include "test/check.h"

namespace tsvswitch {
namespace {

class OwnedFd {
 public:
  explicit OwnedFd(int fd) : fd_(fd) { CHECK(fd >= 0); }
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  ~OwnedFd() { close(fd_); }
  operator int() const { return fd_; }

 private:
  const int fd_;
};

constexpr uint64_t kFull = ~uint64_t{0} - 1;

// Without O_NONBLOCK unless `flags` say so; its next write would wait.
int FullEventfd(int flags = 0) {
  const int fd = eventfd(0, flags);
  CHECK_EQ(eventfd_write(fd, kFull), 0);
  return fd;
}

// What Signal says on a thread of its own.
template <class Prepare>
bool SignalElsewhere(int fd, Prepare prepare) {
  bool answer = false;
  std::thread([&] {
    prepare();
    answer = Signal(fd);
  }).join();
  return answer;
}

FACT("an eventfd is told from everything else that a frontend can pass") {
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  const OwnedFd pipe_out(ends[0]);
  const OwnedFd pipe_in(ends[1]);
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const OwnedFd socket_one(ends[0]);
  const OwnedFd socket_other(ends[1]);
  const OwnedFd event(eventfd(0, EFD_NONBLOCK));
  const OwnedFd semaphore(eventfd(7, EFD_SEMAPHORE));
  const OwnedFd memory(memfd_create("[eventfd]", 0));
  const OwnedFd watcher(epoll_create1(0));
  const OwnedFd timer(timerfd_create(CLOCK_MONOTONIC, 0));
  const OwnedFd device(open("/dev/null", O_RDWR));
  CHECK(IsEventfd(event));
  CHECK(IsEventfd(semaphore));
  for (const int other :
       {int{pipe_in}, int{socket_one}, int{memory}, int{watcher}, int{timer}, int{device}}) {
    CHECK(!IsEventfd(other));
  }
  CHECK(!IsEventfd(-1));
}

FACT("a stream socket of the UNIX family is told from every other") {
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const OwnedFd one(ends[0]);
  const OwnedFd other(ends[1]);
  CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
  const OwnedFd datagrams(ends[0]);
  const OwnedFd their_other(ends[1]);
  const OwnedFd tcp(socket(AF_INET, SOCK_STREAM, 0));
  const OwnedFd listener(socket(AF_UNIX, SOCK_STREAM, 0));
  // To a name that the kernel chooses.
  const sockaddr_un any = {.sun_family = AF_UNIX, .sun_path = {}};
  CHECK_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&any), sizeof(any.sun_family)), 0);
  CHECK_EQ(listen(listener, 1), 0);
  const OwnedFd event(eventfd(0, 0));
  CHECK(IsStreamSocket(one));
  for (const int else_fd : {int{datagrams}, int{tcp}, int{listener}, int{event}, -1}) {
    CHECK(!IsStreamSocket(else_fd));
  }
}

FACT("a socket is signalled without waiting, also when it is full, blocking, or its peer is gone") {
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const OwnedFd ours(ends[0]);
  {
    const OwnedFd theirs(ends[1]);
    SignalSocket(ours);
    uint64_t count = 0;
    CHECK_EQ(read(theirs, &count, sizeof(count)), ssize_t{sizeof(count)});
    CHECK_EQ(count, 1u);
    const char much[4096] = {};
    while (send(ours, much, sizeof(much), MSG_DONTWAIT) > 0) {
    }
    CHECK_EQ(fcntl(ours, F_SETFL, 0), 0);
    SignalSocket(ours);
  }
  SignalSocket(ours);
}

FACT("a signal adds one, and one that finds no room in a non-blocking eventfd is no fault") {
  const OwnedFd roomy(eventfd(4, 0));
  CHECK(Signal(roomy));
  uint64_t count = 0;
  CHECK_EQ(eventfd_read(roomy, &count), 0);
  CHECK_EQ(count, 5u);
  const OwnedFd full(FullEventfd(EFD_NONBLOCK));
  CHECK(Signal(full));
}

FACT("a write that would wait for ever is given up: of control, of a worker, and the next one") {
  const OwnedFd full(FullEventfd());
  CHECK(!Signal(full));
  CHECK(!Signal(full));
  CHECK(!SignalElsewhere(full, [] { ExpectSignals(); }));
  const OwnedFd honest(eventfd(0, 0));
  CHECK(!SignalElsewhere(full, [&] {
    ExpectSignals();
    Signal(honest);
  }));
  uint64_t count = 0;
  CHECK_EQ(eventfd_read(full, &count), 0);
  CHECK_EQ(count, kFull);
}

FACT("a thread that blocks all signals is no exception") {
  const OwnedFd full(FullEventfd());
  CHECK(!SignalElsewhere(full, [] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
  }));
}

FACT("a flag that is cleared while the eventfd is in use changes nothing") {
  const OwnedFd full(FullEventfd(EFD_NONBLOCK));
  CHECK(Signal(full));
  CHECK_EQ(fcntl(full, F_SETFL, 0), 0);
  CHECK(!Signal(full));
}

FACT("a thread that no timer is to be had for leaves full eventfds alone") {
  rlimit before = {};
  CHECK_EQ(getrlimit(RLIMIT_SIGPENDING, &before), 0);
  const rlimit none = {0, before.rlim_max};
  CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &none), 0);
  const OwnedFd full(FullEventfd());
  const OwnedFd roomy(eventfd(0, 0));
  const bool full_answer = SignalElsewhere(full, [] {});
  const bool roomy_answer = SignalElsewhere(roomy, [] {});
  CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &before), 0);
  CHECK(full_answer);
  CHECK(roomy_answer);
  uint64_t count = 0;
  CHECK_EQ(eventfd_read(roomy, &count), 0);
  CHECK_EQ(count, 1u);
}

void OnSomebodysSignal(int) {}

FACT("the handlers that were there before stay, and one signal more has one") {
  struct sigaction action = {};
  CHECK_EQ(sigaction(SIGRTMAX, nullptr, &action), 0);
  CHECK(action.sa_handler == OnSomebodysSignal);
  CHECK_EQ(sigaction(SIGRTMAX - 1, nullptr, &action), 0);
  CHECK((action.sa_flags & SA_SIGINFO) != 0);
  CHECK_EQ(sigaction(SIGRTMAX - 2, nullptr, &action), 0);
  CHECK(action.sa_handler == SIG_DFL);
}

}  // namespace
}  // namespace tsvswitch

int main() {
  signal(SIGRTMAX, tsvswitch::OnSomebodysSignal);
  return tsvswitch::HoldFacts();
}
