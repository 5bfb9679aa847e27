// The time that rounds see: the machine's, or one that only control moves.
//
// With a manual clock nothing depends on when something ran: ageing, and the frames held back on
// links, are a function of the frames and of the calls of Advance. Such a clock begins at a second,
// since second 0 stands for "never" (KnownAddresses::at).
//
// Thread: any; a manual clock belongs to the one thread that then runs the rounds.

#pragma once

#include <time.h>

#include <cstdint>

namespace tsvswitch {

inline constexpr uint64_t kNsPerMs = 1'000'000;
inline constexpr uint64_t kNsPerSecond = 1'000'000'000;

class Clock {
 public:
  explicit Clock(bool manual) : manual_(manual) {}

  bool manual() const { return manual_; }
  uint64_t NowNs() const { return manual_ ? now_ns_ : Read(CLOCK_MONOTONIC); }
  // Cheaper, and some milliseconds old.
  uint64_t CoarseNs() const { return manual_ ? now_ns_ : Read(CLOCK_MONOTONIC_COARSE); }
  uint32_t NowSeconds() const { return static_cast<uint32_t>(CoarseNs() / kNsPerSecond); }

  void AdvanceTo(uint64_t ns) { now_ns_ = ns; }

 private:
  static uint64_t Read(clockid_t clock) {
    timespec now;
    clock_gettime(clock, &now);
    return static_cast<uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<uint64_t>(now.tv_nsec);
  }

  const bool manual_;
  uint64_t now_ns_ = kNsPerSecond;
};

}  // namespace tsvswitch
