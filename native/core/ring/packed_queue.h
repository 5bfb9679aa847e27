// A packed virtqueue: one ring of descriptors that both sides write. What it does is in
// virtqueue.h.
//
// The driver marks descriptors available lap by lap; the device overwrites the first descriptor of
// a chain with a used element and skips the rest. Both sides know whose turn a descriptor is by two
// flag bits and a wrap counter, so there is no index to read and none to write: the driver waits
// for exactly one descriptor, the next in its order. That is what batches rest on here: all used
// elements of a batch are written, in ring order, and only then the flags of the first. The driver
// sees the batch whole, its polling takes no cache line away while the others are written, and one
// store per batch is ordered (§2.8.9 asks for this order within a merged frame; §2.8.12 allows it
// for any).
//
// Used elements of receive buffers wait in private memory until Publish: a descriptor must not look
// used before its frame is in the buffer. Those of transmit buffers are made from the chains. With
// IN_ORDER the chains of a Return share one used element, that of the last. Receive buffers do not:
// those without an element of their own count as filled to the end.
//
// A base of 0 says that both wrap counters are 0, as they are after every second lap. Frontends
// that know split rings only say it of a fresh ring too, whose driver begins at 1 (Linux's
// virtio_uml), and both sides would wait for ever. The ring tells which of the two it is: behind a
// lap that was counted with 1 there is a used descriptor, and in a fresh ring there is none.
//
// Buffer ids are the driver's: any 16 bits go back as they came and nothing is looked up by them.
//
// Invariants:
//   1. size_ is 1..32768, any number; desc_ is mapped for that many, driver_ and device_ for one.
//   2. descriptors from next_used_ to next_avail_ are the device's, and at most size_: a chain that
//      would pass next_used_ breaks the queue, so no descriptor is taken twice.
//   3. pending_count_ chains, at most size_, are claimed and not yet published.
//
// Does not: keep order between queues, or write used elements out of ring order.
// Sources: virtio 1.2 §2.8; vhost-user "Vring descriptor indices for packed virtqueues".

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "core/ring/virtqueue.h"

namespace tsvswitch {

class PackedQueue final : public Virtqueue {
 public:
  Layout LayoutOf(uint32_t size) const override {
    return {sizeof(PvirtqDesc) * uint64_t{size}, sizeof(PvirtqEventSuppress),
            sizeof(PvirtqEventSuppress), 4};
  }
  bool Accepts(uint32_t size, uint32_t base) const override;

  void Start(const Rings& rings, uint32_t size, uint32_t base, uint64_t features) override;
  void Move(const Rings& rings) override;
  uint32_t base() const override { return next_avail_.Word() | uint32_t{next_used_.Word()} << 16; }

  // Counts no further than `wanted`; finds no violations.
  uint32_t Offered(uint32_t wanted, BreakReason* broken) override;
  uint32_t Take(uint32_t max, Chain* chains, PieceStore& pieces, BreakReason* broken) override;
  void PutBack(const Chain* chains, uint32_t count) override {
    for (uint32_t i = 0; i < count; ++i) next_avail_.Retreat(chains[i].descriptors, ring_.size);
  }
  void Return(const Chain* chains, uint32_t count) override;
  uint32_t Claim(const uint32_t* bytes, uint32_t count, Landing* landings, PieceStore& pieces,
                 BreakReason* broken) override;
  void Publish() override;
  bool TakeCommand(CommandChain* command, BreakReason* broken) override;
  void ReturnCommand(uint16_t id, uint16_t descriptors, uint32_t written) override;

  const void* WrittenDescriptors() const override { return ring_.desc; }
  bool OutOfStep() const override;
  bool CallWanted() override;
  void EnableKicks() override;
  void DisableKicks() override;

 private:
  // A place in the ring on an odd or even lap (§2.8.1).
  struct Cursor {
    uint32_t position = 0;
    bool wrap = true;

    // As in a 16-bit half of the base and in an event structure.
    static Cursor Of(uint16_t word) { return {word & 0x7fffu, (word & 0x8000) != 0}; }
    uint16_t Word() const { return static_cast<uint16_t>(position | (wrap ? 0x8000 : 0)); }

    uint16_t AvailableFlags() const { return wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED; }
    uint16_t UsedFlags() const {
      return wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : uint16_t{0};
    }
    void Advance(uint32_t descriptors, uint32_t size) {
      position += descriptors;
      if (position >= size) {
        position -= size;
        wrap = !wrap;
      }
    }
    void Retreat(uint32_t descriptors, uint32_t size) {
      if (position < descriptors) {
        position += size;
        wrap = !wrap;
      }
      position -= descriptors;
    }
  };
  // A chain as the ring knows it: `bytes` is its room or, once it is used, what was written; the
  // used element of the next chain follows after `descriptors`.
  struct Element {
    uint32_t bytes;
    uint16_t id;
    uint16_t descriptors;
  };

  // The descriptors. Loops work on a copy of their own, as those of SplitQueue do.
  struct Ring {
    PvirtqDesc Read(uint32_t position) const;
    void Write(uint32_t position, const Element& used, uint16_t flags,
               std::memory_order order) const;

    PvirtqDesc* desc = nullptr;
    uint32_t size = 0;
  };

  bool WasUsed() const;
  // How many descriptors `to` is ahead of `from`; two laps are told apart.
  uint32_t Distance(const Cursor& from, const Cursor& to) const;
  // How many descriptors are not the device's yet.
  uint32_t Room() const { return ring_.size - Distance(next_used_, next_avail_); }
  uint32_t TakePlain(Translator& translate, Chain* chains, uint32_t count, PieceStore& pieces);
  uint32_t ClaimPlain(Translator& translate, const uint32_t* bytes, uint32_t count,
                      Landing* landings);
  ClaimResult ClaimScattered(Translator& translate, uint32_t bytes, Landing& landing,
                             PieceStore& pieces, BreakReason* broken);
  template <class Append>
  BreakReason Walk(Translator& translate, Cursor at, uint32_t room, const PvirtqDesc& head,
                   Element* chain, Append append);
  template <class Append>
  BreakReason WalkTable(Translator& translate, const PvirtqDesc& table, Append append);
  BreakReason WalkChain(Translator& translate, Cursor at, uint32_t room, const PvirtqDesc& head,
                        Access access, PieceStore& pieces, Element* chain);
  template <class ElementAt>
  void WriteUsed(uint32_t count, uint16_t flags, ElementAt element_at);

  Ring ring_;
  PvirtqEventSuppress* driver_ = nullptr;  // the driver's wishes for calls
  PvirtqEventSuppress* device_ = nullptr;  // ours for kicks
  Cursor next_avail_;
  Cursor next_used_;
  Cursor called_used_;  // next_used_ when the driver was last asked about a call
  uint32_t pending_count_ = 0;
  // ring_.size of them. Left uninitialised: pages that are never used are never touched.
  std::unique_ptr<Element[]> pending_;
};

}  // namespace tsvswitch
