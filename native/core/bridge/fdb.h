// The forwarding database of one bridge: which port a MAC address was last seen on.
//
// Open addressing over buckets of one cache line. The key is VLAN (12 bits) and MAC (48 bits) in
// one 64-bit word with bit 63 set, so that 0 means empty; the value word holds the port and the
// second of the last sighting. A lookup reads its home bucket and goes on to the next only while a
// bucket says that something overflowed from it, at most kProbeBuckets in all.
//
// Reads take no lock: key, value, then the key again (if it changed meanwhile, the entry is a miss,
// which floods one frame). Writers, rare, take the spinlock. A steady flow writes nothing but its
// entry's second, at most once a second. Entries of one port are limited, so that a MAC flood from
// one guest cannot push out the others; a window full of live entries refuses the newcomer.
//
// Ageing: an entry not seen for `ageing` seconds is a miss at once and is removed by Sweep(), which
// the first worker calls a few buckets at a time. Clock: coarse seconds given by the caller.
//
// Thread: Lookup and Learn any worker; Sweep one worker; the rest control thread, also while they
// run.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/bridge/destination.h"
#include "core/platform/spinlock.h"

namespace tsvswitch {

inline constexpr uint32_t kFdbEntriesPerPortMax = 4096;

struct FdbRecord {
  uint64_t mac;
  uint16_t vlan;
  uint16_t port;
  uint32_t seen_s;
};

enum class LearnResult { kKnown, kLearned, kMoved, kRefused };

class Fdb {
 public:
  static constexpr uint32_t kBuckets = 8192;
  static constexpr uint32_t kEntriesPerBucket = 4;
  static constexpr uint32_t kProbeBuckets = 4;

  Fdb();

  // `mac` is the 48-bit number whose highest byte is first on the wire; vlan 0 is untagged.
  static uint64_t Key(uint64_t mac, uint16_t vlan) {
    return uint64_t{1} << 63 | uint64_t{vlan} << 48 | mac;
  }

  // kPort, or kUnknown.
  Destination Lookup(uint64_t key, uint32_t now_s) const;
  // Notes that `key` was seen on `port`; *from is the port it moved from.
  LearnResult Learn(uint64_t key, uint16_t port, uint32_t now_s, uint16_t* from);
  // Removes what has aged in the next `buckets` buckets.
  void Sweep(uint32_t buckets, uint32_t now_s);

  void SetAgeing(uint32_t seconds) { ageing_s_.store(seconds, std::memory_order_relaxed); }
  // Removes the entries of one port, or all with kNoPort.
  void Flush(uint16_t port);
  std::vector<FdbRecord> Read(uint32_t now_s) const;
  // Changes whenever a port loses an entry that has not aged: a queue that remembers that it
  // learned an address learns it again.
  uint32_t revision() const { return revision_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    std::atomic<uint64_t> key{0};
    std::atomic<uint64_t> value{0};  // port << 32 | second
  };
  struct alignas(64) Bucket {
    Entry entry[kEntriesPerBucket];
  };

  static uint32_t Home(uint64_t key) {
    return static_cast<uint32_t>((key * 0x9e3779b97f4a7c15u) >> 40) % kBuckets;
  }
  static uint64_t Value(uint16_t port, uint32_t second) { return uint64_t{port} << 32 | second; }
  static uint16_t PortOf(uint64_t value) { return static_cast<uint16_t>(value >> 32); }
  static uint32_t SecondOf(uint64_t value) { return static_cast<uint32_t>(value); }
  bool Aged(uint64_t value, uint32_t now_s) const;
  Entry* Find(uint64_t key) const;
  LearnResult Insert(uint64_t key, uint16_t port, uint32_t now_s);
  void Erase(Entry& entry);

  struct Unmap {
    void operator()(Bucket* buckets) const;
  };
  // Pages of zeroes, which are empty entries, that are only there once they are written.
  std::unique_ptr<Bucket[], Unmap> buckets_;
  // Whether an insertion ever went past a bucket; read only after a miss in it.
  std::unique_ptr<std::atomic<uint8_t>[]> overflowed_{new std::atomic<uint8_t>[kBuckets]()};
  std::atomic<uint32_t> ageing_s_{300};
  std::atomic<uint32_t> revision_{0};  // written under write_
  Spinlock write_;
  std::vector<uint32_t> per_port_;  // entries of each port; under write_
  uint32_t sweep_at_ = 0;
};

}  // namespace tsvswitch
