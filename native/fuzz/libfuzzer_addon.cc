// libFuzzer for Node: its driver over a JavaScript function, and counters for compiled TypeScript.
//
// clang's runtime library without a main() is linked into this addon. libFuzzer takes an input for
// interesting if it makes a new pattern of 8-bit counters; those of C++ come from the compiler,
// those of TypeScript from test/fuzz/counting.mjs, which asks for them here, module by module.
//
// run() does not return: libFuzzer ends the process itself. Thread: Node's main thread, all of it.
// Sources: https://llvm.org/docs/LibFuzzer.html "Using libFuzzer as a library"; SanitizerCoverage,
// "Inline 8bit-counters" and "PC-Table".

#include <napi.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

extern "C" {
int LLVMFuzzerRunDriver(int* argc, char*** argv, int (*run_one)(const uint8_t*, size_t));
void __sanitizer_cov_8bit_counters_init(uint8_t* begin, uint8_t* end);
void __sanitizer_cov_pcs_init(const uintptr_t* begin, const uintptr_t* end);
}

namespace tsvswitch {
namespace {

struct Target {
  Napi::Function run;  // (bytes) => void
  uint8_t* input;      // where it finds them
};
Target* target = nullptr;

int RunOne(const uint8_t* data, size_t bytes) {
  const Napi::HandleScope scope(target->run.Env());
  std::copy(data, data + bytes, target->input);
  try {
    target->run.Call({Napi::Number::New(target->run.Env(), static_cast<double>(bytes))});
  } catch (const Napi::Error&) {
    // It was printed already; libFuzzer's handler of this signal keeps the input.
    abort();
  }
  return 0;
}

// (count) => Uint8Array
Napi::Value NewCounters(const Napi::CallbackInfo& info) {
  const size_t count = info[0].As<Napi::Number>().Uint32Value();
  // Never freed: libFuzzer looks at them until the process ends.
  auto* const counters = new uint8_t[count]();
  // Address and flags of each counter's code. It has none: what counts is that all differ.
  auto* const places = new uintptr_t[2 * count]();
  for (size_t i = 0; i < count; ++i) places[2 * i] = reinterpret_cast<uintptr_t>(counters + i);
  __sanitizer_cov_8bit_counters_init(counters, counters + count);
  __sanitizer_cov_pcs_init(places, places + 2 * count);
  const Napi::ArrayBuffer memory = Napi::ArrayBuffer::New(info.Env(), counters, count);
  return Napi::Uint8Array::New(info.Env(), count, memory, 0);
}

// (arguments, input, run): `run` is told how many bytes of `input` count.
void Run(const Napi::CallbackInfo& info) {
  const auto list = info[0].As<Napi::Array>();
  std::vector<std::string> arguments;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    arguments.push_back(list.Get(i).As<Napi::String>().Utf8Value());
  }
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  Target own = {info[2].As<Napi::Function>(), info[1].As<Napi::Uint8Array>().Data()};
  target = &own;
  // Node's threads are still at work when libFuzzer exits, so destructors must not run.
  on_exit([](int status, void*) { _exit(status); }, nullptr);
  int count = static_cast<int>(arguments.size());
  char** values = pointers.data();
  exit(LLVMFuzzerRunDriver(&count, &values, RunOne));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("newCounters", Napi::Function::New(env, NewCounters));
  exports.Set("run", Napi::Function::New(env, Run));
  return exports;
}

}  // namespace

NODE_API_MODULE(libfuzzer, Init)

}  // namespace tsvswitch
