// Keeps the frames of a port to the sources it is bound to: the stage SourceRule.
//
// The head of a frame, which is all that is judged, is shielded first (batch.h). What may not pass
// ends here, and the first such frame of a session is reported.
//
// Does not: judge (source_rule.h). Thread: the worker whose batch it is.

#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "core/policy/slots.h"
#include "core/policy/source_rule.h"

namespace tsvswitch {

// The sources a port is bound to.
struct Sources : PolicyState {
  static constexpr PolicySlot kSlot = kSourcesSlot;
  explicit Sources(SourceRule r) : rule(std::move(r)) {}

  const SourceRule rule;
  // The fates, a bit each, that this session has had an event for.
  std::atomic<uint32_t> reported{0};
};

}  // namespace tsvswitch
