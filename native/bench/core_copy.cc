// Two threads, two counters and memcpy. See core_copy.h.

#include "core_copy.h"

#include <string.h>

#include <atomic>
#include <thread>

#include "cpu.h"
#include "failure.h"
#include "frame.h"

namespace tsvswitch::bench {

namespace {

constexpr size_t kCacheLineBytes = 64;

// Slots are a ring: written counts those that hold a payload, copied those whose copy is done. Each
// has one writer; on lines of their own.
struct Handover {
  alignas(kCacheLineBytes) std::atomic<uint64_t> written = 0;
  alignas(kCacheLineBytes) std::atomic<uint64_t> copied = 0;
  alignas(kCacheLineBytes) std::atomic<bool> stop = false;
};

}  // namespace

CoreCopyResult CopyBetweenCores(const Clock& clock, int other_cpu, MemoryKind kind, size_t bytes,
                                size_t slots, double warmup_s, double measure_s) {
  PortMemory memory(kind, 2 * (bytes * slots + kCacheLineBytes));
  uint8_t* sources = memory.Allocate(bytes * slots, kCacheLineBytes);
  uint8_t* copies = memory.Allocate(bytes * slots, kCacheLineBytes);
  Handover handover;
  std::thread copier([&] {
    PinThread(other_cpu);
    uint64_t copied = 0;
    while (!handover.stop.load(std::memory_order_relaxed)) {
      if (handover.written.load(std::memory_order_acquire) == copied) continue;
      const size_t at = copied % slots * bytes;
      memcpy(copies + at, sources + at, bytes);
      handover.copied.store(++copied, std::memory_order_release);
    }
  });

  uint64_t written = 0;
  uint64_t checked = 0;
  uint64_t checked_before = 0;
  const uint64_t start = Clock::Ticks() + clock.FromSeconds(warmup_s);
  const uint64_t end = start + clock.FromSeconds(measure_s);
  bool is_measuring = false;
  uint64_t now = Clock::Ticks();
  for (; now < end; now = Clock::Ticks()) {
    if (!is_measuring && now >= start) {
      is_measuring = true;
      checked_before = checked;
    }
    if (handover.copied.load(std::memory_order_acquire) > checked) {
      if (!PayloadMatches(copies + checked % slots * bytes, 0, bytes, checked)) {
        Fail("copy %llu is not what was written", static_cast<unsigned long long>(checked));
      }
      ++checked;
    }
    if (written - checked < slots) {
      WritePayload(sources + written % slots * bytes, bytes, written);
      handover.written.store(++written, std::memory_order_release);
    }
  }
  handover.stop.store(true, std::memory_order_relaxed);
  copier.join();
  return {.seconds = clock.ToSeconds(now - start), .copies = checked - checked_before};
}

}  // namespace tsvswitch::bench
