// Ports as JavaScript has them: what ports of every kind have, and the memory and features of those
// whose rings a frontend describes.
//
// The frontend's words were checked in TypeScript; what is checked here again is what would make
// core assert: types, ranges, an open port. An fd in the arguments is closed here unless core took
// it, also when an argument is wrong.
//
// Thread: the JavaScript thread of the environment.

#include "addon/port.h"

#include <memory>
#include <string>
#include <vector>

#include "addon/fields.h"
#include "addon/results.h"

namespace tsvswitch {

namespace {

Napi::Value SetMemory(PortState& port, const Napi::CallbackInfo& info) {
  AdoptedFds fds;
  if (!info[0].IsArray()) throw WrongArgument(info, "regions", "an array");
  const Napi::Array list = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i) fds.Adopt(list[i], "fd");
  std::vector<RegionWithFile> regions;
  for (uint32_t i = 0; i < fds.count(); ++i) {
    const Napi::Value region = list[i];
    if (!region.IsObject()) throw WrongArgument(info, "regions", "an array of objects");
    regions.push_back({ToRegion(region.As<Napi::Object>()), fds.Get(i)});
  }
  Dataplane& core = port.Core(info.Env());
  for (uint32_t i = 0; i < fds.count(); ++i) fds.Release(i);
  ThrowUnlessMapped(info.Env(), core.SetMemory(port.port(), regions));
  return info.Env().Undefined();
}

void AddMemoryRegion(PortState& port, const Napi::CallbackInfo& info) {
  AdoptedFds fds;
  fds.Adopt(info[0], "fd");
  const RegionDescription region = ToRegion(ObjectArgument(info, 0, "region"));
  Dataplane& core = port.Core(info.Env());
  ThrowUnlessMapped(info.Env(), core.AddMemoryRegion(port.port(), {region, fds.Release(0)}));
}

void RemoveMemoryRegion(PortState& port, const Napi::CallbackInfo& info) {
  const RegionDescription region = ToRegion(ObjectArgument(info, 0, "region"));
  ThrowUnlessMapped(info.Env(), port.Core(info.Env()).RemoveMemoryRegion(port.port(), region));
}

void SetFeatures(PortState& port, const Napi::CallbackInfo& info) {
  bool lossless = false;
  const uint64_t features =
      info[0].IsBigInt() ? info[0].As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (!lossless) throw WrongArgument(info, "features", "a bigint of 64 bits without sign");
  Dataplane& core = port.Core(info.Env());
  if (core.AnyQueueStarted(port.port())) {
    throw FaultError(info.Env(), "features-of-running");
  }
  core.SetFeatures(port.port(), features);
}

void SetLog(PortState& port, const Napi::CallbackInfo& info) {
  AdoptedFds fds;
  fds.Adopt(info[0], "fd");
  if (info[0].IsUndefined()) {
    port.Core(info.Env()).SetLog(port.port(), -1, 0, 0);
    return;
  }
  const Napi::Object log = ObjectArgument(info, 0, "log");
  const uint64_t bytes = AddressField(log, "sizeBytes");
  const uint64_t offset = AddressField(log, "offsetBytes");
  Dataplane& core = port.Core(info.Env());
  ThrowUnlessMapped(info.Env(), core.SetLog(port.port(), fds.Release(0), bytes, offset));
}

void SetLogging(PortState& port, const Napi::CallbackInfo& info) {
  const bool enabled = BooleanArgument(info, 0, "enabled");
  port.Core(info.Env()).SetLogging(port.port(), enabled);
}

void Announce(PortState& port, const Napi::CallbackInfo& info) {
  const int64_t mac = IntegerArgument(info, 0, "mac", 0, (int64_t{1} << 48) - 1);
  port.Core(info.Env()).Announce(port.port(), static_cast<uint64_t>(mac));
}

void EndSession(PortState& port, const Napi::CallbackInfo& info) {
  port.Core(info.Env()).EndSession(port.port());
}

// What a port counts, as long as somebody looks at it.
template <class Kept>
Napi::Value ArrayOf(Napi::Env env, Kept kept, size_t bytes) {
  auto* const data = new Kept(std::move(kept));
  const Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(
      env, data->get(), bytes, [](Napi::Env, void*, Kept* k) { delete k; }, data);
  return Napi::BigUint64Array::New(env, bytes / sizeof(uint64_t), buffer, 0);
}

}  // namespace

Napi::Value PortCounters(PortState& port, const Napi::CallbackInfo& info) {
  Dataplane& core = port.Core(info.Env());
  const size_t bytes = core.QueueCount(port.port()) * sizeof(QueueCounters);
  return ArrayOf(info.Env(), core.Counters(port.port()), bytes);
}

Napi::Value PortFates(PortState& port, const Napi::CallbackInfo& info) {
  Dataplane& core = port.Core(info.Env());
  return ArrayOf(info.Env(), core.Fates(port.port()), sizeof(FateCounters));
}

void MovePort(PortState& port, const Napi::CallbackInfo& info) {
  const auto bridge = HandleArgument<BridgeState>(*port.plane, info, info[0], "bridge");
  port.Core(info.Env()).MovePort(port.port(), bridge->number);
}

void ClosePort(PortState& port, const Napi::CallbackInfo& info) {
  if (!port.is_open) return;
  port.Core(info.Env()).RemovePort(port.port());
  port.plane->ports[port.number].reset();
  port.Close();
}

Napi::Object OpenPort(BridgeState& bridge, const Napi::CallbackInfo& info,
                      const Napi::FunctionReference& constructor, const std::string& name,
                      Napi::Function listener, uint16_t number) {
  const Napi::Env env = info.Env();
  if (number == kNoPort) {
    throw FaultError(env, "no-more-ports", {{"max", kPortsMax}});
  }
  const auto port = std::make_shared<PortState>(bridge.plane, name, number, listener);
  const Napi::Object handle = OpenHandle(env, constructor, bridge.plane->ports, port,
                                         [&] { bridge.plane->core->RemovePort(number); });
  SetFixed(handle, "name", Napi::String::New(env, name));
  SetFixed(handle, "number", Napi::Number::New(env, number));
  return handle;
}

Napi::Object OpenRingPort(BridgeState& bridge, const Napi::CallbackInfo& info) {
  const std::string name = StringArgument(info, 0, "name");
  const auto pairs =
      static_cast<uint32_t>(IntegerArgument(info, 1, "queuePairs", 1, kQueuePairsMax));
  const Napi::Function listener = FunctionArgument(info, 2, "onEvent");
  const uint16_t number = bridge.Core(info.Env()).AddPort(pairs, bridge.number);
  return OpenPort(bridge, info, Instance::Of(info.Env()).ring_port_class, name, listener, number);
}

void DefineRingPort(Napi::Env env) {
  using Handle = PortHandle;
  std::vector<Handle::Method> methods = MethodsOfPorts();
  methods.insert(methods.end(), {
                                    Handle::Calls<&SetMemory, 1>("setMemory"),
                                    Handle::Calls<&AddMemoryRegion, 1>("addMemoryRegion"),
                                    Handle::Calls<&RemoveMemoryRegion, 1>("removeMemoryRegion"),
                                    Handle::Calls<&SetFeatures, 1>("setFeatures"),
                                    Handle::Calls<&SetLog, 1>("setLog"),
                                    Handle::Calls<&SetLogging, 1>("setLogging"),
                                    Handle::Calls<&Announce, 1>("announce"),
                                    Handle::Calls<&EndSession, 0>("endSession"),
                                });
  Instance::Of(env).ring_port_class = Handle::Class(env, "RingPort", methods);
}

}  // namespace tsvswitch
