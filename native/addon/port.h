// What the two classes of ports share: their common methods, and how a port is opened.
//
// Thread: the JavaScript thread of the environment.

#pragma once

#include <string>
#include <vector>

#include "addon/handle.h"

namespace tsvswitch {

using PortHandle = HandleObject<PortState>;

Napi::Value PortCounters(PortState& port, const Napi::CallbackInfo& info);
Napi::Value PortFates(PortState& port, const Napi::CallbackInfo& info);
void MovePort(PortState& port, const Napi::CallbackInfo& info);
void ClosePort(PortState& port, const Napi::CallbackInfo& info);

inline std::vector<PortHandle::Method> MethodsOfPorts() {
  return {
      PortHandle::Calls<&SetPolicy, 2, 1>("set"), PortHandle::Calls<&MovePort, 1>("move"),
      PortHandle::Calls<&OpenQueue, 1>("queue"),  PortHandle::Calls<&PortCounters, 0>("counters"),
      PortHandle::Calls<&PortFates, 0>("fates"),  PortHandle::Calls<&CaptureOfPort, 2>("capture"),
      PortHandle::Calls<&ClosePort, 0>("close"),
  };
}

// The handle of the port that core has just added as `number`. Throws TOO_MANY_PORTS for kNoPort.
Napi::Object OpenPort(BridgeState& bridge, const Napi::CallbackInfo& info,
                      const Napi::FunctionReference& constructor, const std::string& name,
                      Napi::Function listener, uint16_t number);

}  // namespace tsvswitch
