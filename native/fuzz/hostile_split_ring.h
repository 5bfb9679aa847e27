// A split ring as a hostile driver writes it, and the reference for what core reads there.
//
// Where everything lies is in driver/split_ring.h. Sources: virtio 1.2 §2.7.5 to §2.7.8.

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/ring/split_queue.h"
#include "driver/split_ring.h"
#include "reference_walk.h"

namespace tsvswitch {

// What the device says of one chain that it hands back.
struct UsedChain {
  uint16_t id;
  uint32_t bytes;
  uint32_t descriptors;
};

class HostileSplitRing {
 public:
  using Queue = SplitQueue;
  using Cursor = uint16_t;
  static constexpr uint64_t kFeatures = 0;

  static uint32_t TakeSize(Input& input) { return 1u << input.Below(7); }
  static uint32_t TakeBase(Input& input, uint32_t) { return input.Take<uint16_t>(); }

  HostileSplitRing(const Virtqueue::Rings& rings, uint32_t size, uint32_t base)
      : ring_(rings, size, static_cast<uint16_t>(base)), size_(size) {
    ring_.Publish();
  }

  void MoveTo(const Virtqueue::Rings& rings) { ring_.MoveTo(rings); }
  uint32_t BaseOfStart(uint32_t base) const { return base; }
  Cursor CursorAt(uint32_t base) const { return static_cast<uint16_t>(base); }
  uint32_t BaseOf(Cursor at) const { return at; }

  // One thing that a driver does; `to_device` is the WRITE flag that fits the queue.
  void Change(Input& input, const FuzzedMemory& memory, uint16_t fitting_flag) {
    switch (input.Below(6)) {
      case 0: {
        const uint32_t index = input.Below(size_);
        ring_.WriteDescriptor(index, TakeDescriptor(input, fitting_flag));
        return;
      }
      case 1: {
        const SplitDescriptor entry = TakeDescriptor(input, fitting_flag);
        memory.Write(TakeAddress(input), BytesOf(entry), sizeof(entry));
        return;
      }
      case 2: {  // Anything at all in the driver's part: flags, index, heads, used_event.
        const uint32_t word = input.Below(SplitRing::AvailWords(size_));
        ring_.WriteAvailWord(word, input.Take<uint16_t>());
        if (word == 1) index_is_honest_ = false;
        return;
      }
      default:  // A head, or a few of them.
        for (uint32_t heads = 1 + input.Below(4); heads > 0; --heads) {
          const uint8_t head = input.Byte();
          ring_.Put(static_cast<uint16_t>(head < 0xf0 ? head % size_ : head));
        }
        ring_.Publish();
    }
  }

  // One buffer as an honest driver would offer it.
  void Offer(uint64_t address, uint32_t length, uint16_t flags) {
    const auto slot = static_cast<uint16_t>(ring_.avail_index() % size_);
    ring_.WriteDescriptor(slot, {address, length}, flags);
    ring_.Offer(slot);
  }

  // Whether the driver offers what is there. Not to be asked once it has taken an offer back: the
  // device may have seen it.
  bool Offers(Cursor at) const { return ring_.published_index() != at; }
  bool IsHonest() const { return index_is_honest_; }
  // Whether the index, read at `at`, is a violation.
  bool Jumped(Cursor at) const {
    return static_cast<uint16_t>(ring_.published_index() - at) > size_;
  }
  // Whether `chains` from anywhere on are all that the ring can hold.
  bool Exhausted(Cursor, Cursor, uint32_t chains) const { return chains == size_; }

  WalkedChain Walk(Cursor* at, const WalkRules& rules) const {
    WalkedChain chain;
    chain.id = ring_.head((*at)++);
    Follow(chain.id, size_, std::nullopt, rules, &chain);
    return chain;
  }

  // From `at` on the used ring must hold these, and its index count them as `descriptors` of them.
  void MustHaveUsed(Cursor at, const std::vector<UsedChain>& chains, Cursor end) const {
    for (const UsedChain& chain : chains) {
      const UsedEntry used = ring_.used(at++);
      MUST(used.id == chain.id && used.bytes == chain.bytes);
    }
    MUST(ring_.used_index() == end);
  }

 private:
  // From the ring's own table, or from one at a guest address. A list with more descriptors than
  // the ring has is a loop.
  void Follow(uint32_t next, uint32_t entries, std::optional<uint64_t> table,
              const WalkRules& rules, WalkedChain* chain) const {
    for (uint32_t steps = 0; steps < size_ && next < entries; ++steps) {
      SplitDescriptor d;
      if (!table) d = ring_.ReadDescriptor(next);
      if (table && !rules.ReadEntry(*table, next, &d)) break;
      const bool has_next = (d.flags & SplitRing::kNext) != 0;
      if ((d.flags & SplitRing::kIndirect) != 0) {
        const uint32_t own_entries = rules.TableEntries(d.bytes);
        if (table || has_next || own_entries == 0) break;
        return Follow(0, own_entries, d.address, rules, chain);
      }
      rules.Append(d.address, d.bytes, d.flags, chain);
      if (chain->broken || !has_next) return;
      next = d.next;
    }
    chain->broken = true;
  }

  SplitDescriptor TakeDescriptor(Input& input, uint16_t fitting_flag) const {
    SplitDescriptor d;
    d.address = TakeAddress(input);
    d.bytes = TakeLength(input);
    const uint8_t choice = input.Byte();
    const uint16_t flags = choice < 0xf0 ? choice & 7 : input.Take<uint16_t>();
    const uint8_t next = input.Byte();
    d.flags = static_cast<uint16_t>(flags ^ fitting_flag);
    d.next = static_cast<uint16_t>(next < 0xf0 ? next % size_ : next);
    return d;
  }

  SplitRing ring_;
  const uint32_t size_;
  bool index_is_honest_ = true;
};

}  // namespace tsvswitch
