// The sources that ports are bound to: rules on their way in, what broke them on its way out.

#include <arpa/inet.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "addon/addon.h"
#include "addon/dataplane.h"
#include "addon/fields.h"

namespace tsvswitch {

namespace {

Napi::Array ListField(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsArray() && value.As<Napi::Array>().Length() <= SourceRule::kEntriesMax) {
    return value.As<Napi::Array>();
  }
  throw BadField(object.Env(), name,
                 "an array of at most " + std::to_string(SourceRule::kEntriesMax));
}

IpNetwork ToNetwork(Napi::Env env, const Napi::Value& value) {
  if (!value.IsObject()) throw BadField(env, "networks", "an array of objects");
  const Napi::Object object = value.As<Napi::Object>();
  const Napi::Value address = object.Get("address");
  const bool is_bytes =
      address.IsTypedArray() && address.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array;
  const size_t bytes = is_bytes ? address.As<Napi::TypedArray>().ByteLength() : 0;
  IpNetwork network = {.ipv6 = bytes == sizeof(network.address), .prefix_bits = 0, .address = {}};
  if (!network.ipv6 && bytes != 4) throw BadField(env, "address", "4 or 16 bytes");
  network.prefix_bits = static_cast<uint8_t>(
      IntegerField(object, "prefixLength", 0, static_cast<int64_t>(bytes) * 8));
  std::memcpy(network.address, address.As<Napi::Uint8Array>().Data(), bytes);
  return network;
}

SourceRule ToSourceRule(const Napi::Object& object) {
  SourceRule rule;
  const Napi::Array macs = ListField(object, "macs");
  for (uint32_t i = 0; i < macs.Length(); ++i) {
    const Napi::Value mac = macs[i];
    const int64_t number = mac.IsNumber() ? mac.As<Napi::Number>().Int64Value() : -1;
    if (number < 0 || number >> 48 != 0) throw BadField(object.Env(), "macs", "48-bit numbers");
    rule.macs.push_back(static_cast<uint64_t>(number));
  }
  const Napi::Array networks = ListField(object, "networks");
  for (uint32_t i = 0; i < networks.Length(); ++i) {
    rule.networks.push_back(ToNetwork(object.Env(), networks[i]));
  }
  return rule;
}

}  // namespace

void DataplaneObject::BindSources(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  dataplane_->BindSources(port, ToSourceRule(ObjectArgument(info, 1, "rule")));
}

void DataplaneObject::SetSpoofed(Napi::Object event, const SpoofedSource& spoofed) {
  const uint8_t* const at = spoofed.address;
  char text[INET6_ADDRSTRLEN];
  switch (spoofed.kind) {
    case SpoofedSource::Kind::kMac:
      std::snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", at[0], at[1], at[2], at[3],
                    at[4], at[5]);
      break;
    case SpoofedSource::Kind::kIpv4: inet_ntop(AF_INET, at, text, sizeof(text)); break;
    case SpoofedSource::Kind::kIpv6: inet_ntop(AF_INET6, at, text, sizeof(text)); break;
    case SpoofedSource::Kind::kUnknown:
      std::snprintf(text, sizeof(text), "0x%02x%02x", at[0], at[1]);
      break;
  }
  constexpr const char* kKinds[] = {"mac", "ipv4", "ipv6", "unknown"};
  event.Set("kind", kKinds[static_cast<int>(spoofed.kind)]);
  event.Set("source", text);
}

}  // namespace tsvswitch
