// The policies of a port: what each is told in words, and how core is told.
//
// A policy is a struct of core, a table of its fields (words.h) and a row of kPolicies. `set` with
// words puts it in force from the next round on, in place of what it was; without words it is taken
// away. PolicyWords in src/native/addon.ts declares the same for TypeScript.
//
// Thread: the JavaScript thread of the environment.

#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "addon/fields.h"
#include "addon/handle.h"
#include "addon/words.h"

namespace tsvswitch {

namespace {

constexpr double kU32Max = UINT32_MAX;
constexpr double kWholeMax = 0x1p53;  // what a number of JavaScript counts exactly

// --- links: linkFromGuest, linkToGuest, linkFromPort ---------------------------------------------

constexpr Word<LinkSettings> kLinkWords[] = {
    {"seed", Word<LinkSettings>::Bits{&LinkSettings::seed}},
    {"blackhole", &LinkSettings::blackhole},
    {"frameBytesMax", &LinkSettings::frame_bytes_max, kU32Max},
    {"bitsPerSecond", &LinkSettings::bits_per_second, kWholeMax},
    {"queueBytes", &LinkSettings::queue_bytes, kU32Max},
    {"turnsBad", &LinkSettings::turns_bad},
    {"turnsGood", &LinkSettings::turns_good},
    {"lossGood", &LinkSettings::loss_good},
    {"lossBad", &LinkSettings::loss_bad},
    {"delayNs", &LinkSettings::delay_ns, kWholeMax},
    {"jitterNs", &LinkSettings::jitter_ns, kWholeMax},
    {"duplicate", &LinkSettings::duplicate},
    {"corrupt", &LinkSettings::corrupt},
    {"reorder", &LinkSettings::reorder},
    {"reorderNs", &LinkSettings::reorder_ns, kWholeMax},
};

const char* LinkFault(const LinkSettings& link) {
  return link.jitter_ns > link.delay_ns ? "jitterNs must be at most delayNs" : nullptr;
}

void SetLinkFromGuest(Dataplane& core, uint16_t port, uint16_t, const LinkSettings* link) {
  core.SetLink(port, kNoPort, link);
}

void SetLinkToGuest(Dataplane& core, uint16_t port, uint16_t, const LinkSettings* link) {
  core.SetLink(kNoPort, port, link);
}

void SetLinkFromPort(Dataplane& core, uint16_t port, uint16_t from, const LinkSettings* link) {
  core.SetLink(from, port, link);
}

// --- mtu -----------------------------------------------------------------------------------------

struct Mtu {
  uint32_t bytes;
};

constexpr Word<Mtu> kMtuWords[] = {{"mtuBytes", &Mtu::bytes, kFrameBytesMax}};

void SetMtu(Dataplane& core, uint16_t port, uint16_t, const Mtu* mtu) {
  core.SetMtu(port, mtu == nullptr ? kNoMtu : mtu->bytes);
}

// --- admin ---------------------------------------------------------------------------------------

struct Admin {
  bool down;
};

constexpr Word<Admin> kAdminWords[] = {{"down", &Admin::down}};

void SetAdmin(Dataplane& core, uint16_t port, uint16_t, const Admin* admin) {
  core.SetDown(port, admin != nullptr && admin->down);
}

// --- sources -------------------------------------------------------------------------------------

constexpr Word<IpNetwork> kNetworkWords[] = {
    {"address",
     [](const std::string& name, const Napi::Value& value, IpNetwork* network) {
       const bool is_bytes = value.IsTypedArray() &&
                             value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array;
       const size_t bytes = is_bytes ? value.As<Napi::TypedArray>().ByteLength() : 0;
       network->ipv6 = bytes == sizeof(network->address);
       if (!network->ipv6 && bytes != 4) throw BadField(value.Env(), name, "4 or 16 bytes");
       std::memcpy(network->address, value.As<Napi::Uint8Array>().Data(), bytes);
     }},
    // Behind `address`, whose length is its limit.
    {"prefixLength",
     [](const std::string& name, const Napi::Value& value, IpNetwork* network) {
       const double bits = network->ipv6 ? 128 : 32;
       network->prefix_bits = static_cast<uint8_t>(ReadWhole(name, value, bits));
     }},
};

constexpr Word<SourceRule> kSourceWords[] = {
    {"macs",
     [](const std::string& name, const Napi::Value& value, SourceRule* rule) {
       const Napi::Array list = ReadList(name, value, SourceRule::kEntriesMax);
       for (uint32_t i = 0; i < list.Length() && i < SourceRule::kEntriesMax; ++i) {
         rule->macs.push_back(ReadWhole(name, list[i], 0x1p48 - 1));
       }
     }},
    {"networks",
     [](const std::string& name, const Napi::Value& value, SourceRule* rule) {
       const Napi::Array list = ReadList(name, value, SourceRule::kEntriesMax);
       for (uint32_t i = 0; i < list.Length() && i < SourceRule::kEntriesMax; ++i) {
         rule->networks.push_back(ReadWords<IpNetwork>(name, kNetworkWords, list[i]));
       }
     }},
};

void SetSources(Dataplane& core, uint16_t port, uint16_t, const SourceRule* rule) {
  if (rule == nullptr) {
    core.UnbindSources(port);
  } else {
    core.BindSources(port, *rule);
  }
}

// --- the table -----------------------------------------------------------------------------------

struct Policy {
  const char* name;
  bool has_peer;  // it is set for frames from another port, the third argument
  void (*set)(const Policy& policy, const Napi::CallbackInfo& info, PortState& port);
};

uint16_t PeerArgument(const Policy& policy, const Napi::CallbackInfo& info, const PortState& port) {
  if (!policy.has_peer) {
    if (info[2].IsUndefined()) return kNoPort;
    throw FaultError(info.Env(), "policy-of-one-port", {{"policy", policy.name}});
  }
  const uint16_t peer = HandleArgument<PortState>(*port.plane, info, info[2], "peer")->port();
  if (peer != port.port()) return peer;
  throw FaultError(info.Env(), "policy-of-itself", {{"policy", policy.name}});
}

template <class S>
const char* NoFault(const S&) {
  return nullptr;
}

template <class S, const auto& kWords, auto kSet, auto kFault = &NoFault<S>>
constexpr Policy Row(const char* name, bool has_peer = false) {
  return {
      name, has_peer, [](const Policy& policy, const Napi::CallbackInfo& info, PortState& port) {
        std::optional<S> words;
        if (!info[1].IsUndefined()) words = ReadWords<S>(policy.name, kWords, info[1]);
        const char* const fault = words.has_value() ? kFault(*words) : nullptr;
        if (fault != nullptr) {
          throw FaultError(info.Env(), "policy-misfit", {{"policy", policy.name}, {"why", fault}});
        }
        const uint16_t peer = PeerArgument(policy, info, port);
        kSet(port.Core(info.Env()), port.port(), peer, words.has_value() ? &*words : nullptr);
      }};
}

constexpr Policy kPolicies[] = {
    Row<LinkSettings, kLinkWords, &SetLinkFromGuest, &LinkFault>("linkFromGuest"),
    Row<LinkSettings, kLinkWords, &SetLinkToGuest, &LinkFault>("linkToGuest"),
    Row<LinkSettings, kLinkWords, &SetLinkFromPort, &LinkFault>("linkFromPort", true),
    Row<Mtu, kMtuWords, &SetMtu>("mtu"),
    Row<Admin, kAdminWords, &SetAdmin>("admin"),
    Row<SourceRule, kSourceWords, &SetSources>("sources"),
};

}  // namespace

Napi::Array PolicyNames(Napi::Env env) {
  Napi::Array names = Napi::Array::New(env);
  uint32_t at = 0;
  for (const Policy& policy : kPolicies) names.Set(at++, policy.name);
  return names;
}

void SetPolicy(PortState& port, const Napi::CallbackInfo& info) {
  const std::string name = StringArgument(info, 0, "policy");
  for (const Policy& policy : kPolicies) {
    if (policy.name == name) return policy.set(policy, info, port);
  }
  throw FaultError(info.Env(), "policy-unknown", {{"policy", name}});
}

}  // namespace tsvswitch
