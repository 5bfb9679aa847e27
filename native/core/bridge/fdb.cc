// See fdb.h for the layout of the table and who may call what.

#include "core/bridge/fdb.h"

#include <sys/mman.h>

#include <cassert>
#include <mutex>

namespace tsvswitch {

Fdb::Fdb() : per_port_(kPortsMax) {
  void* mapped = mmap(nullptr, sizeof(Bucket) * kBuckets, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert(mapped != MAP_FAILED);
  buckets_.reset(static_cast<Bucket*>(mapped));
}

void Fdb::Unmap::operator()(Bucket* buckets) const { munmap(buckets, sizeof(Bucket) * kBuckets); }

bool Fdb::Aged(uint64_t value, uint32_t now_s) const {
  const uint32_t ageing = ageing_s_.load(std::memory_order_relaxed);
  // A second that is ahead of `now_s` (another worker's clock) counts as age 0.
  const auto age = static_cast<int32_t>(now_s - SecondOf(value));
  return ageing != 0 && age > 0 && static_cast<uint32_t>(age) > ageing;
}

Fdb::Entry* Fdb::Find(uint64_t key) const {
  uint32_t at = Home(key);
  for (uint32_t probe = 0; probe < kProbeBuckets; ++probe) {
    for (Entry& entry : buckets_[at].entry) {
      // Acquire: the value written before the key is seen with it.
      if (entry.key.load(std::memory_order_acquire) == key) return &entry;
    }
    if (overflowed_[at].load(std::memory_order_relaxed) == 0) return nullptr;
    at = (at + 1) % kBuckets;
  }
  return nullptr;
}

Destination Fdb::Lookup(uint64_t key, uint32_t now_s) const {
  const Entry* entry = Find(key);
  if (entry == nullptr) return {};
  const uint64_t value = entry->value.load(std::memory_order_acquire);
  // The slot may have gone to another key in between; then the value is not ours.
  if (entry->key.load(std::memory_order_relaxed) != key || Aged(value, now_s)) return {};
  return {.kind = Destination::Kind::kPort, .port = PortOf(value)};
}

LearnResult Fdb::Learn(uint64_t key, uint16_t port, uint32_t now_s, uint16_t* from) {
  Entry* entry = Find(key);
  if (entry != nullptr && entry->value.load(std::memory_order_relaxed) == Value(port, now_s))
      [[likely]] {
    return LearnResult::kKnown;
  }
  const std::lock_guard<Spinlock> guard(write_);
  entry = Find(key);
  if (entry == nullptr) return Insert(key, port, now_s);
  const uint64_t value = entry->value.load(std::memory_order_relaxed);
  if (PortOf(value) == port) {
    entry->value.store(Value(port, now_s), std::memory_order_relaxed);
    return LearnResult::kKnown;
  }
  if (per_port_[port] >= kFdbEntriesPerPortMax) return LearnResult::kRefused;
  *from = PortOf(value);
  --per_port_[PortOf(value)];
  ++per_port_[port];
  entry->value.store(Value(port, now_s), std::memory_order_relaxed);
  revision_.fetch_add(1, std::memory_order_relaxed);
  return LearnResult::kMoved;
}

LearnResult Fdb::Insert(uint64_t key, uint16_t port, uint32_t now_s) {
  if (per_port_[port] >= kFdbEntriesPerPortMax) return LearnResult::kRefused;
  uint32_t at = Home(key);
  for (uint32_t probe = 0; probe < kProbeBuckets; ++probe) {
    for (Entry& entry : buckets_[at].entry) {
      if (entry.key.load(std::memory_order_relaxed) != 0) {
        if (!Aged(entry.value.load(std::memory_order_relaxed), now_s)) continue;
        Erase(entry);
      }
      // Release: a reader that sees this value under the key that was here before sees that key
      // gone.
      entry.value.store(Value(port, now_s), std::memory_order_release);
      // Release: a reader that finds the key finds this value or a newer one.
      entry.key.store(key, std::memory_order_release);
      ++per_port_[port];
      return LearnResult::kLearned;
    }
    overflowed_[at].store(1, std::memory_order_relaxed);
    at = (at + 1) % kBuckets;
  }
  return LearnResult::kRefused;
}

void Fdb::Erase(Entry& entry) {
  --per_port_[PortOf(entry.value.load(std::memory_order_relaxed))];
  entry.key.store(0, std::memory_order_relaxed);
}

void Fdb::Sweep(uint32_t buckets, uint32_t now_s) {
  for (uint32_t i = 0; i < buckets; ++i) {
    for (Entry& entry : buckets_[sweep_at_].entry) {
      if (entry.key.load(std::memory_order_relaxed) == 0) continue;
      if (!Aged(entry.value.load(std::memory_order_relaxed), now_s)) continue;
      const std::lock_guard<Spinlock> guard(write_);
      // Look again under the lock: Learn may have refreshed or reused it.
      if (entry.key.load(std::memory_order_relaxed) != 0 &&
          Aged(entry.value.load(std::memory_order_relaxed), now_s)) {
        Erase(entry);
      }
    }
    sweep_at_ = (sweep_at_ + 1) % kBuckets;
  }
}

void Fdb::Flush(uint16_t port) {
  const std::lock_guard<Spinlock> guard(write_);
  for (uint32_t at = 0; at < kBuckets; ++at) {
    for (Entry& entry : buckets_[at].entry) {
      if (entry.key.load(std::memory_order_relaxed) == 0) continue;
      const uint16_t owner = PortOf(entry.value.load(std::memory_order_relaxed));
      if (port == kNoPort || owner == port) Erase(entry);
    }
    if (port == kNoPort) overflowed_[at].store(0, std::memory_order_relaxed);
  }
  revision_.fetch_add(1, std::memory_order_relaxed);
}

std::vector<FdbRecord> Fdb::Read(uint32_t now_s) const {
  std::vector<FdbRecord> records;
  for (uint32_t at = 0; at < kBuckets; ++at) {
    for (const Entry& entry : buckets_[at].entry) {
      const uint64_t key = entry.key.load(std::memory_order_acquire);
      const uint64_t value = entry.value.load(std::memory_order_acquire);
      if (key == 0 || entry.key.load(std::memory_order_relaxed) != key || Aged(value, now_s)) {
        continue;
      }
      records.push_back({key & 0xffffffffffff, static_cast<uint16_t>(key >> 48 & 0xfff),
                         PortOf(value), SecondOf(value)});
    }
  }
  return records;
}

}  // namespace tsvswitch
