// A packed ring as a hostile driver writes it, and the reference for what core reads there.
//
// Written and read by the offsets of the specification. Sources: virtio 1.2 §2.8.1, §2.8.6 to
// §2.8.8, §2.8.13, §2.8.14.

#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/ring/packed_queue.h"
#include "split_ring.h"

namespace tsvswitch {

class PackedRing {
 public:
  using Queue = PackedQueue;
  // A place in the ring, and how many descriptors lie between it and the first that is not used.
  struct Cursor {
    uint32_t position;
    bool wrap;
    uint32_t passed = 0;
  };
  static constexpr uint64_t kFeatures = VIRTIO_F_RING_PACKED;

  static uint32_t TakeSize(Input& input) { return 1 + input.Below(64); }
  // As the control plane gives it: nothing is in flight.
  static uint32_t TakeBase(Input& input, uint32_t size) {
    const uint32_t half = input.Below(size) | (input.Flag() ? 0 : 0x8000u);
    return half | half << 16;
  }

  // Where a queue goes on that is started at `base`: 0 of a ring that no device has used is its
  // beginning.
  uint32_t BaseOfStart(uint32_t base) const {
    if (base != 0) return base;
    for (uint32_t i = 0; i < size_; ++i) {
      if ((Get16(rings_.desc + 16 * i + 14) & VIRTQ_DESC_F_USED) != 0) return base;
    }
    return 0x8000'8000;
  }

  PackedRing(const Virtqueue::Rings& rings, uint32_t size, uint32_t base)
      : rings_(rings), size_(size), end_(CursorAt(base)) {
    // All of it is used, as it is after whole laps.
    Cursor at = end_;
    for (uint32_t i = 0; i < size_; ++i) {
      Put16(rings_.desc + 16 * at.position + 14, UsedFlags({at.position, !at.wrap}));
      Step(&at, 1);
    }
  }

  void MoveTo(const Virtqueue::Rings& rings) { rings_ = rings; }
  Cursor CursorAt(uint32_t base) const { return {base & 0x7fff, (base & 0x8000) != 0}; }
  uint32_t BaseOf(const Cursor& at) const {
    const uint32_t half = at.position | (at.wrap ? 0x8000u : 0);
    return half | half << 16;
  }

  void Change(Input& input, const FuzzedMemory& memory, uint16_t fitting_flag) {
    switch (input.Below(6)) {
      case 0: {  // A descriptor at any place, as if it were the turn of any lap.
        uint8_t* const at = rings_.desc + 16 * input.Below(size_);
        WriteBody(at, input);
        Put16(at + 14, input.Take<uint16_t>());
        return;
      }
      case 1: {  // Entries of a table; only one of their flags counts.
        uint8_t entry[16];
        WriteBody(entry, input);
        Put16(entry + 14, static_cast<uint16_t>(input.Take<uint16_t>() ^ fitting_flag));
        memory.Write(TakeAddress(input), entry, sizeof(entry));
        return;
      }
      case 2: Put16(rings_.avail + 2 * input.Below(2), input.Take<uint16_t>()); return;
      default:  // A chain, its end marked or not.
        for (uint32_t left = 1 + input.Below(4); left > 0; --left) {
          uint8_t* const at = rings_.desc + 16 * end_.position;
          WriteBody(at, input);
          const uint8_t choice = input.Byte();
          uint16_t flags = AvailableFlags(end_) | (left > 1 ? VIRTQ_DESC_F_NEXT : 0);
          flags ^= choice < 0xf0 ? choice & 4 : input.Take<uint16_t>();
          Put16(at + 14, static_cast<uint16_t>(flags ^ fitting_flag));
          Step(&end_, 1);
        }
    }
  }

  // One buffer as an honest driver would offer it.
  void Offer(uint64_t address, uint32_t length, uint16_t flags) {
    const Descriptor d = {address, length, static_cast<uint16_t>(end_.position),
                          static_cast<uint16_t>(flags | AvailableFlags(end_))};
    std::memcpy(rings_.desc + 16 * end_.position, &d, sizeof(d));
    Step(&end_, 1);
  }

  bool Offers(const Cursor& at) const { return at.passed < size_ && IsAvailable(at); }
  bool IsHonest() const { return true; }
  bool Jumped(const Cursor&) const { return false; }
  // Whether the chains from `begin` to `at` are all that the ring can hold, none being in flight.
  bool Exhausted(const Cursor& begin, const Cursor& at, uint32_t) const {
    return begin.passed == 0 && at.passed == size_;
  }

  WalkedChain Walk(Cursor* at, const WalkRules& rules) const {
    WalkedChain chain;
    for (chain.descriptors = 1;; ++chain.descriptors) {
      Descriptor d;
      std::memcpy(&d, rings_.desc + 16 * at->position, sizeof(d));
      chain.id = d.id;
      chain.broken |= at->passed == size_ || !IsAvailable(*at);
      if (chain.broken) break;
      Step(at, 1);
      const bool has_next = (d.flags & VIRTQ_DESC_F_NEXT) != 0;
      if ((d.flags & VIRTQ_DESC_F_INDIRECT) != 0) {
        chain.broken = has_next || chain.descriptors > 1 || rules.TableEntries(d.length) == 0;
        if (!chain.broken) WalkTable(d, rules, &chain);
      } else {
        rules.Append(d.address, d.length, d.flags, &chain);
      }
      if (chain.broken || !has_next) break;
    }
    return chain;
  }

  // The descriptors from `at` on must say so, each chain at its first.
  void MustHaveUsed(Cursor at, const std::vector<UsedChain>& chains, const Cursor&) const {
    for (const UsedChain& chain : chains) {
      Descriptor d;
      std::memcpy(&d, rings_.desc + 16 * at.position, sizeof(d));
      MUST(d.id == chain.id && d.length == chain.bytes);
      MUST((d.flags & kOwner) == UsedFlags(at));
      Step(&at, chain.descriptors);
    }
  }

 private:
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t id;
    uint16_t flags;
  };
  static constexpr uint16_t kAvail = 1 << 7;
  static constexpr uint16_t kUsed = 1 << 15;
  static constexpr uint16_t kOwner = kAvail | kUsed;

  static uint16_t AvailableFlags(const Cursor& at) { return at.wrap ? kAvail : kUsed; }
  static uint16_t UsedFlags(const Cursor& at) { return at.wrap ? kOwner : uint16_t{0}; }
  bool IsAvailable(const Cursor& at) const {
    uint16_t flags;
    std::memcpy(&flags, rings_.desc + 16 * at.position + 14, sizeof(flags));
    return (flags & kOwner) == AvailableFlags(at);
  }
  void Step(Cursor* at, uint32_t descriptors) const {
    for (; descriptors > 0; --descriptors) {
      ++at->passed;
      if (++at->position < size_) continue;
      at->position = 0;
      at->wrap = !at->wrap;
    }
  }

  void WalkTable(const Descriptor& table, const WalkRules& rules, WalkedChain* chain) const {
    for (uint32_t i = 0; i < table.length / 16 && !chain->broken; ++i) {
      uint8_t bytes[16];
      chain->broken = !rules.memory.Read(table.address + 16 * i, bytes, sizeof(bytes));
      if (chain->broken) return;
      Descriptor d;
      std::memcpy(&d, bytes, sizeof(d));
      rules.Append(d.address, d.length, d.flags, chain);
    }
  }

  // Everything but the flags.
  static void WriteBody(uint8_t* to, Input& input) {
    const uint64_t address = TakeAddress(input);
    const uint32_t length = TakeLength(input);
    std::memcpy(to, &address, 8);
    std::memcpy(to + 8, &length, 4);
    Put16(to + 12, input.Byte());
  }
  static uint16_t Get16(const uint8_t* at) {
    uint16_t word;
    std::memcpy(&word, at, sizeof(word));
    return word;
  }
  static void Put16(uint8_t* at, uint16_t word) { std::memcpy(at, &word, sizeof(word)); }

  Virtqueue::Rings rings_;
  const uint32_t size_;
  Cursor end_;  // of what the driver has offered
};

}  // namespace tsvswitch
