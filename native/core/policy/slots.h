// Who keeps what at a port: the numbers of port/slots.h. A type of state names its own as kSlot.

#pragma once

#include "core/port/slots.h"

namespace tsvswitch {

enum PolicySlot : uint32_t {
  kSourcesSlot,     // source_guard.h
  kImpairmentSlot,  // impairment.h
  kCapturesSlot,    // port_captures.h
  kSlotsUsed,
};
static_assert(kSlotsUsed <= PolicySlots::kSlots);

}  // namespace tsvswitch
