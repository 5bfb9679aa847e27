// The forwarding table of a bridge as JavaScript has it: what was learned is read and forgotten,
// entries are set and removed, and limits given.
//
// Thread: the JavaScript thread of the environment.

#include <string>
#include <vector>

#include "addon/fields.h"
#include "addon/handle.h"

namespace tsvswitch {

namespace {

struct FlagName {
  const char* name;
  FdbFlags flag;
};
constexpr FlagName kFlags[] = {
    {"static", kFdbStatic}, {"sticky", kFdbSticky}, {"drop", kFdbDrop}, {"extern", kFdbExtern}};

uint64_t MacArgument(const Napi::CallbackInfo& info, size_t index) {
  constexpr int64_t kMacMax = (int64_t{1} << 48) - 1;
  constexpr int64_t kGroup = int64_t{1} << 40;
  const int64_t mac = IntegerArgument(info, index, "mac", 1, kMacMax);
  if ((mac & kGroup) != 0) throw WrongArgument(info, "mac", "the address of one station");
  return static_cast<uint64_t>(mac);
}

uint16_t VlanArgument(const Napi::CallbackInfo& info, size_t index) {
  return static_cast<uint16_t>(IntegerArgument(info, index, "vlan", 0, 4095));
}

uint8_t FlagsField(const Napi::Object& object) {
  const Napi::Value value = object.Get("flags");
  constexpr const char* kExpected = "an array of \"static\", \"sticky\", \"drop\" and \"extern\"";
  if (!value.IsArray()) throw BadField(object.Env(), "flags", kExpected);
  const Napi::Array list = value.As<Napi::Array>();
  uint8_t flags = 0;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value name = list[i];
    uint8_t found = 0;
    for (const FlagName& flag : kFlags) {
      if (name.IsString() && name.As<Napi::String>().Utf8Value() == flag.name) found = flag.flag;
    }
    if (found == 0) throw BadField(object.Env(), "flags", kExpected);
    flags = static_cast<uint8_t>(flags | found);
  }
  return flags;
}

Napi::Array FlagNames(Napi::Env env, uint8_t flags) {
  const Napi::Array names = Napi::Array::New(env);
  for (const FlagName& flag : kFlags) {
    if ((flags & flag.flag) != 0) names.Set(names.Length(), flag.name);
  }
  return names;
}

// A port of the bridge. Runs no JavaScript.
uint16_t MemberArgument(BridgeState& bridge, const Napi::CallbackInfo& info,
                        const Napi::Value& value) {
  const auto port = HandleArgument<PortState>(*bridge.plane, info, value, "port");
  if (!bridge.Core(info.Env()).IsOn(port->port(), bridge.number)) {
    throw WrongArgument(info, "port", "on " + bridge.what + ", but " + port->what + " is not");
  }
  return port->port();
}

}  // namespace

Napi::Value ReadFdb(BridgeState& bridge, const Napi::CallbackInfo& info) {
  const Dataplane& core = bridge.Core(info.Env());
  const std::vector<FdbRecord> records = core.ReadFdb(bridge.number);
  const uint32_t now_s = core.NowSeconds();
  Napi::Array list = Napi::Array::New(info.Env());
  uint32_t at = 0;
  for (const FdbRecord& record : records) {
    const auto port = bridge.plane->PortAt(record.port);
    if (port == nullptr && record.port != kNoPort) continue;
    const Napi::HandleScope scope(info.Env());
    const Napi::Object entry = Napi::Object::New(info.Env());
    entry.Set("mac", static_cast<double>(record.mac));
    entry.Set("vlan", record.vlan);
    if (port != nullptr) entry.Set("port", port->self.Value());
    entry.Set("via", record.via);
    entry.Set("flags", FlagNames(info.Env(), record.flags));
    entry.Set("ageSeconds", now_s - record.seen_s);
    list.Set(at++, entry);
  }
  return list;
}

Napi::Value FdbSize(BridgeState& bridge, const Napi::CallbackInfo& info) {
  const size_t entries = bridge.Core(info.Env()).ReadFdb(bridge.number).size();
  return Napi::Number::New(info.Env(), static_cast<double>(entries));
}

void FlushFdb(BridgeState& bridge, const Napi::CallbackInfo& info) {
  bridge.Core(info.Env()).FlushFdb(bridge.number, kNoPort);
}

Napi::Value SetFdbEntry(BridgeState& bridge, const Napi::CallbackInfo& info) {
  FdbRecord entry = {.mac = MacArgument(info, 0),
                     .vlan = VlanArgument(info, 1),
                     .port = kNoPort,
                     .via = 0,
                     .flags = 0,
                     .seen_s = 0};
  const Napi::Object at = ObjectArgument(info, 2, "at");
  entry.via = static_cast<uint16_t>(IntegerField(at, "via", 0, UINT16_MAX));
  entry.flags = FlagsField(at);
  const Napi::Value port = at.Get("port");
  if (!port.IsUndefined()) {
    entry.port = MemberArgument(bridge, info, port);
  } else if ((entry.flags & kFdbDrop) == 0) {
    throw WrongArgument(info, "at", "at a port, unless its frames are dropped");
  }
  return Napi::Boolean::New(info.Env(), bridge.Core(info.Env()).SetFdbEntry(bridge.number, entry));
}

Napi::Value RemoveFdbEntry(BridgeState& bridge, const Napi::CallbackInfo& info) {
  const uint64_t mac = MacArgument(info, 0);
  const uint16_t vlan = VlanArgument(info, 1);
  return Napi::Boolean::New(info.Env(),
                            bridge.Core(info.Env()).RemoveFdbEntry(bridge.number, mac, vlan));
}

void SetFdbLimit(BridgeState& bridge, const Napi::CallbackInfo& info) {
  const auto entries =
      static_cast<uint32_t>(IntegerArgument(info, 0, "entries", 0, kFdbEntriesMax));
  Dataplane& core = bridge.Core(info.Env());
  if (info.Length() > 1 && !info[1].IsUndefined()) {
    core.SetPortFdbLimit(MemberArgument(bridge, info, info[1]), entries);
  } else {
    core.SetFdbLimit(bridge.number, entries);
  }
}

}  // namespace tsvswitch
