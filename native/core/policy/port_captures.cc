// See port_captures.h.

#include "core/policy/port_captures.h"

#include "core/frame/work.h"
#include "core/policy/stages.h"

namespace tsvswitch {

namespace {

// Returns how much work that was.
uint64_t Record(const Port& port, Direction direction, const Frame* frames, const FrameList& list,
                const Outcomes& outcomes) {
  uint64_t bytes = 0;
  for (Capture* capture : port.policies.get<PortCaptures>()->list) {
    bytes += Capture::Adding(*capture, port.number, direction).Add(frames, list, outcomes);
  }
  return BytesWork(bytes);
}

}  // namespace

bool HasRecordTaken(const Port& port) { return port.policies.get<PortCaptures>() != nullptr; }
bool HasRecordGiven(const Port& port) { return HasRecordTaken(port); }

// Not counted as work: it is bounded as the batch is.
void RunRecordTaken(StageContext&, Queue& from, Batch& batch) {
  Record(*from.port, Direction::kFromGuest, batch.frames, batch.All(), batch.outcomes);
}

void RunRecordGiven(StageContext& context, Delivery& delivery) {
  context.work +=
      Record(delivery.to, Direction::kToGuest, delivery.frames, delivery.all, delivery.outcomes);
}

void RecordMalformed(const Port& from, const Slice& bytes, Fate why) {
  const PortCaptures* const captures = from.policies.get<PortCaptures>();
  if (captures == nullptr) return;
  for (Capture* capture : captures->list) {
    Capture::Adding(*capture, from.number, Direction::kFromGuest).Add(bytes, why, 0);
  }
}

}  // namespace tsvswitch
