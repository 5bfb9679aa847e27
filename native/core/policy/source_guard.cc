// See source_guard.h.

#include "core/policy/source_guard.h"

#include "core/policy/stages.h"

namespace tsvswitch {

namespace {

void Report(const Port& port, Sources& sources, const SpoofedSource& spoofed, EventRing& events) {
  static_assert(kFates <= 32);
  const uint32_t bit = 1u << static_cast<uint32_t>(spoofed.fate());
  if ((sources.reported.fetch_or(bit, std::memory_order_relaxed) & bit) != 0) return;
  events.Push({.type = Event::Type::kSpoofed,
               .session = port.session,
               .port = port.number,
               .spoofed = spoofed});
}

}  // namespace

bool HasSourceRule(const Port& port) { return port.policies.get<Sources>() != nullptr; }

void RunSourceRule(StageContext& context, Queue& from, Batch& batch) {
  Sources& sources = *from.port->policies.get<Sources>();
  batch.Shield();
  for (uint32_t i = 0; i < batch.count; ++i) {
    if (!batch.outcomes.IsUnderWay(i)) continue;
    const auto spoofed = FindSpoofedSource(sources.rule, batch.head(i), batch.frames[i].body.bytes);
    if (!spoofed.has_value()) continue;
    batch.End(i, spoofed->fate());
    Report(*from.port, sources, *spoofed, context.events);
  }
}

}  // namespace tsvswitch
