// See dataplane.h: the arguments and results that several of its methods have.

#include <string>

#include "addon/addon.h"
#include "addon/dataplane.h"

namespace tsvswitch {

Dataplane& DataplaneObject::Open(Napi::Env env) {
  if (dataplane_ == nullptr) throw CodedError(env, "CLOSED", "the switch is closed");
  return *dataplane_;
}

uint16_t DataplaneObject::PortArgument(const Napi::CallbackInfo& info) {
  Dataplane& dataplane = Open(info.Env());
  const auto port = static_cast<uint16_t>(IntegerArgument(info, 0, "port", 0, kPortsMax - 1));
  if (!dataplane.HasPort(port)) {
    throw CodedError(info.Env(), "BAD_OPTION", "there is no port " + std::to_string(port));
  }
  return port;
}

uint32_t DataplaneObject::QueueArgument(const Napi::CallbackInfo& info, uint16_t port) {
  const int64_t queues = dataplane_->QueueCount(port);
  return static_cast<uint32_t>(IntegerArgument(info, 1, "queue", 0, queues - 1));
}

uint32_t DataplaneObject::BridgeArgument(const Napi::CallbackInfo& info, size_t index) {
  Dataplane& dataplane = Open(info.Env());
  const int64_t bridge = IntegerArgument(info, index, "bridge", 0, Dataplane::kBridgesMax - 1);
  if (!dataplane.HasBridge(static_cast<uint32_t>(bridge))) {
    throw CodedError(info.Env(), "BAD_OPTION", "there is no bridge " + std::to_string(bridge));
  }
  return static_cast<uint32_t>(bridge);
}

Napi::Value DataplaneObject::PortNumber(Napi::Env env, uint16_t port) {
  if (port == kNoPort) {
    throw CodedError(env, "TOO_MANY_PORTS",
                     "a switch has at most " + std::to_string(kPortsMax) + " ports");
  }
  return Napi::Number::New(env, port);
}

}  // namespace tsvswitch
