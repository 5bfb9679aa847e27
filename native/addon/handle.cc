// As handle.h declares them.

#include "addon/handle.h"

namespace tsvswitch {

Dataplane& State::Core(Napi::Env env) const {
  Dataplane& core = plane->Core(env);
  if (!is_open) throw CodedError(env, "CLOSED", what + " is closed");
  return core;
}

void State::Close() {
  is_open = false;
  self.Reset();
}

void PortState::Close() {
  State::Close();
  on_event.Reset();
}

Dataplane& Plane::Core(Napi::Env env) const {
  if (core == nullptr) throw CodedError(env, "CLOSED", "the switch is closed");
  return *core;
}

void RequireCount(const Napi::CallbackInfo& info, uint32_t min, uint32_t max) {
  if (info.Length() >= min && info.Length() <= max) return;
  const std::string least = std::to_string(min);
  throw CodedError(info.Env(), "BAD_OPTION",
                   std::string(static_cast<const char*>(info.Data())) + ": takes " +
                       (min == max ? least : least + " to " + std::to_string(max)) +
                       " arguments, not " + std::to_string(info.Length()));
}

void ThrowNotMade(Napi::Env env) {
  throw CodedError(env, "BAD_OPTION", "a handle is made by the one that it is of");
}

void SetLength(const Napi::Function& constructor, const char* method, uint32_t length) {
  const Napi::Env env = constructor.Env();
  const Napi::Object function =
      constructor.Get("prototype").As<Napi::Object>().Get(method).As<Napi::Object>();
  function.DefineProperty(
      Napi::PropertyDescriptor::Value("length", Napi::Number::New(env, length), napi_configurable));
}

}  // namespace tsvswitch
