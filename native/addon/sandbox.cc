// What this process does without: system calls (core/platform/sandbox.h) and the CPUs of its
// workers (core/platform/cpus.h).

#include "core/platform/sandbox.h"

#include <errno.h>

#include <vector>

#include "addon/addon.h"
#include "core/platform/cpus.h"

namespace tsvswitch {

namespace {

Napi::Value ConfineProcessHere(const Napi::CallbackInfo& info) {
  if (!ConfineProcess()) {
    throw SystemError(info.Env(), "seccomp", "cannot restrict system calls", errno);
  }
  return info.Env().Undefined();
}

Napi::Value LeaveCpusHere(const Napi::CallbackInfo& info) {
  if (!info[0].IsArray()) throw WrongArgument(info, "cpus", "an array of CPU numbers");
  const auto list = info[0].As<Napi::Array>();
  std::vector<int> cpus;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value cpu = list[i];
    if (!cpu.IsNumber()) throw WrongArgument(info, "cpus", "an array of CPU numbers");
    cpus.push_back(cpu.As<Napi::Number>().Int32Value());
  }
  LeaveCpus(cpus);
  return info.Env().Undefined();
}

}  // namespace

void ExportSandbox(Napi::Env env, Napi::Object exports) {
  ExportFunction<ConfineProcessHere, 0>(env, exports, "confineProcess");
  ExportFunction<LeaveCpusHere, 1>(env, exports, "leaveCpus");
}

}  // namespace tsvswitch
