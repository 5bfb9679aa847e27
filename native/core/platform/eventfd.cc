// See eventfd.h. The handler runs on the thread whose timer it is: what both touch needs no more
// than to be written in order.

#include "core/platform/eventfd.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#ifndef sigev_notify_thread_id  // older C libraries have the field under another name only
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace tsvswitch {

namespace {

class Ticker {
 public:
  ~Ticker() {
    if (made_) timer_delete(timer_);
  }
  bool Make();
  // Around every write. False if nothing will interrupt it.
  bool Begin();
  void End();

  bool keeps_running = false;  // between writes

 private:
  static int ChooseSignal();
  static void OnSignal(int, siginfo_t* info, void*);
  void Tick();
  bool Run();
  void Stop();
  bool Set(uint32_t interval_ms);

  timer_t timer_{};
  bool made_ = false;
  std::atomic<bool> running_{false};
  std::atomic<bool> writing_{false};
  std::atomic<bool> has_written_{false};  // since the last tick
};

thread_local Ticker ticker;

// The number of the signal, whose handler is then in place, or 0.
int Ticker::ChooseSignal() {
  for (int number = SIGRTMAX; number >= SIGRTMIN; --number) {
    struct sigaction action = {};
    if (sigaction(number, nullptr, &action) != 0 || action.sa_handler != SIG_DFL) continue;
    action.sa_sigaction = OnSignal;
    // Without SA_RESTART, with which the write would go on waiting.
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    return sigaction(number, &action, nullptr) == 0 ? number : 0;
  }
  return 0;
}

bool Ticker::Make() {
  if (made_) return true;
  static const int number = ChooseSignal();
  if (number == 0) return false;
  sigset_t ours;
  sigemptyset(&ours);
  sigaddset(&ours, number);
  if (pthread_sigmask(SIG_UNBLOCK, &ours, nullptr) != 0) return false;
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = number;
  event.sigev_value.sival_ptr = this;
  event.sigev_notify_thread_id = gettid();
  made_ = timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
  return made_;
}

void Ticker::OnSignal(int, siginfo_t* info, void*) {
  if (info->si_code != SI_TIMER) return;
  const int interrupted = errno;
  static_cast<Ticker*>(info->si_value.sival_ptr)->Tick();
  errno = interrupted;
}

void Ticker::Tick() {
  if (writing_.load(std::memory_order_relaxed)) return;
  if (!has_written_.exchange(false, std::memory_order_relaxed)) Stop();
}

bool Ticker::Begin() {
  writing_.store(true, std::memory_order_relaxed);
  // A tick either sees that we write, or has stopped the timer before we look whether it runs.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return running_.load(std::memory_order_relaxed) || Run();
}

void Ticker::End() {
  has_written_.store(true, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  writing_.store(false, std::memory_order_relaxed);
  if (!keeps_running) Stop();
}

bool Ticker::Run() {
  if (!Make()) return false;
  const bool runs = Set(kTickMs);
  running_.store(runs, std::memory_order_relaxed);
  return runs;
}

void Ticker::Stop() {
  if (running_.exchange(false, std::memory_order_relaxed)) Set(0);
}

bool Ticker::Set(uint32_t interval_ms) {
  const timespec interval = {.tv_sec = 0, .tv_nsec = long{interval_ms} * 1'000'000};
  const itimerspec setting = {.it_interval = interval, .it_value = interval};
  return timer_settime(timer_, 0, &setting, nullptr) == 0;
}

bool IsFull(int eventfd) {
  pollfd polled = {.fd = eventfd, .events = POLLOUT, .revents = 0};
  return poll(&polled, 1, 0) == 0;
}

}  // namespace

bool IsEventfd(int fd) {
  // No call asks for the kind; the kernel's name for the open file tells it, and no path begins
  // like that.
  static constexpr char kName[] = "anon_inode:[eventfd]";
  char link[32];
  std::snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  char name[sizeof(kName)];
  const ssize_t bytes = readlink(link, name, sizeof(name));
  return bytes == sizeof(kName) - 1 && std::memcmp(name, kName, sizeof(kName) - 1) == 0;
}

bool IsStreamSocket(int fd) {
  const auto option = [fd](int name) {
    int value = -1;
    socklen_t bytes = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, name, &value, &bytes) == 0 ? value : -1;
  };
  return option(SO_DOMAIN) == AF_UNIX && option(SO_TYPE) == SOCK_STREAM &&
         option(SO_ACCEPTCONN) == 0;
}

bool Signal(int eventfd) {
  const uint64_t one = 1;
  bool waited = false;
  if (ticker.Begin() || !IsFull(eventfd)) {
    waited = write(eventfd, &one, sizeof(one)) < 0 && errno == EINTR;
  }
  ticker.End();
  return !waited;
}

void SignalSocket(int socket) {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t sent =
      send(socket, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void ExpectSignals() {
  ticker.keeps_running = true;
  ticker.Make();
}

}  // namespace tsvswitch
