// What every file of the addon shares: the per-environment instance, errors and argument checks.
//
// One shared object may be loaded into many environments (worker_threads), so nothing here is
// global: each environment owns one Instance, made in addon.cc and reached through its napi_env.
// Everything runs on the JavaScript thread of its environment unless a file says otherwise.
//
// Errors: node-addon-api's C++ exceptions are on in this folder only. A failure is thrown as the
// TsvswitchError class that src/native/addon.ts hands over at load, with a code of
// src/model/errors.ts.

#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace tsvswitch {

class FdWatch;

struct Instance {
  explicit Instance(Napi::Env env);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  static Instance& Of(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

  // failure() of src/model/errors.ts; empty until setFailure was called.
  Napi::FunctionReference failure;
  // The classes of handles (handle.h), and the state of the one that is being made; null: of none.
  Napi::FunctionReference dataplane_class, bridge_class, ring_port_class, process_port_class,
      ring_queue_class, process_queue_class, capture_class;
  void* making = nullptr;
  std::unique_ptr<FdWatch> fd_watch;
};

// --- errors --------------------------------------------------------------------------------------

// Something that the sentence of a fault names: text or a number.
struct Detail {
  Detail(const char* name, std::string text) : name(name), text(std::move(text)) {}
  template <class Number>
    requires std::is_arithmetic_v<Number>
  Detail(const char* name, Number number)
      : name(name), number(static_cast<double>(number)), is_number(true) {}

  const char* name;
  std::string text;
  double number = 0;
  bool is_number = false;
};

// A TsvswitchError to throw. `fault` is one of src/model/faults/table.ts, which has its code and
// its sentence; `details` are what fills the sentence. Until setFailure was called, an error that
// has the fault as its message.
Napi::Error FaultError(Napi::Env env, const char* fault,
                       std::initializer_list<Detail> details = {});

// The code SYSTEM: what was to be done and why it was not, with a cause that carries `errno`
// (negative, as in Node's own errors) and `syscall`.
Napi::Error SystemError(Napi::Env env, const char* call, const std::string& action,
                        int error_number);

// BAD_OPTION: the call and its argument, and what that has to be.
Napi::Error WrongArgument(const Napi::CallbackInfo& info, const char* name,
                          const std::string& expected);

// Throws BAD_OPTION, naming the call, unless that many arguments were given.
void RequireCount(const Napi::CallbackInfo& info, uint32_t min, uint32_t max);
// Gives a function the length that one of JavaScript would have.
void SetLength(const Napi::Object& function, uint32_t length);

// --- arguments: each throws BAD_OPTION, naming call and argument, if the value does not fit ---

// An open file descriptor; `or_none` also lets -1 through.
int FdArgument(const Napi::CallbackInfo& info, size_t index, bool or_none = false);

// An integer within [min, max]; both at most 2^53 - 1 in magnitude.
int64_t IntegerArgument(const Napi::CallbackInfo& info, size_t index, const char* name, int64_t min,
                        int64_t max);

bool BooleanArgument(const Napi::CallbackInfo& info, size_t index, const char* name);

// A string without NUL.
std::string StringArgument(const Napi::CallbackInfo& info, size_t index, const char* name);

Napi::Function FunctionArgument(const Napi::CallbackInfo& info, size_t index, const char* name);

struct Bytes {
  uint8_t* data;
  size_t size;
};

// The memory of a Uint8Array; valid until JavaScript runs again.
Bytes BytesArgument(const Napi::CallbackInfo& info, size_t index, const char* name);

std::vector<int> FdListArgument(const Napi::CallbackInfo& info, size_t index, size_t count_max);

// --- exports, one function per file --------------------------------------------------------------

void ExportDataplane(Napi::Env env, Napi::Object exports);
void ExportFdSocket(Napi::Env env, Napi::Object exports);
void ExportFdWatch(Napi::Env env, Napi::Object exports);
void ExportGuestFiles(Napi::Env env, Napi::Object exports);
void ExportMemory(Napi::Env env, Napi::Object exports);
void ExportSandbox(Napi::Env env, Napi::Object exports);
void ExportService(Napi::Env env, Napi::Object exports);

using Callback = Napi::Value (*)(const Napi::CallbackInfo&);

void AddFunction(Napi::Env env, Napi::Object exports, const char* name, Callback callback,
                 uint32_t count);

// Exports a function of so many arguments under `name`, which argument errors then use.
template <Callback kFunction, uint32_t kCount>
void ExportFunction(Napi::Env env, Napi::Object exports, const char* name) {
  const Callback counted = [](const Napi::CallbackInfo& info) {
    RequireCount(info, kCount, kCount);
    return kFunction(info);
  };
  AddFunction(env, exports, name, counted, kCount);
}

}  // namespace tsvswitch
