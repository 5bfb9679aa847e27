// See fdb.h for who may call what, fdb_control.cc for what control does.

#include "core/bridge/fdb.h"

namespace tsvswitch {

Fdb::Fdb(uint64_t seed)
    : seed_(seed),
      owned_(std::make_unique<FdbTable>(kBucketsMin, seed, false)),
      table_(owned_.get()) {
  port_limits_.fill(kFdbEntriesPerPortMax);
}

bool Fdb::HasAged(uint64_t value, uint32_t now_s) const {
  const uint32_t ageing = ageing_s_.load(std::memory_order_relaxed);
  // A second that is ahead of `now_s` (another worker's clock) counts as age 0.
  const auto age = static_cast<int32_t>(now_s - SecondOf(value));
  return age > 0 && static_cast<uint32_t>(age) > ageing && ageing != 0 && !IsFixed(FlagsOf(value));
}

FdbRecord Fdb::RecordOf(uint64_t key, uint64_t value, Place place) {
  return {.mac = key & 0xffffffffffff,
          .vlan = static_cast<uint16_t>(key >> 48 & 0xfff),
          .port = place.port(),
          .via = place.via(),
          .flags = FlagsOf(value),
          .seen_s = SecondOf(value)};
}

Destination Fdb::Lookup(uint64_t key, uint32_t now_s) const {
  const Entry* entry = Table().Find(key);
  if (entry == nullptr) return {};
  const uint64_t value = entry->value.load(std::memory_order_acquire);
  const Place place = places_.At(PlaceOf(value));
  // The entry may have gone to another key in between, and the place to another port; then the
  // value is not ours. Acquire: the value is looked at behind the key, as it was written before it.
  if (entry->key.load(std::memory_order_acquire) != key) [[unlikely]]
    return {};
  if (((entry->value.load(std::memory_order_relaxed) ^ value) >> 32) != 0) [[unlikely]]
    return {};
  if (!place.live() || HasAged(value, now_s)) [[unlikely]]
    return {};
  const bool drop = (FlagsOf(value) & kFdbDrop) != 0;
  return {.kind = drop ? Destination::Kind::kDrop : Destination::Kind::kPort,
          .port = place.port(),
          .via = place.via()};
}

bool Fdb::Stays(uint64_t value, Place place, uint16_t port, uint32_t now_s) const {
  const uint8_t flags = FlagsOf(value);
  if (!place.live()) return false;
  if ((flags & (kFdbStatic | kFdbDrop)) != 0) return true;
  if (place.port() != port) return (flags & kFdbSticky) != 0 && !HasAged(value, now_s);
  return (flags & kFdbExtern) != 0 || SecondOf(value) == now_s;
}

LearnResult Fdb::Learn(uint64_t key, uint16_t port, uint32_t now_s, uint16_t* from) {
  if (const Entry* entry = Table().Find(key); entry != nullptr) [[likely]] {
    const uint64_t value = entry->value.load(std::memory_order_acquire);
    if (Stays(value, places_.At(PlaceOf(value)), port, now_s)) return LearnResult::kKnown;
  }
  const std::lock_guard<Spinlock> guard(write_);
  Entry* const entry = owned_->Find(key);
  if (entry == nullptr) return LearnAnew(key, port, now_s);
  const uint64_t value = entry->value.load(std::memory_order_relaxed);
  const Place place = places_.At(PlaceOf(value));
  if (!place.live()) {
    Erase(*entry);
    return LearnAnew(key, port, now_s);
  }
  if (Stays(value, place, port, now_s)) return LearnResult::kKnown;
  if (place.port() == port) {
    Change(*entry, Value(FlagsOf(value), PlaceOf(value), now_s));
    return LearnResult::kKnown;
  }
  if (places_.learned_on(port) >= port_limits_[port]) return LearnResult::kRefused;
  if (place.fixed() && places_.learned() >= limit_) return LearnResult::kRefused;
  const uint16_t number = places_.Learned(port);
  if (number == FdbPlaces::kNone) return LearnResult::kRefused;
  *from = place.port();
  places_.Leave(PlaceOf(value));
  places_.Enter(number);
  Change(*entry, Value(0, number, now_s));
  revision_.fetch_add(1, std::memory_order_relaxed);
  return LearnResult::kMoved;
}

LearnResult Fdb::LearnAnew(uint64_t key, uint16_t port, uint32_t now_s) {
  if (places_.learned_on(port) >= port_limits_[port]) return LearnResult::kRefused;
  if (places_.learned() >= limit_) return LearnResult::kRefused;
  const uint16_t number = places_.Learned(port);
  if (number == FdbPlaces::kNone) return LearnResult::kRefused;
  return Insert(key, Value(0, number, now_s)) ? LearnResult::kLearned : LearnResult::kRefused;
}

// A key that is not there.
bool Fdb::Insert(uint64_t key, uint64_t value) {
  if (places_.learned() + places_.fixed() >= kFdbEntriesMax) return false;
  Entry* const room = owned_->Room(key, IsDead(), MirrorMoved());
  if (room == nullptr) {
    AskForGrowth();
    return false;
  }
  owned_->Put(*room, key, value);
  Mirror(key, value);
  places_.Enter(PlaceOf(value));
  if (IsCrowded()) AskForGrowth();
  return true;
}

void Fdb::Change(Entry& entry, uint64_t value) {
  // Release: the place is there before its number is seen.
  entry.value.store(value, std::memory_order_release);
  Mirror(entry.key.load(std::memory_order_relaxed), value);
}

void Fdb::Erase(Entry& entry) {
  places_.Leave(PlaceOf(entry.value.load(std::memory_order_relaxed)));
  if (next_ != nullptr) {
    Entry* const copy = next_->Find(entry.key.load(std::memory_order_relaxed));
    if (copy != nullptr) next_->Clear(*copy);
  }
  owned_->Clear(entry);
}

// Puts what is in the table into the one that is to take its place. False if there is no room: then
// copying begins again, and leaves out what does not fit.
bool Fdb::Mirror(uint64_t key, uint64_t value) {
  if (next_ == nullptr) [[likely]]
    return true;
  Entry* copy = next_->Find(key);
  if (copy == nullptr) copy = next_->Room(key, IsDead(), [](uint64_t, uint64_t) {});
  if (copy == nullptr) {
    copied_ = 0;
    return false;
  }
  next_->Put(*copy, key, value);
  return true;
}

bool Fdb::IsCrowded() const {
  return (uint64_t{places_.learned()} + places_.fixed()) * 2 > owned_->slots();
}

void Fdb::AskForGrowth() {
  if (wants_growth() || owned_->bucket_count() == kBucketsMax) return;
  wants_growth_.store(true, std::memory_order_relaxed);
  growth_wished_.store(true, std::memory_order_relaxed);
}

void Fdb::Sweep(uint32_t buckets, uint32_t now_s, Aged aged, void* context) {
  const FdbTable& table = Table();
  if (swept_buckets_ != table.bucket_count()) {
    swept_buckets_ = table.bucket_count();
    sweep_at_ = 0;
  }
  for (uint32_t i = 0; i < buckets; ++i) {
    if (sweep_at_ == 0) {
      const std::lock_guard<Spinlock> guard(write_);
      places_.BeginSweep();
    }
    for (const Entry& entry : table.bucket(sweep_at_).entry) {
      const uint64_t key = entry.key.load(std::memory_order_acquire);
      const uint64_t value = entry.value.load(std::memory_order_acquire);
      if (key == 0 || (places_.At(PlaceOf(value)).live() && !HasAged(value, now_s))) continue;
      FdbRecord record;
      if (RemoveAged(key, now_s, &record) && aged != nullptr) aged(context, record);
    }
    if (++sweep_at_ < table.bucket_count()) continue;
    sweep_at_ = 0;
    const std::lock_guard<Spinlock> guard(write_);
    // A table that is being made has entries too, of places that were flushed since. So has an old
    // one.
    if (owned_.get() == &table && next_ == nullptr && old_ == nullptr) places_.EndSweep();
  }
}

// Removes an entry that is dead or has aged; true if it has.
bool Fdb::RemoveAged(uint64_t key, uint32_t now_s, FdbRecord* aged) {
  const std::lock_guard<Spinlock> guard(write_);
  // Look again under the lock: Learn may have refreshed or reused it.
  Entry* const entry = owned_->Find(key);
  if (entry == nullptr) return false;
  const uint64_t value = entry->value.load(std::memory_order_relaxed);
  const Place place = places_.At(PlaceOf(value));
  if (place.live() && !HasAged(value, now_s)) return false;
  *aged = RecordOf(key, value, place);
  Erase(*entry);
  return place.live();
}

}  // namespace tsvswitch
