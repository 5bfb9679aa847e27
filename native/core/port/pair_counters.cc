// See pair_counters.h.

#include "core/port/pair_counters.h"

namespace tsvswitch {

void PairCounters::AddFirst(uint16_t from, uint16_t to, uint64_t frames, uint64_t bytes,
                            bool meant) {
  if (!meant || used_ == kPairsMax) {
    others_[from].Add(frames, bytes);
    return;
  }
  Slot& slot = slots_[Find(Key(from, to))];
  slot.count.Add(frames, bytes);
  // Release: who sees the key sees numbers that are its own.
  slot.key.store(Key(from, to), std::memory_order_release);
  ++used_;
}

void PairCounters::AppendTo(std::vector<Pair>& pairs) const {
  const auto read = [](const std::atomic<uint64_t>& count) {
    return count.load(std::memory_order_relaxed);
  };
  for (uint32_t at = 0; at < kSlots; ++at) {
    const Slot& slot = slots_[at];
    const uint32_t key = slot.key.load(std::memory_order_acquire);
    if (key == 0) continue;
    pairs.push_back({.from = static_cast<uint16_t>((key - 1) >> 16),
                     .to = static_cast<uint16_t>(key - 1),
                     .frames = read(slot.count.frames),
                     .bytes = read(slot.count.bytes)});
  }
  for (uint16_t from = 0; from < kPortsMax; ++from) {
    const Count& other = others_[from];
    if (read(other.frames) == 0) continue;
    pairs.push_back(
        {.from = from, .to = kNoPort, .frames = read(other.frames), .bytes = read(other.bytes)});
  }
}

void PairCounters::Forget(uint16_t port) {
  std::vector<Pair> pairs;
  AppendTo(pairs);
  Clear();
  for (const Pair& pair : pairs) {
    if (pair.from != port && pair.to != port) Put(pair);
  }
}

void PairCounters::TakeOver(const PairCounters& other) {
  std::vector<Pair> pairs;
  other.AppendTo(pairs);
  for (const Pair& pair : pairs) Put(pair);
}

void PairCounters::Clear() {
  for (uint32_t at = 0; at < kSlots; ++at) {
    Slot& slot = slots_[at];
    slot.key.store(0, std::memory_order_relaxed);
    slot.count.frames.store(0, std::memory_order_relaxed);
    slot.count.bytes.store(0, std::memory_order_relaxed);
  }
  for (uint32_t from = 0; from < kPortsMax; ++from) {
    others_[from].frames.store(0, std::memory_order_relaxed);
    others_[from].bytes.store(0, std::memory_order_relaxed);
  }
  used_ = 0;
}

void PairCounters::Put(const Pair& pair) {
  const auto& [from, to, frames, bytes] = pair;
  if (to != kNoPort && Add(from, to, frames, bytes)) return;
  AddFirst(from, to, frames, bytes, to != kNoPort);
}

}  // namespace tsvswitch
