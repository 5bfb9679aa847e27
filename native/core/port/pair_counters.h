// What a worker delivers from one port to another, by pair of ports, in memory that control reads
// without asking it.
//
// A hash table with open addressing: a worker looks a pair up once for each batch and destination,
// and adds what the delivery has counted at the receiver. A pair gets its place by the first frame
// that was meant for the other port, and not by one that was flooded to it: so a table has the
// pairs that talk, at most as many as there are ports for each port. What finds no place, because
// it was flooded to a port that nothing was meant for, or because kPairsMax pairs have theirs,
// counts for its source alone.
//
// Invariants, of a table in use:
// 1. used_ <= kPairsMax < kSlots: every search ends at an empty slot.
// 2. A slot's key is written once its numbers are 0, and is never changed but under a pause.
//
// Threads: its worker counts. Control reads at any time, and forgets and takes over under a pause.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/bridge/destination.h"

namespace tsvswitch {

class PairCounters {
 public:
  // Six of 1024 ports may talk to all others; of smaller switches, many more.
  static constexpr uint32_t kPairsMax = 6144;

  // One pair, or with kNoPort for `to` what found no place.
  struct Pair {
    uint16_t from;
    uint16_t to;
    uint64_t frames;
    uint64_t bytes;
  };

  // False if the pair has no place, and nothing was counted.
  bool Add(uint16_t from, uint16_t to, uint64_t frames, uint64_t bytes) {
    const uint32_t key = Key(from, to);
    Slot& slot = slots_[Find(key)];
    if (slot.key.load(std::memory_order_relaxed) != key) [[unlikely]]
      return false;
    slot.count.Add(frames, bytes);
    return true;
  }
  // Of a pair without a place, which is given one if `meant` and there is any left.
  void AddFirst(uint16_t from, uint16_t to, uint64_t frames, uint64_t bytes, bool meant);

  // All there are. Control.
  void AppendTo(std::vector<Pair>& pairs) const;
  // Those of a port, whose number may soon be another's. Under a pause.
  void Forget(uint16_t port);
  // Adds what a worker has counted that is no more. Under a pause.
  void TakeOver(const PairCounters& other);

 private:
  static constexpr uint32_t kSlots = 8192;
  static constexpr uint32_t kSlotBits = 13;
  static_assert(kSlots == 1u << kSlotBits && kPairsMax < kSlots);

  // Single writer. Relaxed is enough: nothing is published through a counter.
  struct Count {
    void Add(uint64_t more_frames, uint64_t more_bytes) {
      frames.store(frames.load(std::memory_order_relaxed) + more_frames, std::memory_order_relaxed);
      bytes.store(bytes.load(std::memory_order_relaxed) + more_bytes, std::memory_order_relaxed);
    }
    std::atomic<uint64_t> frames{0};
    std::atomic<uint64_t> bytes{0};
  };
  struct Slot {
    std::atomic<uint32_t> key{0};  // 0: empty
    Count count;
  };

  // Never 0: no port talks to itself.
  static uint32_t Key(uint16_t from, uint16_t to) { return (uint32_t{from} << 16 | to) + 1; }
  static_assert(kPortsMax < kNoPort);
  // Where the key is, or the empty slot where it would be.
  uint32_t Find(uint32_t key) const {
    uint32_t at = key * 0x9E3779B1u >> (32 - kSlotBits);
    for (;; at = (at + 1) % kSlots) {
      const uint32_t there = slots_[at].key.load(std::memory_order_relaxed);
      if (there == key || there == 0) return at;
    }
  }
  void Clear();
  void Put(const Pair& pair);

  std::unique_ptr<Slot[]> slots_{new Slot[kSlots]};
  std::unique_ptr<Count[]> others_{new Count[kPortsMax]};  // by source
  uint32_t used_ = 0;
};

}  // namespace tsvswitch
