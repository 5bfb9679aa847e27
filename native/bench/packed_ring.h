// The driver's side of one packed virtqueue whose buffers are used for life.
//
// Each slot is a descriptor that driver and device write in turn; a pair of bits, AVAIL and USED,
// against a wrap counter that changes with every lap says whose it is (virtio 1.2 §2.8.1). A buffer
// of several pieces takes as many slots, and comes back in the first of them. The bits of the first
// slot of a batch are written last, by Publish(), so the device finds either nothing or the whole
// batch.
//
// The verbs are those of SplitRing, and so are the rules for kicks and interrupts; EVENT_IDX is not
// negotiated. All buffers of a ring take the same number of slots, so they may come back in any
// order. Single threaded; what the device writes is bounds-checked.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "buffers.h"
#include "port_memory.h"
#include "prefetch.h"
#include "queue.h"
#include "virtio.h"

namespace tsvswitch::bench {

class PackedRing {
 public:
  static size_t MemoryBytes(uint16_t size);

  PackedRing(PortMemory& memory, uint16_t size, const Buffers& buffers);

  QueueLayout layout() const { return {size_, desc_, driver_event_, device_event_}; }

  // How many used slots wait to be taken, as far as `limit`; each is read once, for Peek().
  uint16_t Completed(uint16_t limit) {
    if (limit > buffers_) limit = buffers_;
    Position at = next_used_;
    for (uint16_t waiting = 0; waiting < limit; ++waiting) {
      pvirtq_desc& entry = desc_[at.slot];
      // It will be written soon; beyond the ring's end this is only a hint.
      if (at.slot % kSlotsPerLine == 0) PrefetchForWrite(&entry + 2 * kSlotsPerLine);
      // Before the frame.
      const uint64_t back = __atomic_load_n(&entry.back, __ATOMIC_ACQUIRE);
      if ((back & kBothBits) != (at.wrap ? kBothBits : 0)) return waiting;
      const UsedBuffer used = {pvirtq_desc::IdOf(back), pvirtq_desc::LengthOf(back)};
      if (used.id >= buffers_) [[unlikely]]
        FailOnId(used.id);
      completed_[waiting] = used;
      Advance(at, pieces_);
    }
    return limit;
  }

  // What the last Completed() found `ahead` of the next one.
  UsedBuffer Peek(uint16_t ahead) const { return completed_[ahead]; }

  void Take(uint16_t count) { Advance(next_used_, static_cast<uint32_t>(count) * pieces_); }

  void Post(uint32_t id) {
    Offer(1, [id](uint16_t) { return id; });
  }

  void Repost(uint16_t count) {
    Offer(count, [this](uint16_t i) { return completed_[i].id; });
    Take(count);
  }

  void Publish() {
    if (first_unpublished_ == nullptr) return;
    // After all the other slots and the frames.
    __atomic_store_n(&first_unpublished_->back, first_back_, __ATOMIC_RELEASE);
    first_unpublished_ = nullptr;
    unannounced_ = true;
  }

  bool KickWanted() {
    if (!unannounced_) return false;
    const uint16_t flags = __atomic_load_n(&device_event_->flags, __ATOMIC_RELAXED);
    if (flags == RING_EVENT_FLAGS_DISABLE) return false;
    unannounced_ = false;
    return true;
  }

 private:
  static constexpr uint16_t kSlotsPerLine = 64 / sizeof(pvirtq_desc);
  static constexpr uint64_t kAvailBit = pvirtq_desc::BackOf(0, 0, VIRTQ_DESC_F_AVAIL);
  static constexpr uint64_t kUsedBit = pvirtq_desc::BackOf(0, 0, VIRTQ_DESC_F_USED);
  static constexpr uint64_t kBothBits = kAvailBit | kUsedBit;

  struct Position {
    uint16_t slot = 0;
    bool wrap = true;
  };

  template <typename IdAt>
  void Offer(uint16_t count, IdAt id_at) {
    // In registers; the stores to the ring would else have members written and read once a slot.
    pvirtq_desc* const desc = desc_;
    const pvirtq_desc* const offers = offers_.data();
    const uint16_t pieces = pieces_;
    Position at = next_avail_;
    bool holds_first = first_unpublished_ != nullptr;
    for (uint16_t i = 0; i < count; ++i) {
      const pvirtq_desc* offer = &offers[id_at(i) * pieces];
      for (uint16_t piece = 0; piece < pieces; ++piece, ++offer) {
        pvirtq_desc& entry = desc[at.slot];
        const uint64_t back = offer->back | (at.wrap ? kAvailBit : kUsedBit);
        __atomic_store_n(&entry.addr, offer->addr, __ATOMIC_RELAXED);
        if (holds_first) [[likely]] {
          __atomic_store_n(&entry.back, back, __ATOMIC_RELAXED);
        } else {
          first_unpublished_ = &entry;
          first_back_ = back;
          holds_first = true;
        }
        Advance(at, 1);
      }
    }
    next_avail_ = at;
  }

  // `slots` is at most the size of the ring.
  void Advance(Position& at, uint32_t slots) const {
    const uint32_t slot = at.slot + slots;
    const bool wraps = slot >= size_;
    at.slot = static_cast<uint16_t>(wraps ? slot - size_ : slot);
    at.wrap ^= wraps;
  }

  [[noreturn]] void FailOnId(uint32_t id) const;

  std::vector<pvirtq_desc> offers_;  // the descriptors of each buffer, but for AVAIL and USED
  std::vector<UsedBuffer> completed_;
  pvirtq_desc* desc_;
  pvirtq_event_suppress* driver_event_;
  pvirtq_event_suppress* device_event_;
  uint16_t size_;
  uint16_t buffers_;
  uint16_t pieces_;
  Position next_avail_;
  Position next_used_;
  pvirtq_desc* first_unpublished_ = nullptr;
  uint64_t first_back_ = 0;
  bool unannounced_ = false;
};

}  // namespace tsvswitch::bench
