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
// Thread: the worker that owns it. The link and the counters are the caller's, under its lock.

#pragma once

#include <cstdint>

#include "core/frame/frame.h"
#include "core/frame/segmenter.h"
#include "core/platform/clock.h"
#include "core/policy/held_frames.h"
#include "core/policy/link.h"

namespace tsvswitch {

class Wire {
 public:
  // `fragment_id`: as Segmenter's.
  Wire(const Clock& clock, uint32_t fragment_id) : clock_(clock), segmenter_(fragment_id) {}

  // In *list stay the frames that go on at once; the others go on by `hop` when they are due.
  void Enter(Link& link, const Frame* frames, FrameList* list, const Hop& hop,
             QueueCounters& counters);

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
    const Hop& hop;
    QueueCounters& counters;
    bool tagged;
    uint64_t now_ns;
  };
  bool EnterWhole(const Entry& entry, OffloadPlan plan);
  void EnterSegments(const Entry& entry);
  // Both return the counters that the frame is in.
  uint32_t Hold(const Entry& entry, const Parcel& parcel, const Verdict& verdict);
  static uint32_t Drop(const Entry& entry, Counter reason);
  // For captures of its port: a frame that ended here, or a segment of it.
  static void RecordDropped(const Entry& entry, uint32_t counted);

  const Clock& clock_;
  HeldFrames held_;
  Segmenter segmenter_;
  Parcel parcel_;
  // Everything that is due until then has been handed out.
  uint64_t drained_ns_ = 0;
};

}  // namespace tsvswitch
