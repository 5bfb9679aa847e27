// As handle.h declares them.

#include "addon/handle.h"

namespace tsvswitch {

Dataplane& State::Core(Napi::Env env) const {
  Dataplane& core = plane->Core(env);
  if (!is_open) throw FaultError(env, "handle-closed", {{"what", what}});
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
  if (core == nullptr) throw FaultError(env, "switch-closed");
  return *core;
}

void ThrowNotMade(Napi::Env env) { throw FaultError(env, "handle-made"); }

}  // namespace tsvswitch
