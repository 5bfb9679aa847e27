// One impaired link: decides what becomes of each frame that enters it.
//
// A link is a queue behind a rate, and then a wire that loses, delays, repeats, reorders and
// spoils:
//
//   frame ──► blackhole? too long? ──► queue and rate ──► lost? ──► delay and jitter ──► due_ns
//
// Chance: the n-th frame of a link draws numbers that depend on the link's seed, on n and on what
// is drawn for, and on nothing else. So the same seed and the same frames meet the same fate
// whatever the time, and switching one impairment on or off leaves the draws of the others as they
// were.
//
// Order: jitter alone never reorders; a frame is due no earlier than the one before it. A frame
// that is chosen to be reordered is late by `reorder_ns` more, and those behind it pass it.
//
// Does not: hold frames (held_frames.h), know ports or read clocks.
// Thread: one at a time; with several workers under the lock of the port it belongs to (wire.h).
// Sources: E. N. Gilbert (1960) and E. O. Elliott (1963) for bursts; S. Vigna, SplitMix64.

#pragma once

#include <cstdint>

#include "core/frame/fate.h"

namespace tsvswitch {

// As control wants a link to be. Probabilities are 0 to 1; all zeros, it passes everything at once.
struct LinkSettings {
  uint64_t seed;
  bool blackhole;            // nothing passes
  uint32_t frame_bytes_max;  // 0: any; a VLAN tag may come on top
  uint64_t bits_per_second;  // 0: no limit
  uint64_t queue_bytes;      // how much may wait for its turn at that rate
  // The wire is good or bad; it changes with these probabilities at each frame, and loses so many
  // then.
  double turns_bad, turns_good, loss_good, loss_bad;
  uint64_t delay_ns, jitter_ns;  // delay_ns - jitter_ns to delay_ns + jitter_ns, evenly
  double duplicate, corrupt, reorder;
  uint64_t reorder_ns;
};

struct Verdict {
  Fate fate = Fate::kUnderWay;  // or the reason why the frame ends here
  uint64_t due_ns = 0;
  bool duplicated = false;
  bool reordered = false;
  bool corrupted = false;
  uint32_t corrupted_bit = 0;  // with `corrupted`: of the frame, from its first byte on
};

class Link {
 public:
  explicit Link(const LinkSettings& settings) : settings_(settings) {}

  // Other impairments from now on. The link goes on where it is: its queue, its draws, its bad
  // times.
  void Set(const LinkSettings& settings) { settings_ = settings; }

  // Whether it matters to Judge if a frame is tagged.
  bool has_mtu() const { return settings_.frame_bytes_max != 0; }
  Verdict Judge(uint32_t frame_bytes, bool tagged, uint64_t now_ns);

  // When the frame held last is due: what follows must not pass before it.
  uint64_t last_held_ns = 0;

 private:
  enum class Draw : uint64_t { kTurn, kLoss, kJitter, kDuplicate, kCorrupt, kSpoiltBit, kReorder };
  static constexpr uint64_t kDrawsPerFrame = 8;

  uint64_t Random(Draw draw) const;
  bool Chance(Draw draw, double probability) const;
  bool Lost();
  bool Queue(uint32_t frame_bytes, uint64_t now_ns, uint64_t* sent_ns);
  uint64_t DelayNs() const;

  LinkSettings settings_;
  uint64_t frames_ = 0;  // judged so far
  bool bad_ = false;
  uint64_t busy_until_ns_ = 0;  // when the last byte of the queue will have been sent
  uint64_t last_due_ns_ = 0;    // of frames in order
};

}  // namespace tsvswitch
