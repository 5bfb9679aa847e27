// See fdb_places.h for when a number is given out again.

#include "core/bridge/fdb_places.h"

namespace tsvswitch {

FdbPlaces::FdbPlaces()
    : words_(MapZeroPages<std::atomic<uint64_t>>(kPlacesMax)),
      made_(MapZeroPages<Made>(kPlacesMax)),
      ports_(kPortsMax + 1) {}

uint16_t FdbPlaces::TakeNumber() {
  const uint16_t oldest = oldest_retired_;
  // In order of their sweeps, so that the oldest is free if any is. They wrap.
  if (oldest != kNone && static_cast<int32_t>(swept_ - made_[oldest].retired_in) > 0) {
    oldest_retired_ = made_[oldest].next;
    if (oldest_retired_ == kNone) newest_retired_ = kNone;
    return oldest;
  }
  return numbers_ < kPlacesMax ? static_cast<uint16_t>(numbers_++) : kNone;
}

uint16_t FdbPlaces::Make(Place place) {
  const uint16_t number = TakeNumber();
  if (number == kNone) return kNone;
  PortPlaces& port = ports_[IndexOf(place.port())];
  uint16_t& first = port.first[place.kind()];
  made_[number] = {.entries = 0, .retired_in = 0, .next = first};
  first = number;
  if (!place.fixed() && place.via() == 0) port.learned = number;
  // Release: see At.
  words_[number].store(place.word(), std::memory_order_release);
  return number;
}

uint32_t FdbPlaces::Retire(uint16_t port, Kind kind, uint32_t count) {
  PortPlaces& places = ports_[IndexOf(port)];
  uint16_t& first = places.first[static_cast<uint32_t>(kind)];
  if (kind == Kind::kLearned) places.learned = kNone;
  uint32_t retired = 0;
  for (; first != kNone && retired < count; ++retired) {
    const uint16_t number = first;
    Made& made = made_[number];
    first = made.next;
    words_[number].store(0, std::memory_order_relaxed);
    if (kind == Kind::kFixed) {
      fixed_ -= made.entries;
    } else {
      learned_ -= made.entries;
      places.entries -= made.entries;
    }
    made = {.entries = 0, .retired_in = sweep_, .next = kNone};
    (newest_retired_ == kNone ? oldest_retired_ : made_[newest_retired_].next) = number;
    newest_retired_ = number;
  }
  return retired;
}

void FdbPlaces::Count(uint16_t number, uint32_t change) {
  const Place place(words_[number].load(std::memory_order_relaxed));
  if (!place.live()) return;
  made_[number].entries += change;
  if (place.fixed()) {
    fixed_ += change;
  } else {
    learned_ += change;
    ports_[IndexOf(place.port())].entries += change;
  }
}

}  // namespace tsvswitch
