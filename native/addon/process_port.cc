// Ports of this process: frames cross as bytes that lie one after the other, with their lengths.
//
// Thread: the JavaScript thread of the environment.

#include <cstring>
#include <string>
#include <vector>

#include "addon/fields.h"
#include "addon/port.h"

namespace tsvswitch {

namespace {

struct FrameBatch {
  Bytes bytes;
  uint32_t* lengths;
  uint32_t count;  // entries of `lengths`
};

FrameBatch FrameBatchArguments(const Napi::CallbackInfo& info) {
  const Bytes bytes = BytesArgument(info, 0, "bytes");
  const Napi::Value lengths = info[1];
  if (!lengths.IsTypedArray() ||
      lengths.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    throw WrongArgument(info, "lengths", "a Uint32Array");
  }
  Napi::Uint32Array array = lengths.As<Napi::Uint32Array>();
  return {bytes, array.Data(), static_cast<uint32_t>(array.ElementLength())};
}

// Returns how many of the frames found room; the caller keeps the others.
Napi::Value Send(PortState& port, const Napi::CallbackInfo& info) {
  const FrameBatch batch = FrameBatchArguments(info);
  const auto count = static_cast<uint32_t>(IntegerArgument(info, 2, "count", 0, batch.count));
  Dataplane& core = port.Core(info.Env());
  ProcessTransmitq& queue = core.ProcessTransmitqOf(port.port());
  uint32_t sent = 0;
  for (size_t at = 0; sent < count; ++sent) {
    const uint32_t bytes = batch.lengths[sent];
    if (bytes < kFrameBytesMin || bytes > kFrameBytesMax || bytes > batch.bytes.size - at) {
      core.PublishProcessSent(port.port());
      throw FaultError(info.Env(), "frame-bytes", {{"bytes", bytes}});
    }
    if (!queue.Send(batch.bytes.data + at, bytes)) break;
    at += bytes;
  }
  core.PublishProcessSent(port.port());
  return Napi::Number::New(info.Env(), sent);
}

// Returns how many frames were put into `bytes`, none that does not fit, and their lengths.
Napi::Value Receive(PortState& port, const Napi::CallbackInfo& info) {
  const FrameBatch batch = FrameBatchArguments(info);
  ProcessReceiveq& queue = port.Core(info.Env()).ProcessReceiveqOf(port.port());
  uint32_t received = 0;
  for (size_t at = 0; received < batch.count; ++received) {
    const uint32_t bytes = queue.NextBytes();
    if (bytes == 0 || bytes > batch.bytes.size - at) break;
    std::memcpy(batch.bytes.data + at, queue.Next(), bytes);
    batch.lengths[received] = bytes;
    at += bytes;
  }
  queue.Release();
  return Napi::Number::New(info.Env(), received);
}

Napi::Value IsDrained(PortState& port, const Napi::CallbackInfo& info) {
  Dataplane& core = port.Core(info.Env());
  return Napi::Boolean::New(info.Env(), core.ProcessTransmitqOf(port.port()).Drained());
}

}  // namespace

Napi::Object OpenProcessPort(BridgeState& bridge, const Napi::CallbackInfo& info) {
  const std::string name = StringArgument(info, 0, "name");
  const Napi::Function listener = FunctionArgument(info, 1, "onEvent");
  const uint16_t number = bridge.Core(info.Env()).AddProcessPort(bridge.number);
  return OpenPort(bridge, info, Instance::Of(info.Env()).process_port_class, name, listener,
                  number);
}

void DefineProcessPort(Napi::Env env) {
  using Handle = PortHandle;
  std::vector<Handle::Method> methods = MethodsOfPorts();
  methods.insert(methods.end(), {
                                    Handle::Calls<&Send, 3>("send"),
                                    Handle::Calls<&Receive, 2>("receive"),
                                    Handle::Calls<&IsDrained, 0>("isDrained"),
                                });
  Instance::Of(env).process_port_class = Handle::Class(env, "ProcessPort", methods);
}

}  // namespace tsvswitch
