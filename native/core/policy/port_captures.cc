// See port_captures.h.

#include "core/policy/port_captures.h"

#include "core/frame/work.h"
#include "core/policy/stages.h"

namespace tsvswitch {

namespace {

// Returns how much work that was.
uint64_t Record(const Port& port, Capture::Direction direction, const Frame* frames,
                const FrameList& list, const Outcomes& outcomes) {
  uint64_t work = 0;
  for (Capture* capture : port.policies.get<PortCaptures>()->list) {
    Capture::Adding adding(*capture, port.number, direction);
    for (uint32_t i = 0; i < list.count; ++i) {
      const uint32_t number = list.frame[i];
      const Fate fate = outcomes.fate[number];
      if (fate == Fate::kHeld) continue;
      adding.Add(frames[number].body, fate, outcomes.marks[number]);
      work += BytesWork(frames[number].body.bytes);
    }
  }
  return work;
}

}  // namespace

bool HasRecordTaken(const Port& port) { return port.policies.get<PortCaptures>() != nullptr; }
bool HasRecordGiven(const Port& port) { return HasRecordTaken(port); }

// Not counted as work: it is bounded as the batch is.
void RunRecordTaken(StageContext&, Queue& from, Batch& batch) {
  Record(*from.port, Capture::Direction::kFromGuest, batch.frames, batch.All(), batch.outcomes);
}

void RunRecordGiven(StageContext& context, Delivery& delivery) {
  context.work += Record(delivery.to, Capture::Direction::kToGuest, delivery.frames, delivery.all,
                         delivery.outcomes);
}

void RecordMalformed(const Port& from, const Slice& bytes, Fate why) {
  const PortCaptures* const captures = from.policies.get<PortCaptures>();
  if (captures == nullptr) return;
  for (Capture* capture : captures->list) {
    Capture::Adding(*capture, from.number, Capture::Direction::kFromGuest).Add(bytes, why, 0);
  }
}

}  // namespace tsvswitch
