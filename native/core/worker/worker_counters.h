// What a worker counts of itself, in memory that control reads without asking it.
//
// Single writer: the worker. It counts once in a round that moved something, and otherwise only
// while it has nothing to do. Readers see each counter whole, not all of them at one instant.

#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>

namespace tsvswitch {

// Name in the addon, and what it counts. One list: the enum and the names are made from it.
#define TSVSWITCH_WORKER_COUNTERS(X)                                                  \
  X(kIdleNs, "idleNs")           /* in which it slept, or polled and found nothing */ \
  X(kWakeups, "wakeups")         /* times it woke up after it slept */                \
  X(kFramesMoved, "framesMoved") /* in all rounds */                                  \
  /* Rounds that moved anything, by how many frames. */                               \
  X(kRoundsOf1, "roundsUpTo1")                                                        \
  X(kRoundsUpTo3, "roundsUpTo3")                                                      \
  X(kRoundsUpTo7, "roundsUpTo7")                                                      \
  X(kRoundsUpTo15, "roundsUpTo15")                                                    \
  X(kRoundsUpTo31, "roundsUpTo31")                                                    \
  X(kRoundsUpTo63, "roundsUpTo63")                                                    \
  X(kRoundsUpTo127, "roundsUpTo127")                                                  \
  X(kRoundsUpTo255, "roundsUpTo255")                                                  \
  X(kRoundsOfMore, "roundsOfMore")

enum WorkerCounter : uint32_t {
#define X(name, text) name,
  TSVSWITCH_WORKER_COUNTERS(X)
#undef X
      kCountersPerWorker,
};

class alignas(64) WorkerCounters {
 public:
  void CountRound(uint32_t moved) {
    constexpr uint32_t kClasses = kRoundsOfMore - kRoundsOf1 + 1;
    const auto size_class = std::min(static_cast<uint32_t>(std::bit_width(moved)), kClasses);
    Add(static_cast<WorkerCounter>(kRoundsOf1 + size_class - 1), 1);
    Add(kFramesMoved, moved);
  }

  void CountIdle(uint64_t ns) { Add(kIdleNs, ns); }

  // Between these two all time is idle.
  void FallAsleep(uint64_t now_ns) {
    Store(kIdleNs, kAsleep | ((now_ns - Load(kIdleNs)) & ~kAsleep));
  }
  void WakeUp(uint64_t now_ns) {
    Store(kIdleNs, IdleAt(now_ns));
    Add(kWakeups, 1);
  }

  // Any thread. Of kIdleNs, what it is at `now_ns`.
  uint64_t Read(WorkerCounter counter, uint64_t now_ns) const {
    return counter == kIdleNs ? IdleAt(now_ns) : Load(counter);
  }

 private:
  // In kIdleNs: what follows is not how long it was idle, but when it would have begun to be, had
  // it been so ever since. One word, so that no reader counts a sleep twice.
  static constexpr uint64_t kAsleep = uint64_t{1} << 63;

  uint64_t IdleAt(uint64_t now_ns) const {
    const uint64_t idle = Load(kIdleNs);
    return (idle & kAsleep) == 0 ? idle : now_ns - (idle & ~kAsleep);
  }
  // Relaxed is enough: nothing is published through a counter.
  uint64_t Load(WorkerCounter counter) const {
    return value_[counter].load(std::memory_order_relaxed);
  }
  void Store(WorkerCounter counter, uint64_t value) {
    value_[counter].store(value, std::memory_order_relaxed);
  }
  void Add(WorkerCounter counter, uint64_t amount) { Store(counter, Load(counter) + amount); }

  std::atomic<uint64_t> value_[kCountersPerWorker]{};
};

}  // namespace tsvswitch
