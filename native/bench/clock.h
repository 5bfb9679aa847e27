// Time as the measuring loops read it: the x86 time stamp counter, calibrated once against
// CLOCK_MONOTONIC.
//
// All stamps of a run are taken by one thread in one process, so one-way times need no second clock
// and no half round trips. Assumes an invariant TSC (every x86-64 of the last fifteen years).

#pragma once

#include <stdint.h>
#include <x86intrin.h>

namespace tsvswitch::bench {

class Clock {
 public:
  // Takes about 20 ms.
  static Clock Calibrate();

  // May be reordered with neighbouring loads and stores; good enough for loop bounds.
  static uint64_t Ticks() { return __rdtsc(); }

  // Not read before everything earlier in program order has completed.
  static uint64_t TicksAfterAll() {
    unsigned cpu;
    const uint64_t ticks = __rdtscp(&cpu);
    _mm_lfence();
    return ticks;
  }

  uint64_t FromSeconds(double seconds) const {
    return static_cast<uint64_t>(seconds * ticks_per_second_);
  }
  double ToSeconds(uint64_t ticks) const { return static_cast<double>(ticks) / ticks_per_second_; }
  double TicksPerSecond() const { return ticks_per_second_; }
  double ToNs(uint64_t ticks) const { return ToSeconds(ticks) * 1e9; }

 private:
  explicit Clock(double ticks_per_second) : ticks_per_second_(ticks_per_second) {}

  double ticks_per_second_;
};

}  // namespace tsvswitch::bench
