// A packed ring as a hostile driver writes it, and the reference for what core reads there.
//
// Where everything lies is in driver/packed_ring.h. Sources: virtio 1.2 §2.8.1, §2.8.6 to §2.8.8,
// §2.8.13, §2.8.14.

#pragma once

#include <cstdint>
#include <vector>

#include "core/ring/packed_queue.h"
#include "driver/packed_ring.h"
#include "hostile_split_ring.h"

namespace tsvswitch {

class HostilePackedRing {
 public:
  using Queue = PackedQueue;
  // A place in the ring, and how many descriptors lie between it and the first that is not used.
  struct Cursor : PackedRing::Place {
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
      if ((ring_.ReadFlags(i) & PackedRing::kUsed) != 0) return base;
    }
    return 0x8000'8000;
  }

  HostilePackedRing(const Virtqueue::Rings& rings, uint32_t size, uint32_t base)
      : ring_(rings, size, PackedRing::Place::OfWord(base)), size_(size) {}

  void MoveTo(const Virtqueue::Rings& rings) { ring_.MoveTo(rings); }
  Cursor CursorAt(uint32_t base) const { return {PackedRing::Place::OfWord(base)}; }
  uint32_t BaseOf(const Cursor& at) const { return at.Word() | uint32_t{at.Word()} << 16; }

  void Change(Input& input, const FuzzedMemory& memory, uint16_t fitting_flag) {
    switch (input.Below(6)) {
      case 0: {  // A descriptor at any place, as if it were the turn of any lap.
        const uint32_t position = input.Below(size_);
        const PackedDescriptor d = TakeBody(input);
        Write(position, d, input.Take<uint16_t>());
        return;
      }
      case 1: {  // Entries of a table; only one of their flags counts.
        PackedDescriptor entry = TakeBody(input);
        entry.flags = static_cast<uint16_t>(input.Take<uint16_t>() ^ fitting_flag);
        memory.Write(TakeAddress(input), BytesOf(entry), sizeof(entry));
        return;
      }
      case 2: {
        const uint32_t word = input.Below(2);
        ring_.WriteDriverEventWord(word, input.Take<uint16_t>());
        return;
      }
      default:  // A chain, its end marked or not.
        for (uint32_t left = 1 + input.Below(4); left > 0; --left) {
          const PackedDescriptor d = TakeBody(input);
          const uint8_t choice = input.Byte();
          uint16_t flags = PackedRing::AvailableFlags(ring_.next_avail,
                                                      left > 1 ? PackedRing::kNext : uint16_t{0});
          flags ^= choice < 0xf0 ? choice & 4 : input.Take<uint16_t>();
          Write(ring_.next_avail.position, d, static_cast<uint16_t>(flags ^ fitting_flag));
          ring_.next_avail.Step(1, size_);
        }
    }
  }

  // One buffer as an honest driver would offer it.
  void Offer(uint64_t address, uint32_t length, uint16_t flags) {
    const auto id = static_cast<uint16_t>(ring_.next_avail.position);
    ring_.Offer({{address, length}}, flags, id);
  }

  bool Offers(const Cursor& at) const { return at.passed < size_ && ring_.IsAvailable(at); }
  bool IsHonest() const { return true; }
  bool Jumped(const Cursor&) const { return false; }
  // Whether the chains from `begin` to `at` are all that the ring can hold, none being in flight.
  bool Exhausted(const Cursor& begin, const Cursor& at, uint32_t) const {
    return begin.passed == 0 && at.passed == size_;
  }

  WalkedChain Walk(Cursor* at, const WalkRules& rules) const {
    WalkedChain chain;
    for (chain.descriptors = 1;; ++chain.descriptors) {
      const PackedDescriptor d = ring_.ReadDescriptor(at->position);
      chain.id = d.id;
      chain.broken |= at->passed == size_ || !ring_.IsAvailable(*at);
      if (chain.broken) break;
      Step(at, 1);
      const bool has_next = (d.flags & PackedRing::kNext) != 0;
      if ((d.flags & PackedRing::kIndirect) != 0) {
        chain.broken = has_next || chain.descriptors > 1 || rules.TableEntries(d.bytes) == 0;
        if (!chain.broken) WalkTable(d, rules, &chain);
      } else {
        rules.Append(d.address, d.bytes, d.flags, &chain);
      }
      if (chain.broken || !has_next) break;
    }
    return chain;
  }

  // The descriptors from `at` on must say so, each chain at its first.
  void MustHaveUsed(Cursor at, const std::vector<UsedChain>& chains, const Cursor&) const {
    for (const UsedChain& chain : chains) {
      const PackedDescriptor d = ring_.ReadDescriptor(at.position);
      MUST(d.id == chain.id && d.bytes == chain.bytes);
      MUST(ring_.IsUsed(at));
      Step(&at, chain.descriptors);
    }
  }

 private:
  void Step(Cursor* at, uint32_t descriptors) const {
    at->passed += descriptors;
    at->PackedRing::Place::Step(descriptors, size_);
  }

  void WalkTable(const PackedDescriptor& table, const WalkRules& rules, WalkedChain* chain) const {
    for (uint32_t i = 0; i < table.bytes / kDescriptorBytes && !chain->broken; ++i) {
      PackedDescriptor d;
      chain->broken = !rules.ReadEntry(table.address, i, &d);
      if (chain->broken) return;
      rules.Append(d.address, d.bytes, d.flags, chain);
    }
  }

  // Everything but the flags.
  static PackedDescriptor TakeBody(Input& input) {
    PackedDescriptor d = {};
    d.address = TakeAddress(input);
    d.bytes = TakeLength(input);
    d.id = input.Byte();
    return d;
  }
  void Write(uint32_t position, const PackedDescriptor& body, uint16_t flags) {
    ring_.WriteBody(position, {body.address, body.bytes}, body.id);
    ring_.WriteFlags(position, flags);
  }

  PackedRing ring_;  // knows where the driver is
  const uint32_t size_;
};

}  // namespace tsvswitch
