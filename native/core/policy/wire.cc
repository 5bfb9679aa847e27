// See wire.h.

#include "core/policy/wire.h"

#include <algorithm>

#include "core/frame/packet_headers.h"

namespace tsvswitch {

namespace {

bool IsTagged(const Slice& frame) {
  uint8_t start[kFrameBytesMin];
  Gather(frame, start, kFrameBytesMin);
  return IsVlanTag(LoadNetwork16(start + 12));
}

}  // namespace

void Wire::Enter(Link& link, const Frame* frames, FrameList* list, const Hop& hop,
                 FateCounters& counters, Outcomes& outcomes) {
  const uint64_t now_ns = clock_.NowNs();
  // TakeDue is not called while nothing is held.
  if (held_.count() == 0) drained_ns_ = now_ns;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < list->count; ++i) {
    const uint32_t number = list->frame[i];
    const Frame& frame = frames[number];
    const Entry entry = {.link = link,
                         .frame = frame,
                         .number = number,
                         .hop = hop,
                         .counters = counters,
                         .outcomes = outcomes,
                         .marks = outcomes.marks[number],
                         .tagged = link.has_mtu() && IsTagged(frame.body),
                         .now_ns = now_ns};
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
  if (verdict.fate != Fate::kUnderWay) {
    End(entry, verdict.fate);
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
  Hold(entry, parcel_, verdict);
  return false;
}

void Wire::EnterSegments(const Entry& entry) {
  // The headers were good when the frame was parsed; its guest has changed them since.
  if (segmenter_.Begin(entry.frame.offload, entry.frame.body, 0) != OffloadVerdict::kOk) {
    End(entry, Fate::kUnsegmentable);
    return;
  }
  // At most kSegmentsMax turns.
  while (segmenter_.Next(&parcel_)) {
    const Verdict verdict = entry.link.Judge(parcel_.bytes(), entry.tagged, entry.now_ns);
    if (verdict.fate == Fate::kUnderWay) {
      Hold(entry, parcel_, verdict);
    } else {
      End(entry, verdict.fate);
    }
  }
}

void Wire::End(const Entry& entry, Fate why) {
  if (IsDrop(entry.outcomes.fate[entry.number])) {
    entry.counters.Add(why, 1);
  } else {
    entry.outcomes.End(entry.number, why);
  }
}

void Wire::Hold(const Entry& entry, const Parcel& parcel, const Verdict& verdict) {
  const uint32_t corrupted_bit = verdict.corrupted ? verdict.corrupted_bit : HeldFrames::kNoBit;
  Marks marks = MarkBit(Mark::kHeld);
  if (verdict.reordered) marks |= MarkBit(Mark::kReordered);
  if (verdict.corrupted) marks |= MarkBit(Mark::kCorrupted);
  Outcomes& outcomes = entry.outcomes;
  if (outcomes.IsUnderWay(entry.number)) outcomes.End(entry.number, Fate::kHeld);
  for (uint32_t copy = 0; copy < (verdict.duplicated ? 2u : 1u); ++copy) {
    const Marks repeated = copy == 1 ? MarkBit(Mark::kDuplicated) : Marks{0};
    const auto all = static_cast<Marks>(entry.marks | marks | repeated);
    if (!held_.Hold(parcel, corrupted_bit, verdict.due_ns, entry.hop, all)) {
      End(entry, Fate::kHeldOverflow);
      continue;
    }
    entry.counters.Add(Mark::kHeld, 1);
    if (copy == 1) entry.counters.Add(Mark::kDuplicated, 1);
  }
  if (verdict.reordered) entry.counters.Add(Mark::kReordered, 1);
  if (verdict.corrupted) entry.counters.Add(Mark::kCorrupted, 1);
  outcomes.Mark(entry.number, marks);
  entry.link.last_held_ns = std::max(entry.link.last_held_ns, verdict.due_ns);
  drained_ns_ = std::min(drained_ns_, verdict.due_ns - 1);
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
