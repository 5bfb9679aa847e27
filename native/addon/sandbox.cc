// Confining this process (core/sandbox.h).

#include "core/sandbox.h"

#include <errno.h>

#include "addon/addon.h"

namespace tsvswitch {

namespace {

Napi::Value ConfineProcessHere(const Napi::CallbackInfo& info) {
  if (!ConfineProcess()) {
    throw SystemError(info.Env(), "seccomp", "cannot restrict system calls", errno);
  }
  return info.Env().Undefined();
}

}  // namespace

void ExportSandbox(Napi::Env env, Napi::Object exports) {
  ExportFunction(env, exports, "confineProcess", ConfineProcessHere);
}

}  // namespace tsvswitch
