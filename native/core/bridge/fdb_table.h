// The hash table under a forwarding database: keys and values of 64 bits, for readers without a
// lock.
//
// A bucket is one cache line of four entries. A key lies in one of two buckets, the first if it had
// room, so a lookup touches at most two lines, whatever the table's size. Where both are full,
// others are moved to their other bucket. Half full, as fdb.h keeps it, it has room for all.
//
// Reads race with writes: value before key in, key before value checked (fdb.cc). An entry that is
// being moved may be missed by a reader for a moment, never mistaken. `seed` keeps guests from
// choosing keys of one bucket.
//
// Does not: know what keys and values mean. Thread: Find and Prefetch any; the rest under the
// database's lock.
// Sources: Pagh and Rodler, "Cuckoo Hashing"; Dietzfelbinger and Weidling for buckets.

#pragma once

#include <atomic>
#include <bit>
#include <cassert>
#include <cstdint>

#include "core/platform/prefetch.h"
#include "core/platform/zero_pages.h"

namespace tsvswitch {

class FdbTable {
 public:
  static constexpr uint32_t kEntriesPerBucket = 4;
  struct Entry {
    std::atomic<uint64_t> key;  // 0: empty
    std::atomic<uint64_t> value;
  };
  struct alignas(64) Bucket {
    Entry entry[kEntriesPerBucket];
  };

  // `buckets` is a power of two.
  FdbTable(uint32_t buckets, uint64_t seed, bool present)
      : buckets_(MapZeroPages<Bucket>(buckets, present)), mask_(buckets - 1), seed_(seed) {
    assert(buckets >= 2 && (buckets & mask_) == 0);
  }

  uint32_t bucket_count() const { return mask_ + 1; }
  uint64_t slots() const { return uint64_t{bucket_count()} * kEntriesPerBucket; }
  // Entries that are not empty.
  uint32_t used() const { return used_; }
  Bucket& bucket(uint32_t at) const { return buckets_[at]; }

  // The buckets of a key.
  struct Homes {
    uint32_t first;
    uint32_t second;
  };
  Homes HomesOf(uint64_t key) const {
    uint64_t hash = (key ^ seed_) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93u;
    const uint32_t first = static_cast<uint32_t>(hash >> 40) & mask_;
    const uint32_t second = static_cast<uint32_t>(hash >> 16) & mask_;
    return {first, second != first ? second : first ^ 1};
  }

  Entry* Find(uint64_t key) const {
    const Homes homes = HomesOf(key);
    if (Entry* entry = FindIn(homes.first, key); entry != nullptr) [[likely]]
      return entry;
    return FindIn(homes.second, key);
  }
  void Prefetch(uint64_t key) const { PrefetchToRead(&buckets_[HomesOf(key).first]); }

  // An entry for a key that is not in the table: an empty one, or one whose value `is_free` says
  // nobody needs. nullptr if there is none. `moved` is told of every other one that makes room.
  template <typename IsFree, typename Moved>
  Entry* Room(uint64_t key, const IsFree& is_free, const Moved& moved) {
    const Homes homes = HomesOf(key);
    for (const uint32_t home : {homes.first, homes.second}) {
      if (Entry* entry = FreeIn(home, is_free); entry != nullptr) return entry;
    }
    for (const uint32_t home : {homes.first, homes.second}) {
      if (Entry* entry = MakeRoom(home, is_free, moved, kMovesMax); entry != nullptr) return entry;
    }
    return nullptr;
  }
  void Put(Entry& entry, uint64_t key, uint64_t value) {
    if (entry.key.load(std::memory_order_relaxed) == 0) ++used_;
    // Release: a reader that sees this value under the key that was here before sees that key gone.
    entry.value.store(value, std::memory_order_release);
    // Release: a reader that finds the key finds this value or a newer one.
    entry.key.store(key, std::memory_order_release);
  }
  void Clear(Entry& entry) {
    if (entry.key.load(std::memory_order_relaxed) != 0) --used_;
    entry.key.store(0, std::memory_order_relaxed);
  }

 private:
  // How many entries are moved at most to make room for one.
  static constexpr uint32_t kMovesMax = 2;

  Entry* FindIn(uint32_t at, uint64_t key) const {
    // All four are looked at: where in its bucket a key lies, no branch predictor knows.
    uint32_t found = 0;
    Bucket& bucket = buckets_[at];
    for (uint32_t i = 0; i < kEntriesPerBucket; ++i) {
      // Acquire: the value written before the key is seen with it.
      const bool is_it = bucket.entry[i].key.load(std::memory_order_acquire) == key;
      found |= static_cast<uint32_t>(is_it) << i;
    }
    return found != 0 ? &bucket.entry[std::countr_zero(found)] : nullptr;
  }
  template <typename IsFree>
  Entry* FreeIn(uint32_t at, const IsFree& is_free) const {
    for (Entry& entry : buckets_[at].entry) {
      if (entry.key.load(std::memory_order_relaxed) == 0) return &entry;
      if (is_free(entry.value.load(std::memory_order_relaxed))) return &entry;
    }
    return nullptr;
  }
  // Moves an entry of a full bucket to its other one, which may need room itself.
  template <typename IsFree, typename Moved>
  Entry* MakeRoom(uint32_t at, const IsFree& is_free, const Moved& moved, uint32_t moves) {
    for (Entry& entry : buckets_[at].entry) {
      const uint64_t key = entry.key.load(std::memory_order_relaxed);
      const Homes homes = HomesOf(key);
      const uint32_t other = homes.first == at ? homes.second : homes.first;
      Entry* room = FreeIn(other, is_free);
      if (room == nullptr && moves > 1) room = MakeRoom(other, is_free, moved, moves - 1);
      if (room == nullptr) continue;
      const uint64_t value = entry.value.load(std::memory_order_relaxed);
      Put(*room, key, value);
      Clear(entry);
      moved(key, value);
      return &entry;
    }
    return nullptr;
  }

  const ZeroPages<Bucket> buckets_;
  const uint32_t mask_;
  const uint64_t seed_;
  uint32_t used_ = 0;
};

}  // namespace tsvswitch
