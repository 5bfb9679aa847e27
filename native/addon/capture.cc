// Captures of a data plane: begun, read and ended.

#include <string>

#include "addon/addon.h"
#include "addon/dataplane.h"

namespace tsvswitch {

uint32_t DataplaneObject::SnapArgument(const Napi::CallbackInfo& info) {
  return static_cast<uint32_t>(IntegerArgument(info, 1, "snapBytes", 0, kFrameBytesMax));
}

Capture& DataplaneObject::CaptureArgument(const Napi::CallbackInfo& info) {
  Dataplane& dataplane = Open(info.Env());
  const auto capture = static_cast<uint32_t>(IntegerArgument(info, 0, "capture", 0, UINT32_MAX));
  if (!dataplane.HasCapture(capture)) {
    throw CodedError(info.Env(), "BAD_OPTION", "there is no capture " + std::to_string(capture));
  }
  return dataplane.CaptureAt(capture);
}

Napi::Value DataplaneObject::CapturePort(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  const uint32_t snap_bytes = SnapArgument(info);
  return Napi::Number::New(info.Env(),
                           dataplane_->CapturePort(port, snap_bytes, FdArgument(info, 2)));
}

Napi::Value DataplaneObject::CaptureBridge(const Napi::CallbackInfo& info) {
  const uint32_t bridge = BridgeArgument(info, 0);
  const uint32_t snap_bytes = SnapArgument(info);
  return Napi::Number::New(info.Env(),
                           dataplane_->CaptureBridge(bridge, snap_bytes, FdArgument(info, 2)));
}

Napi::Value DataplaneObject::CaptureRead(const Napi::CallbackInfo& info) {
  Capture& capture = CaptureArgument(info);
  const Bytes to = BytesArgument(info, 1, "bytes");
  return Napi::Number::New(info.Env(), static_cast<double>(capture.Read(to.data, to.size)));
}

void DataplaneObject::CaptureRequestCall(const Napi::CallbackInfo& info) {
  CaptureArgument(info).RequestCall();
}

Napi::Value DataplaneObject::CaptureLost(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(CaptureArgument(info).lost()));
}

void DataplaneObject::RemoveCapture(const Napi::CallbackInfo& info) {
  CaptureArgument(info);
  dataplane_->RemoveCapture(info[0].As<Napi::Number>().Uint32Value());
}

}  // namespace tsvswitch
