// Passes frames of a batch over impaired links: some go on at once, some are held back, some end
// here.
//
// A wire carries no offloads: a packet that its sender left to be segmented is cut first, so that
// loss and rates meet the packets that travel, and a held packet gets its checksum. A frame that
// may go on at once is not copied; it stays in the list, unless one before it is held: order is
// kept.
//
//   FrameList ──► Link::Judge ──► stays in the list
//                        │
//                        ├──────► HeldFrames, until it is due
//                        └──────► counted drop
//
// Thread: the worker that owns it. The link is the caller's, under its lock.

#pragma once

#include <cstdint>

#include "core/frame/batch.h"
#include "core/frame/segmenter.h"
#include "core/platform/clock.h"
#include "core/policy/held_frames.h"
#include "core/policy/link.h"
#include "core/port/counters.h"

namespace tsvswitch {

class Wire {
 public:
  // `fragment_id`: as Segmenter's.
  Wire(const Clock& clock, uint32_t fragment_id) : clock_(clock), segmenter_(fragment_id) {}

  // In *list stay the frames that go on at once; the others go on by `hop` when they are due, or
  // end in `outcomes`. A frame that is cut ends once, by the first of its packets that ends: the
  // others are in `counters` as well as what the link does to frames that it lets go.
  void Enter(Link& link, const Frame* frames, FrameList* list, const Hop& hop,
             FateCounters& counters, Outcomes& outcomes);

  // Takes up to `max` frames that are due and go the same way; returns how many.
  uint32_t TakeDue(HeldFrame* batch, uint32_t max = kBatchFramesMax);
  // A frame of the last TakeDue that is still to go on: it stays in front of those behind it.
  void PutBack(const HeldFrame& frame);
  // Hands over what came from a transmitq that another worker polls from now on, so that what comes
  // behind it there does not pass it; returns how many frames `other` had no room for.
  uint32_t GiveTo(Wire& other, const Queue* transmitq);
  HeldFrames& held() { return held_; }
  const HeldFrames& held() const { return held_; }

 private:
  struct Entry {
    Link& link;
    const Frame& frame;
    uint32_t number;  // of the frame
    const Hop& hop;
    FateCounters& counters;
    Outcomes& outcomes;
    Marks marks;  // what other links have done to it
    bool tagged;
    uint64_t now_ns;
  };
  bool EnterWhole(const Entry& entry, OffloadPlan plan);
  void EnterSegments(const Entry& entry);
  void Hold(const Entry& entry, const Parcel& parcel, const Verdict& verdict);
  // The frame, or a packet of it.
  static void End(const Entry& entry, Fate why);

  const Clock& clock_;
  HeldFrames held_;
  Segmenter segmenter_;
  Parcel parcel_;
  // Everything that is due until then has been handed out.
  uint64_t drained_ns_ = 0;
};

}  // namespace tsvswitch
