// Calibration of the time stamp counter. See clock.h.

#include "clock.h"

#include <time.h>

namespace tsvswitch::bench {

namespace {

constexpr int64_t kCalibrationNs = 20'000'000;

int64_t MonotonicNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

Clock Clock::Calibrate() {
  const int64_t start_ns = MonotonicNs();
  const uint64_t start_ticks = TicksAfterAll();
  int64_t now_ns = start_ns;
  while (now_ns - start_ns < kCalibrationNs) now_ns = MonotonicNs();
  const uint64_t ticks = TicksAfterAll() - start_ticks;
  return Clock(static_cast<double>(ticks) * 1e9 / static_cast<double>(now_ns - start_ns));
}

}  // namespace tsvswitch::bench
