// Which captures record a port, and how: the stages RecordTaken and RecordGiven.
//
// A frame from a guest is recorded when it is decided where it goes, one to a guest when it has
// been delivered, so that the record says what became of it. One that a link holds is recorded when
// it goes on.
//
// Does not: keep records (capture.h). Thread: the worker whose batch it is; control between rounds
// changes the list.

#pragma once

#include <vector>

#include "core/frame/slice.h"
#include "core/policy/capture.h"
#include "core/policy/slots.h"
#include "core/port/port.h"

namespace tsvswitch {

struct PortCaptures : PolicyState {
  static constexpr PolicySlot kSlot = kCapturesSlot;

  std::vector<Capture*> list;  // not empty
};

// Records what a guest sent that is no frame. A port without captures does nothing.
void RecordMalformed(const Port& from, const Slice& bytes, Fate why);

}  // namespace tsvswitch
