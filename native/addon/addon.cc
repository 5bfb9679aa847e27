// The addon's entry: makes the instance of an environment and fills its exports.

#include "addon/addon.h"

#include "addon/fd_watch.h"

namespace tsvswitch {

Instance::Instance(Napi::Env env) : fd_watch(std::make_unique<FdWatch>(env)) {}

Instance::~Instance() = default;

void AddFunction(Napi::Env env, Napi::Object exports, const char* name, Callback callback,
                 uint32_t count) {
  // The name travels as the function's data so that argument errors can say which call was wrong.
  const Napi::Function function = Napi::Function::New(env, callback, name, const_cast<char*>(name));
  SetLength(function, count);
  exports.Set(name, function);
}

namespace {

Napi::Value SetFailure(const Napi::CallbackInfo& info) {
  Instance::Of(info.Env()).failure = Napi::Persistent(FunctionArgument(info, 0, "failure"));
  return info.Env().Undefined();
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Instance(env));
  ExportFunction<SetFailure, 1>(env, exports, "setFailure");
  ExportFdSocket(env, exports);
  ExportFdWatch(env, exports);
  ExportGuestFiles(env, exports);
  ExportMemory(env, exports);
  ExportSandbox(env, exports);
  ExportService(env, exports);
  ExportDataplane(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(tsvswitch, Init)

}  // namespace tsvswitch
