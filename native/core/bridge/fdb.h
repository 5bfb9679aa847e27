// The forwarding database of one bridge: where a MAC address is.
//
// Key: VLAN (12 bits) and MAC (48 bits) in one 64-bit word with bit 63 set, so that 0 means empty.
// Value: flags, the number of a place (fdb_places.h: a port and which remote end of it), and the
// second of the last sighting. The table is in fdb_table.h: two cache lines a lookup at most.
//
// An entry is learned, or set by control with flags:
//   static   neither ages nor moves to where its address is seen
//   sticky   ages, but does not move before
//   drop     frames to it end; neither ages nor moves
//   extern   some other control plane's: does not age, but moves like a learned one
// Static, drop and extern entries are fixed: flushing what was learned leaves them.
//
// Reads take no lock: key, value, place, then key and value again (if they changed meanwhile, the
// entry is a miss, which floods one frame). Writers, rare, take the spinlock. A steady flow writes
// nothing but its entry's second, at most once a second.
//
// Limits: entries learned on one port, so that a MAC flood from one guest cannot push out the
// others; and on all. The table grows with its entries: Learn says that it wants to, and control
// copies a piece at a time while both are read and written as one (fdb_control.cc).
//
// Flushing retires places, which takes no longer for a million entries than for one; Sweep, which
// the first worker calls a few buckets at a time, removes what they leave and what has aged. An
// entry not seen for `ageing` seconds is a miss at once. Clock: coarse seconds of the caller.
//
// Thread: Lookup and Learn any worker; Sweep one worker; the rest control thread, also while they
// run.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/bridge/destination.h"
#include "core/bridge/fdb_places.h"
#include "core/bridge/fdb_table.h"
#include "core/platform/spinlock.h"

namespace tsvswitch {

inline constexpr uint32_t kFdbEntriesMax = 1 << 20;
// What may be learned, unless another limit is set.
inline constexpr uint32_t kFdbEntriesLearnedMax = 1 << 16;
inline constexpr uint32_t kFdbEntriesPerPortMax = 4096;

enum FdbFlags : uint8_t {
  kFdbStatic = 1 << 0,
  kFdbSticky = 1 << 1,
  kFdbDrop = 1 << 2,
  kFdbExtern = 1 << 3,
};
inline constexpr uint8_t kFdbAllFlags = kFdbStatic | kFdbSticky | kFdbDrop | kFdbExtern;

struct FdbRecord {
  uint64_t mac;
  uint16_t vlan;
  uint16_t port;  // kNoPort: on none, for frames that end
  uint16_t via;
  uint8_t flags;
  uint32_t seen_s;
};

enum class LearnResult { kKnown, kLearned, kMoved, kRefused };

class Fdb {
 public:
  static constexpr uint32_t kBucketsMin = 2048;
  static constexpr uint32_t kBucketsMax = kFdbEntriesMax * 2 / FdbTable::kEntriesPerBucket;

  // `seed` spreads the entries over the table in a way that guests cannot know.
  explicit Fdb(uint64_t seed = 0);

  // `mac` is the 48-bit number whose highest byte is first on the wire; vlan 0 is untagged.
  static uint64_t Key(uint64_t mac, uint16_t vlan) {
    return uint64_t{1} << 63 | uint64_t{vlan} << 48 | mac;
  }

  // kPort, kDrop or kUnknown.
  Destination Lookup(uint64_t key, uint32_t now_s) const;
  // Whether its table is more than is always near.
  bool is_large() const { return is_large_.load(std::memory_order_relaxed); }
  // For a key that is looked up or learned soon.
  void Prefetch(uint64_t key) const { Table().Prefetch(key); }
  // Notes that `key` was seen on `port`; *from is the port it moved from.
  LearnResult Learn(uint64_t key, uint16_t port, uint32_t now_s, uint16_t* from);

  // Told of an entry that has aged, while it is removed.
  using Aged = void (*)(void* context, const FdbRecord& entry);
  // Removes what has aged or was flushed in the next `buckets` buckets.
  void Sweep(uint32_t buckets, uint32_t now_s, Aged aged = nullptr, void* context = nullptr);
  // How many buckets make a sweep of the whole.
  uint32_t bucket_count() const { return Table().bucket_count(); }

  void SetAgeing(uint32_t seconds) { ageing_s_.store(seconds, std::memory_order_relaxed); }
  // How many entries may be learned. What is over a new limit stays until it ages.
  void SetLimit(uint32_t entries);
  void SetPortLimit(uint16_t port, uint32_t entries);
  // Puts an entry in place of what there was for its address. False if there is no room: after
  // growing, which Learn asks for in the same way, there is, up to kFdbEntriesMax.
  bool Set(const FdbRecord& entry);
  // False if there is none.
  bool Remove(uint64_t key);
  // Forgets what was learned on a port, or on all with kNoPort.
  void Flush(uint16_t port);
  // And what was fixed there.
  void FlushAll(uint16_t port);
  std::vector<FdbRecord> Read(uint32_t now_s) const;
  // Changes whenever a port loses an entry that has not aged: a queue that remembers that it
  // learned an address learns it again.
  uint32_t revision() const { return revision_.load(std::memory_order_relaxed); }

  // Whether the table has become too small for its entries.
  bool wants_growth() const { return wants_growth_.load(std::memory_order_relaxed); }
  // Whether control has to be told so, since it was last told: once for every call of Grow.
  bool TakeGrowthWish() {
    return growth_wished_.load(std::memory_order_relaxed) &&
           growth_wished_.exchange(false, std::memory_order_relaxed);
  }
  // Copies the next `buckets` buckets into a table of twice the size. True with the last of them:
  // that has taken the place of the old one, which is to be dropped once every worker has ended the
  // round that it is in.
  bool Grow(uint32_t buckets);
  void DropOld();

 private:
  using Place = FdbPlaces::Place;
  using Entry = FdbTable::Entry;

  // flags << 48 | place << 32 | second
  static uint64_t Value(uint8_t flags, uint16_t place, uint32_t second) {
    return uint64_t{flags} << 48 | uint64_t{place} << 32 | second;
  }
  static uint8_t FlagsOf(uint64_t value) { return static_cast<uint8_t>(value >> 48); }
  static uint16_t PlaceOf(uint64_t value) { return static_cast<uint16_t>(value >> 32); }
  static uint32_t SecondOf(uint64_t value) { return static_cast<uint32_t>(value); }
  static bool IsFixed(uint8_t flags) { return (flags & (kFdbStatic | kFdbDrop | kFdbExtern)) != 0; }
  // Acquire: the table is complete when it is seen.
  const FdbTable& Table() const { return *table_.load(std::memory_order_acquire); }
  bool HasAged(uint64_t value, uint32_t now_s) const;
  // Whether a sighting on `port` changes nothing of a live entry.
  bool Stays(uint64_t value, Place place, uint16_t port, uint32_t now_s) const;
  static FdbRecord RecordOf(uint64_t key, uint64_t value, Place place);

  bool IsCrowded() const;
  bool RemoveAged(uint64_t key, uint32_t now_s, FdbRecord* aged);
  uint32_t Retire(uint16_t port, FdbPlaces::Kind kind);

  // All under write_.
  LearnResult LearnAnew(uint64_t key, uint16_t port, uint32_t now_s);
  bool Insert(uint64_t key, uint64_t value);
  bool Mirror(uint64_t key, uint64_t value);
  void Change(Entry& entry, uint64_t value);
  void Erase(Entry& entry);
  void AskForGrowth();
  void CopyBuckets(uint32_t end);
  // For FdbTable::Room. What is moved may come to where it is copied no more.
  auto MirrorMoved() {
    return [this](uint64_t key, uint64_t value) { Mirror(key, value); };
  }
  auto IsDead() const {
    return [this](uint64_t value) { return !places_.At(PlaceOf(value)).live(); };
  }

  const uint64_t seed_;
  std::unique_ptr<FdbTable> owned_;  // what table_ points to; under write_
  std::atomic<FdbTable*> table_;
  // Where control copies it to; under write_. The buckets below `copied_` are there, and all that
  // was changed since.
  std::unique_ptr<FdbTable> next_;
  uint32_t copied_ = 0;
  // What was copied, and workers may still read; under write_. As long as it or next_ is there
  // no number of a place comes back: nobody sweeps them.
  std::unique_ptr<FdbTable> old_;
  std::atomic<bool> wants_growth_{false};
  std::atomic<bool> growth_wished_{false};

  FdbPlaces places_;
  std::atomic<uint32_t> ageing_s_{300};
  std::atomic<uint32_t> revision_{0};  // written under write_
  std::atomic<bool> is_large_{false};
  uint32_t limit_ = kFdbEntriesLearnedMax;
  std::array<uint32_t, kPortsMax> port_limits_;
  Spinlock write_;

  // By place as a word, those that control has made; its own.
  std::unordered_map<uint64_t, uint16_t> made_places_;
  // Of the one that sweeps.
  uint32_t swept_buckets_ = 0;  // of the table that the sweep is in; no two have as many
  uint32_t sweep_at_ = 0;
};

}  // namespace tsvswitch
