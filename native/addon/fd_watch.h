// Calls a JavaScript function whenever a file descriptor is readable or hung up.
//
// libuv would do this, but uv.h is not part of node-api-headers and its ABI is not Node-API's. So
// each environment that watches anything has one thread in epoll_wait and one thread-safe function:
//
//   epoll thread                          JavaScript thread
//   event of token T (disarmed by         callback of token T runs,
//   EPOLLONESHOT)  -- napi tsfn -->       then T is armed again
//
// One event of a token is under way at most, so the thread-safe function's queue never holds more
// entries than there are watched fds, and a fd that stays readable cannot starve the event loop.
//
// Invariants:
//  1. watches_, epoll_fd_, wake_fd_ and tsfn_ change only on the JavaScript thread; the epoll
//     thread gets copies of what it needs when it starts.
//  2. The thread, both fds and the thread-safe function exist exactly while watches_ is not empty,
//     and are gone when the environment is.
//  3. A token is never used twice, so an event queued before Unwatch finds nothing afterwards:
//     a callback never runs once Unwatch returned, even if the fd number is watched again.

#pragma once

#include <napi.h>

#include <cstdint>
#include <thread>
#include <unordered_map>

namespace tsvswitch {

class FdWatch {
 public:
  explicit FdWatch(Napi::Env env) : env_(env) {}
  ~FdWatch();
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  // Throws BAD_OPTION if `fd` is watched already and SYSTEM if epoll does not take it.
  void Watch(int fd, Napi::Function callback);

  // Does nothing if `fd` is not watched.
  void Unwatch(int fd);

 private:
  struct Entry {
    int fd;
    Napi::FunctionReference callback;
  };

  void Start();
  void Stop();
  void Dispatch(Napi::Env env, uint64_t token);

  static void RunThread(int epoll_fd, napi_threadsafe_function tsfn);
  static void CallJs(napi_env env, napi_value js_callback, void* context, void* data);
  static void OnEnvironmentTeardown(void* self);

  const Napi::Env env_;
  std::unordered_map<uint64_t, Entry> watches_;
  std::unordered_map<int, uint64_t> token_of_fd_;
  uint64_t last_token_ = 0;
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  napi_threadsafe_function tsfn_ = nullptr;
  std::thread thread_;
};

}  // namespace tsvswitch
