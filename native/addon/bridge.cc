// A bridge as JavaScript has it: its ports are added here. Its forwarding table: fdb.cc.
//
// Thread: the JavaScript thread of the environment.

#include <string>

#include "addon/handle.h"

namespace tsvswitch {

namespace {

using BridgeHandle = HandleObject<BridgeState>;

void SetAgeing(BridgeState& bridge, const Napi::CallbackInfo& info) {
  const int64_t ageing_s = IntegerArgument(info, 0, "ageingSeconds", 0, INT32_MAX);
  bridge.Core(info.Env()).SetAgeing(bridge.number, static_cast<uint32_t>(ageing_s));
}

void Close(BridgeState& bridge, const Napi::CallbackInfo& info) {
  if (!bridge.is_open) return;
  Dataplane& core = bridge.Core(info.Env());
  if (core.PortsOn(bridge.number) != 0) {
    throw FaultError(info.Env(), "bridge-with-ports", {{"what", bridge.what}});
  }
  core.RemoveBridge(bridge.number);
  bridge.plane->bridges[bridge.number].reset();
  bridge.Close();
}

}  // namespace

void DefineBridge(Napi::Env env) {
  using Handle = BridgeHandle;
  Instance::Of(env).bridge_class =
      Handle::Class(env, "Bridge",
                    {
                        Handle::Calls<&OpenRingPort, 3>("addRingPort"),
                        Handle::Calls<&OpenProcessPort, 2>("addProcessPort"),
                        Handle::Calls<&CaptureOfBridge, 2>("capture"),
                        Handle::Calls<&ReadFdb, 0>("readFdb"),
                        Handle::Calls<&FdbSize, 0>("fdbSize"),
                        Handle::Calls<&FlushFdb, 0>("flushFdb"),
                        Handle::Calls<&SetFdbEntry, 3>("setFdbEntry"),
                        Handle::Calls<&RemoveFdbEntry, 2>("removeFdbEntry"),
                        Handle::Calls<&SetFdbLimit, 1, 1>("setFdbLimit"),
                        Handle::Calls<&SetAgeing, 1>("setAgeing"),
                        Handle::Calls<&Close, 0>("close"),
                    });
}

}  // namespace tsvswitch
