// Implements fd_watch.h. RunThread is the epoll thread; everything else is the JavaScript thread.

#include "addon/fd_watch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <system_error>

#include "addon/addon.h"

namespace tsvswitch {

namespace {

// The wake eventfd's token; real ones start at 1.
constexpr uint64_t kWakeToken = 0;
constexpr int kEventsPerWait = 64;
// At most 15 bytes are shown by ps and top.
constexpr char kThreadName[] = "tsvswitch-watch";
// EPOLLHUP and EPOLLERR are always reported; RDHUP tells a half-closed stream from a quiet one.
constexpr uint32_t kInterest = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT;

// A token travels through the thread-safe function as its data pointer, which needs no allocation.
static_assert(sizeof(void*) == sizeof(uint64_t));
void* PointerOf(uint64_t token) { return reinterpret_cast<void*>(token); }
uint64_t TokenOf(void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

}  // namespace

FdWatch::~FdWatch() { Stop(); }

void FdWatch::Watch(int fd, Napi::Function callback) {
  if (token_of_fd_.contains(fd)) {
    throw FaultError(env_, "fd-watched", {{"fd", fd}});
  }
  if (watches_.empty()) Start();
  const uint64_t token = ++last_token_;
  epoll_event event{};
  event.events = kInterest;
  event.data.u64 = token;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    const int error = errno;
    if (watches_.empty()) Stop();
    throw SystemError(env_, "epoll_ctl", "cannot watch fd " + std::to_string(fd), error);
  }
  watches_.emplace(token, Entry{fd, Napi::Persistent(callback)});
  token_of_fd_.emplace(fd, token);
}

void FdWatch::Unwatch(int fd) {
  const auto found = token_of_fd_.find(fd);
  if (found == token_of_fd_.end()) return;
  // Fails only if the fd was closed first, and then the kernel has forgotten it already.
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  watches_.erase(found->second);
  token_of_fd_.erase(found);
  if (watches_.empty()) Stop();
}

void FdWatch::Start() {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeToken;
  if (epoll_fd_ < 0 || wake_fd_ < 0 || epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) != 0) {
    const int error = errno;
    Stop();
    throw SystemError(env_, "epoll_create1", "cannot watch file descriptors", error);
  }
  const napi_status status = napi_create_threadsafe_function(
      env_, nullptr, nullptr, Napi::String::New(env_, "tsvswitch:watchReadable"), 0, 1, nullptr,
      nullptr, this, CallJs, &tsfn_);
  if (status != napi_ok) {
    tsfn_ = nullptr;
    Stop();
    throw FaultError(env_, "no-thread-safe-function");
  }
  // Hooks run in reverse order: added after the thread-safe function's own, this one stops the
  // thread before Node takes that function away.
  napi_add_env_cleanup_hook(env_, OnEnvironmentTeardown, this);

  // The thread inherits a mask that leaves every signal to Node's threads.
  sigset_t all;
  sigset_t previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  int error = 0;
  try {
    thread_ = std::thread(RunThread, epoll_fd_, tsfn_);
    pthread_setname_np(thread_.native_handle(), kThreadName);
  } catch (const std::system_error& failure) {
    error = failure.code().value();
  }
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  if (error != 0) {
    Stop();
    throw SystemError(env_, "pthread_create", "cannot watch file descriptors", error);
  }
}

// Undoes Start, also one that failed half way.
void FdWatch::Stop() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    // Cannot fail: the counter is 0 and the fd is ours. The thread never waits for this one, so the
    // join is short.
    [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof one);
    thread_.join();
  }
  if (tsfn_ != nullptr) {
    napi_remove_env_cleanup_hook(env_, OnEnvironmentTeardown, this);
    // Abort drops what is queued; those tokens are of watches that are gone.
    napi_release_threadsafe_function(tsfn_, napi_tsfn_abort);
    tsfn_ = nullptr;
  }
  if (wake_fd_ >= 0) close(wake_fd_);
  if (epoll_fd_ >= 0) close(epoll_fd_);
  wake_fd_ = -1;
  epoll_fd_ = -1;
}

void FdWatch::OnEnvironmentTeardown(void* self) {
  FdWatch* const watch = static_cast<FdWatch*>(self);
  watch->watches_.clear();
  watch->token_of_fd_.clear();
  watch->Stop();
}

void FdWatch::RunThread(int epoll_fd, napi_threadsafe_function tsfn) {
  std::array<epoll_event, kEventsPerWait> events;
  // Ends at the wake token, which Stop sends before it joins.
  for (;;) {
    const int count = epoll_wait(epoll_fd, events.data(), kEventsPerWait, -1);
    for (int i = 0; i < count; ++i) {
      const uint64_t token = events[static_cast<size_t>(i)].data.u64;
      if (token == kWakeToken) return;
      // The queue is unbounded, so this neither blocks nor reports a full queue.
      napi_call_threadsafe_function(tsfn, PointerOf(token), napi_tsfn_nonblocking);
    }
  }
}

void FdWatch::CallJs(napi_env env, napi_value, void* context, void* data) {
  // Without an environment the call comes from an aborted thread-safe function: nothing to free.
  if (env == nullptr) return;
  static_cast<FdWatch*>(context)->Dispatch(env, TokenOf(data));
}

void FdWatch::Dispatch(Napi::Env env, uint64_t token) {
  const auto found = watches_.find(token);
  if (found == watches_.end()) return;
  const Napi::HandleScope scope(env);
  try {
    found->second.callback.Call({});
  } catch (const Napi::Error& error) {
    // Node would print a warning and carry on; an exception here is as uncaught as in any callback.
    napi_fatal_exception(env, error.Value());
  }
  // The callback may have unwatched this fd, or all of them, so `found` is not to be trusted.
  const auto still = watches_.find(token);
  if (still == watches_.end()) return;
  epoll_event event{};
  event.events = kInterest;
  event.data.u64 = token;
  // Fails only if the fd was closed while watched; it then stays silent until Unwatch.
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, still->second.fd, &event);
}

namespace {

Napi::Value WatchReadable(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  const Napi::Function callback = FunctionArgument(info, 1, "callback");
  Instance::Of(info.Env()).fd_watch->Watch(fd, callback);
  return info.Env().Undefined();
}

Napi::Value UnwatchReadable(const Napi::CallbackInfo& info) {
  Instance::Of(info.Env()).fd_watch->Unwatch(FdArgument(info, 0));
  return info.Env().Undefined();
}

}  // namespace

void ExportFdWatch(Napi::Env env, Napi::Object exports) {
  ExportFunction<WatchReadable, 2>(env, exports, "watchReadable");
  ExportFunction<UnwatchReadable, 1>(env, exports, "unwatchReadable");
}

}  // namespace tsvswitch
