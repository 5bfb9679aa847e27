// See capture.h.

#include "core/policy/capture.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace tsvswitch {

namespace {

static_assert(sizeof(Capture::Record) == 32);

// What the clock showed in 1970. A capture lasts minutes, so that steps of the time of day do not
// count.
uint64_t EpochOf(const Clock& clock) {
  if (clock.manual()) return 0;
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<uint64_t>(now.tv_nsec) -
         clock.NowNs();
}

}  // namespace

Capture::Capture(const Clock& clock, uint32_t snap_bytes, int call_fd)
    : clock_(clock), epoch_ns_(EpochOf(clock)), snap_bytes_(snap_bytes), call_fd_(call_fd) {}

Capture::Adding::Adding(Capture& capture, uint16_t port, Direction direction)
    : capture_(capture),
      guard_(capture.writing_),
      time_ns_(capture.epoch_ns_ + capture.clock_.NowNs()),
      port_(port),
      direction_(direction) {}

Capture::Adding::~Adding() {
  Capture& to = capture_;
  to.ring_.Publish();
  // Either this sees that a call is wanted, or the reader that wants one sees the records.
  if (to.call_wanted_.load(std::memory_order_seq_cst) &&
      to.call_wanted_.exchange(false, std::memory_order_seq_cst)) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(to.call_fd_, &one, sizeof(one));
  }
}

size_t Capture::Read(uint8_t* to, size_t room) {
  const auto padded = [](uint32_t bytes) { return (bytes + 7) / 8 * size_t{8}; };
  size_t used = 0;
  for (uint32_t bytes = ring_.NextBytes(); bytes != 0 && padded(bytes) <= room - used;
       bytes = ring_.NextBytes()) {
    const uint8_t* const record = ring_.Take(&bytes);
    std::memcpy(to + used, record, bytes);
    used += padded(bytes);
  }
  ring_.Release();
  return used;
}

}  // namespace tsvswitch
