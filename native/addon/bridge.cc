// A bridge as JavaScript has it: its ports are added here, and what it has learned is read and
// forgotten.
//
// Thread: the JavaScript thread of the environment.

#include <string>
#include <vector>

#include "addon/handle.h"

namespace tsvswitch {

namespace {

using BridgeHandle = HandleObject<BridgeState>;

Napi::Value ReadFdb(BridgeState& bridge, const Napi::CallbackInfo& info) {
  const Dataplane& core = bridge.Core(info.Env());
  const std::vector<FdbRecord> records = core.ReadFdb(bridge.number);
  const uint32_t now_s = core.NowSeconds();
  Napi::Array list = Napi::Array::New(info.Env());
  uint32_t at = 0;
  for (const FdbRecord& record : records) {
    const auto port = bridge.plane->PortAt(record.port);
    if (port == nullptr) continue;
    const Napi::HandleScope scope(info.Env());
    const Napi::Object entry = Napi::Object::New(info.Env());
    entry.Set("mac", static_cast<double>(record.mac));
    entry.Set("vlan", record.vlan);
    entry.Set("port", port->self.Value());
    entry.Set("ageSeconds", now_s - record.seen_s);
    list.Set(at++, entry);
  }
  return list;
}

void FlushFdb(BridgeState& bridge, const Napi::CallbackInfo& info) {
  bridge.Core(info.Env()).FlushFdb(bridge.number, kNoPort);
}

void SetAgeing(BridgeState& bridge, const Napi::CallbackInfo& info) {
  const int64_t ageing_s = IntegerArgument(info, 0, "ageingSeconds", 0, INT32_MAX);
  bridge.Core(info.Env()).SetAgeing(bridge.number, static_cast<uint32_t>(ageing_s));
}

void Close(BridgeState& bridge, const Napi::CallbackInfo& info) {
  if (!bridge.is_open) return;
  Dataplane& core = bridge.Core(info.Env());
  if (core.PortsOn(bridge.number) != 0) {
    throw CodedError(info.Env(), "BAD_OPTION", bridge.what + " still has ports");
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
                        Handle::Calls<&FlushFdb, 0>("flushFdb"),
                        Handle::Calls<&SetAgeing, 1>("setAgeing"),
                        Handle::Calls<&Close, 0>("close"),
                    });
}

}  // namespace tsvswitch
