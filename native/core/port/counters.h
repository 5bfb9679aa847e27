// Counters of a port, in memory that the control plane reads without a call.
//
// What moves all the time is counted by queue, with a single writer each: a receiveq counts what
// went to the guest, a transmitq what came from it. The writer is the worker that polls the
// transmitq, or the holder of the receiveq (see port.h).
//
// Why frames ended (fate.h), and what links did to them, is counted by port: every frame that ends
// at a port is counted there once. Several workers may do so, hence one atomic addition for each
// reason that a batch has, which is rare or costs whoever sends such frames. Only frames without a
// buffer, which honest traffic has plenty of, are counted by the receiveq instead.
//
// Readers see each counter whole, not all of them at one instant.

#pragma once

#include <atomic>
#include <cstdint>

#include "core/frame/fate.h"

namespace tsvswitch {

// Name in the API, and what it counts. One list: the enum and the names are made from it.
#define TSVSWITCH_COUNTERS(X)                                                       \
  X(kFrames, "frames")               /* delivered to, or well-formed from, guest */ \
  X(kBytes, "bytes")                 /* of those frames, without virtio header */   \
  X(kFloodedFrames, "floodedFrames") /* transmitq: sent to every other port */      \
  X(kNotifications, "notifications") /* writes to the call eventfd */               \
  X(kNoBuffer, "noBuffer")           /* receiveq: frames whose fate is that, Fate::kNoBuffer */

enum Counter : uint32_t {
#define X(name, text) name,
  TSVSWITCH_COUNTERS(X)
#undef X
      kCountersUsed,
};

inline constexpr uint32_t kCountersPerQueue = 8;
static_assert(kCountersUsed <= kCountersPerQueue);

// One cache line.
struct alignas(64) QueueCounters {
  uint64_t value[kCountersPerQueue];

  // Relaxed is enough: nothing is published through a counter.
  void Add(Counter counter, uint64_t amount) {
    std::atomic_ref<uint64_t> cell(value[counter]);
    cell.store(cell.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  uint64_t Read(Counter counter) {
    return std::atomic_ref<uint64_t>(value[counter]).load(std::memory_order_relaxed);
  }
};

struct alignas(64) FateCounters {
  static constexpr uint32_t kCells = 64;
  // Marks behind the fates.
  static constexpr uint32_t kMarksAt = kCells - 8;
  static_assert(kFates <= kMarksAt && kMarks <= kCells - kMarksAt);

  uint64_t value[kCells] = {};

  void Add(Fate fate, uint64_t frames) { AddTo(static_cast<uint32_t>(fate), frames); }
  void Add(Mark mark, uint64_t frames) { AddTo(kMarksAt + static_cast<uint32_t>(mark), frames); }
  uint64_t Read(Fate fate) { return ReadAt(static_cast<uint32_t>(fate)); }
  uint64_t Read(Mark mark) { return ReadAt(kMarksAt + static_cast<uint32_t>(mark)); }

 private:
  void AddTo(uint32_t cell, uint64_t frames) {
    std::atomic_ref(value[cell]).fetch_add(frames, std::memory_order_relaxed);
  }
  uint64_t ReadAt(uint32_t cell) {
    return std::atomic_ref(value[cell]).load(std::memory_order_relaxed);
  }
};

}  // namespace tsvswitch
