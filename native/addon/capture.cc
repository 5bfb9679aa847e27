// A capture as JavaScript has it: begun at a port or a bridge, read, and ended.
//
// Thread: the JavaScript thread of the environment.

#include "core/policy/capture.h"

#include "addon/handle.h"

namespace tsvswitch {

namespace {

using CaptureHandle = HandleObject<CaptureState>;

// `begin` tells core to begin it, given the data plane, the bytes to keep and the eventfd.
template <class Begin>
Napi::Object Open(const State& of, const Napi::CallbackInfo& info, Begin begin) {
  const Napi::Env env = info.Env();
  const auto snap_bytes =
      static_cast<uint32_t>(IntegerArgument(info, 0, "snapBytes", 0, kFrameBytesMax));
  const int call_fd = FdArgument(info, 1);
  Dataplane& core = of.Core(env);
  const uint32_t number = begin(core, snap_bytes, call_fd);
  const auto capture =
      std::make_shared<CaptureState>(of.plane, "the capture of " + of.what, number);
  return OpenHandle(env, Instance::Of(env).capture_class, of.plane->captures, capture,
                    [&] { core.RemoveCapture(number); });
}

Napi::Value Read(CaptureState& capture, const Napi::CallbackInfo& info) {
  const Bytes to = BytesArgument(info, 0, "bytes");
  const size_t bytes = capture.Core(info.Env()).CaptureAt(capture.number).Read(to.data, to.size);
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

Napi::Value WriteTo(CaptureState& capture, const Napi::CallbackInfo& info) {
  Capture& at = capture.Core(info.Env()).CaptureAt(capture.number);
  return Napi::Number::New(info.Env(), at.WriteTo(FdArgument(info, 0)));
}

Napi::Value Waiting(CaptureState& capture, const Napi::CallbackInfo& info) {
  const size_t bytes = capture.Core(info.Env()).CaptureAt(capture.number).waiting();
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

Napi::Value PortWithoutInterface(CaptureState& capture, const Napi::CallbackInfo& info) {
  Capture& at = capture.Core(info.Env()).CaptureAt(capture.number);
  const uint16_t port = at.PortWithoutInterface();
  if (port == kNoPort) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), port);
}

void SetInterface(CaptureState& capture, const Napi::CallbackInfo& info) {
  const auto port = static_cast<uint16_t>(IntegerArgument(info, 0, "port", 0, kPortsMax - 1));
  const auto interface =
      static_cast<uint32_t>(IntegerArgument(info, 1, "interface", 0, Capture::kInterfaceMax));
  capture.Core(info.Env()).CaptureAt(capture.number).SetInterface(port, interface);
}

void ForgetInterfaces(CaptureState& capture, const Napi::CallbackInfo& info) {
  capture.Core(info.Env()).CaptureAt(capture.number).ForgetInterfaces();
}

Napi::Value RequestCall(CaptureState& capture, const Napi::CallbackInfo& info) {
  Capture& at = capture.Core(info.Env()).CaptureAt(capture.number);
  return Napi::Boolean::New(info.Env(), at.RequestCall());
}

Napi::Value Lost(CaptureState& capture, const Napi::CallbackInfo& info) {
  const uint64_t lost = capture.Core(info.Env()).CaptureAt(capture.number).lost();
  return Napi::Number::New(info.Env(), static_cast<double>(lost));
}

void Close(CaptureState& capture, const Napi::CallbackInfo& info) {
  if (!capture.is_open) return;
  capture.Core(info.Env()).RemoveCapture(capture.number);
  capture.plane->captures[capture.number].reset();
  capture.Close();
}

}  // namespace

Napi::Object CaptureOfBridge(BridgeState& bridge, const Napi::CallbackInfo& info) {
  return Open(bridge, info, [&](Dataplane& core, uint32_t snap_bytes, int call_fd) {
    return core.CaptureBridge(bridge.number, snap_bytes, call_fd);
  });
}

Napi::Object CaptureOfPort(PortState& port, const Napi::CallbackInfo& info) {
  return Open(port, info, [&](Dataplane& core, uint32_t snap_bytes, int call_fd) {
    return core.CapturePort(port.port(), snap_bytes, call_fd);
  });
}

void DefineCapture(Napi::Env env) {
  using Handle = CaptureHandle;
  Instance::Of(env).capture_class =
      Handle::Class(env, "Capture",
                    {
                        Handle::Calls<&Read, 1>("read"),
                        Handle::Calls<&WriteTo, 1>("writeTo"),
                        Handle::Calls<&Waiting, 0>("waiting"),
                        Handle::Calls<&PortWithoutInterface, 0>("portWithoutInterface"),
                        Handle::Calls<&SetInterface, 2>("setInterface"),
                        Handle::Calls<&ForgetInterfaces, 0>("forgetInterfaces"),
                        Handle::Calls<&RequestCall, 0>("requestCall"),
                        Handle::Calls<&Lost, 0>("lost"),
                        Handle::Calls<&Close, 0>("close"),
                    });
}

}  // namespace tsvswitch
