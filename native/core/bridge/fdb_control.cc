// What control does with a forwarding database while workers use it: sets entries and limits,
// flushes, reads, and lets the table grow. See fdb.h.
//
// Growing: the bigger table is allocated without the lock, the entries are copied a few buckets a
// lock, and what workers change meanwhile they change in both. So no worker waits longer than for
// those few buckets, and no entry is lost.

#include <algorithm>
#include <cassert>
#include <utility>

#include "core/bridge/fdb.h"

namespace tsvswitch {

namespace {

// What is done while others wait for the lock, and how long they then have to get it.
constexpr uint32_t kBucketsALock = 4;
constexpr uint32_t kPlacesALock = 64;
// A table of more, half a megabyte, is not in the second-level cache.
constexpr uint32_t kBucketsNear = 8192;

void LetOthersIn() {
  for (uint32_t i = 0; i < 16; ++i) CpuRelax();
}

}  // namespace

void Fdb::SetLimit(uint32_t entries) {
  const std::lock_guard<Spinlock> guard(write_);
  limit_ = entries;
}

void Fdb::SetPortLimit(uint16_t port, uint32_t entries) {
  const std::lock_guard<Spinlock> guard(write_);
  port_limits_[port] = entries;
}

bool Fdb::Set(const FdbRecord& set) {
  assert(set.port < kPortsMax || (set.port == kNoPort && (set.flags & kFdbDrop) != 0));
  const Place place = Place::Of(set.port, set.via, IsFixed(set.flags));
  uint16_t& made = made_places_[place.word()];  // kNone if it is new
  const std::lock_guard<Spinlock> guard(write_);
  // The number may have been retired, and stand for another place since.
  if (!(places_.At(made) == place)) {
    const bool learned = !place.fixed() && place.via() == 0;
    made = learned ? places_.Learned(place.port()) : places_.Make(place);
  }
  if (made == FdbPlaces::kNone) return false;
  const uint64_t key = Key(set.mac, set.vlan);
  const uint64_t value = Value(set.flags, made, set.seen_s);
  Entry* const entry = owned_->Find(key);
  const uint64_t before = entry != nullptr ? entry->value.load(std::memory_order_relaxed) : 0;
  if (entry != nullptr && !IsDead()(before)) {
    places_.Leave(PlaceOf(before));
    places_.Enter(made);
    Change(*entry, value);
  } else {
    if (entry != nullptr) Erase(*entry);
    if (!Insert(key, value)) return false;
  }
  revision_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

bool Fdb::Remove(uint64_t key) {
  const std::lock_guard<Spinlock> guard(write_);
  Entry* const entry = owned_->Find(key);
  if (entry == nullptr) return false;
  const bool live = !IsDead()(entry->value.load(std::memory_order_relaxed));
  Erase(*entry);
  revision_.fetch_add(1, std::memory_order_relaxed);
  return live;
}

uint32_t Fdb::Retire(uint16_t port, FdbPlaces::Kind kind) {
  uint32_t retired = 0;
  for (;;) {
    {
      const std::lock_guard<Spinlock> guard(write_);
      const uint32_t now = places_.Retire(port, kind, kPlacesALock);
      retired += now;
      if (now < kPlacesALock) return retired;
    }
    LetOthersIn();
  }
}

void Fdb::Flush(uint16_t port) {
  const uint16_t first = port == kNoPort ? uint16_t{0} : port;
  const uint16_t last = port == kNoPort ? uint16_t{kPortsMax - 1} : port;
  for (uint16_t each = first; each <= last; ++each) Retire(each, FdbPlaces::Kind::kLearned);
  revision_.fetch_add(1, std::memory_order_relaxed);
}

void Fdb::FlushAll(uint16_t port) {
  const uint32_t fixed = Retire(port, FdbPlaces::Kind::kFixed);
  Flush(port);
  if (fixed == 0) return;
  std::erase_if(made_places_,
                [port](const auto& made) { return Place(made.first).port() == port; });
}

std::vector<FdbRecord> Fdb::Read(uint32_t now_s) const {
  std::vector<FdbRecord> records;
  const FdbTable& table = Table();
  for (uint32_t at = 0; at < table.bucket_count(); ++at) {
    for (const Entry& entry : table.bucket(at).entry) {
      const uint64_t key = entry.key.load(std::memory_order_acquire);
      const uint64_t value = entry.value.load(std::memory_order_acquire);
      const Place place = places_.At(PlaceOf(value));
      // As in Lookup.
      if (key == 0 || entry.key.load(std::memory_order_acquire) != key) continue;
      if (((entry.value.load(std::memory_order_relaxed) ^ value) >> 32) != 0) continue;
      if (place.live() && !HasAged(value, now_s)) records.push_back(RecordOf(key, value, place));
    }
  }
  return records;
}

bool Fdb::Grow(uint32_t buckets) {
  assert(wants_growth() && old_ == nullptr);
  if (next_ == nullptr) {
    auto next = std::make_unique<FdbTable>(owned_->bucket_count() * 2, seed_, true);
    const std::lock_guard<Spinlock> guard(write_);
    next_ = std::move(next);
    copied_ = 0;
  }
  for (uint32_t i = 0; i < buckets; i += kBucketsALock) {
    {
      const std::lock_guard<Spinlock> guard(write_);
      const uint32_t end = std::min(copied_ + kBucketsALock, owned_->bucket_count());
      CopyBuckets(end);
      if (copied_ == owned_->bucket_count()) {
        old_ = std::exchange(owned_, std::move(next_));
        // Release: whoever sees the table sees its entries.
        table_.store(owned_.get(), std::memory_order_release);
        is_large_.store(owned_->bucket_count() > kBucketsNear, std::memory_order_relaxed);
        wants_growth_.store(false, std::memory_order_relaxed);
        if (IsCrowded()) AskForGrowth();
        return true;
      }
    }
    LetOthersIn();
  }
  growth_wished_.store(true, std::memory_order_relaxed);
  return false;
}

void Fdb::DropOld() {
  std::unique_ptr<FdbTable> old;  // goes without the lock
  const std::lock_guard<Spinlock> guard(write_);
  old.swap(old_);
}

// The buckets from copied_ to `end`.
void Fdb::CopyBuckets(uint32_t end) {
  for (uint32_t at = copied_; at < end; ++at) {
    for (const Entry& entry : owned_->bucket(at).entry) {
      next_->Prefetch(entry.key.load(std::memory_order_relaxed));
    }
  }
  while (copied_ < end) {
    FdbTable::Bucket& bucket = owned_->bucket(copied_++);
    for (Entry& entry : bucket.entry) {
      const uint64_t key = entry.key.load(std::memory_order_relaxed);
      const uint64_t value = entry.value.load(std::memory_order_relaxed);
      if (key == 0 || IsDead()(value)) continue;
      const uint32_t copied = copied_;
      if (Mirror(key, value)) continue;
      copied_ = copied;
      Erase(entry);
      revision_.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

}  // namespace tsvswitch
