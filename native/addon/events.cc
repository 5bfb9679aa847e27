// What the data plane reports, to the ports that own it: each event is called back on the handle of
// the port it is about.
//
// Core has dropped what is about a session that is over (Dataplane::PopEvent), and a port that is
// closed has no session. The union of events is PortReport in src/native/addon.ts.

#include <arpa/inet.h>

#include <cstdio>

#include "addon/handle.h"
#include "core/ring/chain.h"

namespace tsvswitch {

namespace {

void SetSpoofed(Napi::Object object, const SpoofedSource& spoofed) {
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
  object.Set("kind", kKinds[static_cast<int>(spoofed.kind)]);
  object.Set("source", text);
}

void SetAddress(Napi::Object object, const char* type, const Event& event) {
  object.Set("type", type);
  object.Set("mac", static_cast<double>(event.mac));
  object.Set("vlan", event.vlan);
}

// An address that moved from a port which has gone since is new where it is.
void SetLearned(Napi::Object object, const Plane& plane, const Event& event) {
  const bool has_moved = event.type == Event::Type::kMacMoved;
  // By its session: the number may be another's by now.
  const bool is_there = has_moved && plane.PortAt(event.from_port) != nullptr &&
                        plane.core->SessionOf(event.from_port) == event.from_session;
  const auto from = is_there ? plane.PortAt(event.from_port) : nullptr;
  SetAddress(object, from != nullptr ? "mac-moved" : "mac-learned", event);
  if (from != nullptr) object.Set("from", from->name);
}

Napi::Object ToObject(Napi::Env env, const Plane& plane, const Event& event) {
  const Napi::Object object = Napi::Object::New(env);
  switch (event.type) {
    case Event::Type::kMacMoved:
    case Event::Type::kMacLearned: SetLearned(object, plane, event); break;
    case Event::Type::kMacAged: SetAddress(object, "mac-aged", event); break;
    case Event::Type::kFdbCrowded: break;  // never comes here: core sees to it itself
    case Event::Type::kSpoofed:
      object.Set("type", "spoofed");
      SetSpoofed(object, event.spoofed);
      break;
    case Event::Type::kQueueBroken:
      object.Set("type", "queue-broken");
      object.Set("queue", event.queue);
      object.Set("code", BreakReasonCode(event.reason));
      break;
    case Event::Type::kMemoryLost: object.Set("type", "memory-lost"); break;
    case Event::Type::kEventfdBlocked: object.Set("type", "eventfd-blocked"); break;
  }
  return object;
}

// A queue that was started again since the worker said so.
bool IsOutdated(Dataplane& core, const Event& event) {
  return event.type == Event::Type::kQueueBroken && !core.QueueBroken(event.port, event.queue);
}

}  // namespace

void DeliverEvents(Napi::Env env, Plane& plane,
                   const std::function<void(const Napi::Error&)>& on_error) {
  Event event;
  // A listener may close the data plane, so it is looked at again each time.
  while (plane.core != nullptr && plane.core->PopEvent(&event)) {
    const std::shared_ptr<PortState> port = plane.PortAt(event.port);
    if (port == nullptr || IsOutdated(*plane.core, event)) continue;
    const Napi::HandleScope scope(env);
    try {
      port->on_event.Call({ToObject(env, plane, event)});
    } catch (const Napi::Error& error) {
      // Empty if the environment is ending: it runs no JavaScript any more.
      if (error.IsEmpty()) return;
      on_error(error);
    }
  }
}

}  // namespace tsvswitch
