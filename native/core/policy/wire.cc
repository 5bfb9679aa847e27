// See wire.h.

#include "core/policy/wire.h"

#include <algorithm>

#include "core/policy/capture.h"
#include "core/port/port.h"

namespace tsvswitch {

namespace {

bool IsTagged(const Slice& frame) {
  uint8_t start[kFrameBytesMin];
  Gather(frame, start, kFrameBytesMin);
  return (start[12] == 0x81 && start[13] == 0x00) || (start[12] == 0x88 && start[13] == 0xa8);
}

}  // namespace

void Wire::Enter(Link& link, const Frame* frames, FrameList* list, const Hop& hop,
                 QueueCounters& counters) {
  const uint64_t now_ns = clock_.NowNs();
  // TakeDue is not called while nothing is held.
  if (held_.count() == 0) drained_ns_ = now_ns;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < list->count; ++i) {
    const Frame& frame = frames[list->frame[i]];
    const Entry entry = {link,  frame, hop, counters, link.has_mtu() && IsTagged(frame.body),
                         now_ns};
    const OffloadPlan plan = PlanOffload(frame.offload, 0);
    if (plan == OffloadPlan::kSegment) {
      EnterSegments(entry);
    } else if (EnterWhole(entry, plan)) {
      list->frame[kept++] = list->frame[i];
    }
  }
  list->count = kept;
}

// True if the frame goes on at once.
bool Wire::EnterWhole(const Entry& entry, OffloadPlan plan) {
  const Frame& frame = entry.frame;
  const Verdict verdict = entry.link.Judge(frame.body.bytes, entry.tagged, entry.now_ns);
  if (verdict.drop != Verdict::kPasses) {
    RecordDropped(entry, Drop(entry, verdict.drop));
    return false;
  }
  if (verdict.due_ns <= entry.now_ns && !verdict.duplicated && !verdict.corrupted &&
      entry.link.last_held_ns <= drained_ns_) {
    return true;
  }
  if (plan == OffloadPlan::kPass) {
    PassFrame(frame.offload, frame.body, &parcel_);
  } else {
    CompleteChecksum(frame.offload, frame.body, &parcel_);
  }
  RecordDropped(entry, Hold(entry, parcel_, verdict));
  return false;
}

void Wire::EnterSegments(const Entry& entry) {
  // The headers were good when the frame was parsed; its guest has changed them since.
  if (segmenter_.Begin(entry.frame.offload, entry.frame.body, 0) != OffloadVerdict::kOk) {
    RecordDropped(entry, Drop(entry, kDropsUnsegmentable));
    return;
  }
  uint32_t counted = 0;
  // At most kSegmentsMax turns.
  while (segmenter_.Next(&parcel_)) {
    const Verdict verdict = entry.link.Judge(parcel_.bytes(), entry.tagged, entry.now_ns);
    counted |= verdict.drop == Verdict::kPasses ? Hold(entry, parcel_, verdict)
                                                : Drop(entry, verdict.drop);
  }
  RecordDropped(entry, counted);
}

uint32_t Wire::Drop(const Entry& entry, Counter reason) {
  entry.counters.Add(reason, 1);
  return CounterBit(reason);
}

// A frame that goes on is recorded where it is delivered.
void Wire::RecordDropped(const Entry& entry, uint32_t counted) {
  constexpr uint32_t kMarks =
      1u << kHeldFrames | 1u << kDuplicatedFrames | 1u << kReorderedFrames | 1u << kCorruptedFrames;
  if ((counted & ~kMarks) == 0) return;
  const bool from_guest = entry.hop.stage == Hop::Stage::kFromGuest;
  const Port& port = from_guest ? *entry.hop.from->port : *entry.hop.to;
  AddTo(port.captures, entry.frame.body, port.number,
        from_guest ? Capture::Direction::kFromGuest : Capture::Direction::kToGuest,
        entry.frame.verdict | counted);
}

uint32_t Wire::Hold(const Entry& entry, const Parcel& parcel, const Verdict& verdict) {
  const uint32_t corrupted_bit = verdict.corrupted ? verdict.corrupted_bit : HeldFrames::kNoBit;
  uint32_t counted = CounterBit(kHeldFrames);
  if (verdict.reordered) counted |= CounterBit(kReorderedFrames);
  if (verdict.corrupted) counted |= CounterBit(kCorruptedFrames);
  const uint32_t marks = entry.frame.verdict | counted;
  for (uint32_t copy = 0; copy < (verdict.duplicated ? 2u : 1u); ++copy) {
    const uint32_t repeated = copy == 1 ? CounterBit(kDuplicatedFrames) : 0;
    if (!held_.Hold(parcel, corrupted_bit, verdict.due_ns, entry.hop, marks | repeated)) {
      counted |= Drop(entry, kDropsHeldOverflow);
      continue;
    }
    entry.counters.Add(kHeldFrames, 1);
    if (copy == 1) entry.counters.Add(kDuplicatedFrames, 1);
  }
  if (verdict.reordered) entry.counters.Add(kReorderedFrames, 1);
  if (verdict.corrupted) entry.counters.Add(kCorruptedFrames, 1);
  entry.link.last_held_ns = std::max(entry.link.last_held_ns, verdict.due_ns);
  drained_ns_ = std::min(drained_ns_, verdict.due_ns - 1);
  return counted;
}

uint32_t Wire::GiveTo(Wire& other, const Queue* transmitq) {
  const uint32_t lost = held_.GiveTo(other.held_, transmitq);
  // They may have been due for a while.
  other.drained_ns_ = std::min(other.drained_ns_, other.held_.next_due_ns() - 1);
  return lost;
}

void Wire::PutBack(const HeldFrame& frame) {
  held_.PutBack(frame);
  drained_ns_ = std::min(drained_ns_, frame.due_ns - 1);
}

uint32_t Wire::TakeDue(HeldFrame* batch, uint32_t max) {
  const uint64_t now_ns = clock_.NowNs();
  uint32_t taken = 0;
  while (taken < max) {
    const Hop* hop = held_.NextDueHop(now_ns);
    if (hop == nullptr) {
      drained_ns_ = now_ns;
      break;
    }
    if (taken != 0 && *hop != batch[0].hop) break;
    held_.TakeDue(now_ns, &batch[taken++]);
  }
  return taken;
}

}  // namespace tsvswitch
