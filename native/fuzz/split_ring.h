// A split ring as a hostile driver writes it, and the reference for what core reads there.
//
// Written and read by the offsets of the specification. Sources: virtio 1.2 §2.7.5 to §2.7.8.

#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "core/ring/split_queue.h"
#include "reference_walk.h"

namespace tsvswitch {

// What the device says of one chain that it hands back.
struct UsedChain {
  uint16_t id;
  uint32_t bytes;
  uint32_t descriptors;
};

class SplitRing {
 public:
  using Queue = SplitQueue;
  using Cursor = uint16_t;
  static constexpr uint64_t kFeatures = 0;

  static uint32_t TakeSize(Input& input) { return 1u << input.Below(7); }
  static uint32_t TakeBase(Input& input, uint32_t) { return input.Take<uint16_t>(); }

  SplitRing(const Virtqueue::Rings& rings, uint32_t size, uint32_t base)
      : rings_(rings), size_(size), end_(static_cast<uint16_t>(base)) {
    Put16(rings_.avail + 2, end_);
  }

  void MoveTo(const Virtqueue::Rings& rings) { rings_ = rings; }
  uint32_t BaseOfStart(uint32_t base) const { return base; }
  Cursor CursorAt(uint32_t base) const { return static_cast<uint16_t>(base); }
  uint32_t BaseOf(Cursor at) const { return at; }

  // One thing that a driver does; `to_device` is the WRITE flag that fits the queue.
  void Change(Input& input, const FuzzedMemory& memory, uint16_t fitting_flag) {
    switch (input.Below(6)) {
      case 0: WriteDescriptor(rings_.desc + 16 * input.Below(size_), input, fitting_flag); return;
      case 1: {
        uint8_t entry[16];
        WriteDescriptor(entry, input, fitting_flag);
        memory.Write(TakeAddress(input), entry, sizeof(entry));
        return;
      }
      case 2: {  // Anything at all in the driver's part: flags, index, heads, used_event.
        const uint32_t word = input.Below(3 + size_);
        Put16(rings_.avail + 2 * word, input.Take<uint16_t>());
        if (word == 1) index_is_honest_ = false;
        return;
      }
      default:  // A head, or a few of them.
        for (uint32_t heads = 1 + input.Below(4); heads > 0; --heads) {
          const uint8_t head = input.Byte();
          Put16(rings_.avail + 4 + 2 * (end_++ % size_), head < 0xf0 ? head % size_ : head);
        }
        Put16(rings_.avail + 2, end_);
    }
  }

  // One buffer as an honest driver would offer it.
  void Offer(uint64_t address, uint32_t length, uint16_t flags) {
    const uint16_t slot = static_cast<uint16_t>(end_ % size_);
    const Descriptor d = {address, length, flags, 0};
    std::memcpy(rings_.desc + 16 * slot, &d, sizeof(d));
    Put16(rings_.avail + 4 + 2 * slot, slot);
    Put16(rings_.avail + 2, ++end_);
  }

  // Whether the driver offers what is there. Not to be asked once it has taken an offer back: the
  // device may have seen it.
  bool Offers(Cursor at) const { return Index() != at; }
  bool IsHonest() const { return index_is_honest_; }
  // Whether the index, read at `at`, is a violation.
  bool Jumped(Cursor at) const { return static_cast<uint16_t>(Index() - at) > size_; }
  // Whether `chains` from anywhere on are all that the ring can hold.
  bool Exhausted(Cursor, Cursor, uint32_t chains) const { return chains == size_; }

  WalkedChain Walk(Cursor* at, const WalkRules& rules) const {
    WalkedChain chain;
    chain.id = Get16(rings_.avail + 4 + 2 * (*at % size_));
    ++*at;
    Follow(chain.id, size_, std::nullopt, rules, &chain);
    return chain;
  }

  // From `at` on the used ring must hold these, and its index count them as `descriptors` of them.
  void MustHaveUsed(Cursor at, const std::vector<UsedChain>& chains, Cursor end) const {
    for (const UsedChain& chain : chains) {
      uint32_t element[2];
      std::memcpy(element, rings_.used + 4 + 8 * (at++ % size_), sizeof(element));
      MUST(element[0] == chain.id && element[1] == chain.bytes);
    }
    MUST(Get16(rings_.used + 2) == end);
  }

 private:
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
  };

  // From the ring's own table, or from one at a guest address. A list with more descriptors than
  // the ring has is a loop.
  void Follow(uint32_t next, uint32_t entries, std::optional<uint64_t> table,
              const WalkRules& rules, WalkedChain* chain) const {
    for (uint32_t steps = 0; steps < size_ && next < entries; ++steps) {
      uint8_t bytes[16];
      if (!table) std::memcpy(bytes, rings_.desc + 16 * next, sizeof(bytes));
      if (table && !rules.memory.Read(*table + 16 * next, bytes, sizeof(bytes))) break;
      Descriptor d;
      std::memcpy(&d, bytes, sizeof(d));
      const bool has_next = (d.flags & VIRTQ_DESC_F_NEXT) != 0;
      if ((d.flags & VIRTQ_DESC_F_INDIRECT) != 0) {
        const uint32_t own_entries = rules.TableEntries(d.length);
        if (table || has_next || own_entries == 0) break;
        return Follow(0, own_entries, d.address, rules, chain);
      }
      rules.Append(d.address, d.length, d.flags, chain);
      if (chain->broken || !has_next) return;
      next = d.next;
    }
    chain->broken = true;
  }

  void WriteDescriptor(uint8_t* to, Input& input, uint16_t fitting_flag) const {
    const uint64_t address = TakeAddress(input);
    const uint32_t length = TakeLength(input);
    const uint8_t choice = input.Byte();
    const uint16_t flags = choice < 0xf0 ? choice & 7 : input.Take<uint16_t>();
    const uint8_t next = input.Byte();
    std::memcpy(to, &address, 8);
    std::memcpy(to + 8, &length, 4);
    Put16(to + 12, static_cast<uint16_t>(flags ^ fitting_flag));
    Put16(to + 14, static_cast<uint16_t>(next < 0xf0 ? next % size_ : next));
  }

  static uint16_t Get16(const uint8_t* at) {
    uint16_t word;
    std::memcpy(&word, at, sizeof(word));
    return word;
  }
  static void Put16(uint8_t* at, uint16_t word) { std::memcpy(at, &word, sizeof(word)); }
  uint16_t Index() const { return Get16(rings_.avail + 2); }

  Virtqueue::Rings rings_;
  const uint32_t size_;
  uint16_t end_;  // of what the driver has offered
  bool index_is_honest_ = true;
};

}  // namespace tsvswitch
