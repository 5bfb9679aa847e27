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

void ThrowNotMade(Napi::Env env) {
  throw CodedError(env, "BAD_OPTION", "a handle is made by the one that it is of");
}

}  // namespace tsvswitch
