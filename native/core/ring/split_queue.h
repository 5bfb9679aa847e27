// A split virtqueue: descriptor table, avail ring and used ring. What it does is in virtqueue.h.
//
// Invariants:
//   1. ring_.size is a power of two, 1..32768; desc, avail, used are mapped for that many entries.
//   2. next_avail_ - (used index published) = chains taken and not returned, at most ring_.size.
//   3. used entries are written before the used index.
//
// With IN_ORDER the chains of a Return share one used entry, that of the last. Receive buffers do
// not: those without an entry of their own count as filled to the end.
//
// Sources: virtio 1.2 §2.7, in order §2.7.9.

#pragma once

#include <cstdint>

#include "core/ring/virtqueue.h"

namespace tsvswitch {

class SplitQueue final : public Virtqueue {
 public:
  static uint64_t DescBytes(uint32_t size) { return sizeof(VirtqDesc) * uint64_t{size}; }
  static uint64_t AvailBytes(uint32_t size) { return 6 + 2 * uint64_t{size}; }
  static uint64_t UsedBytes(uint32_t size) { return 6 + sizeof(VirtqUsedElem) * uint64_t{size}; }

  Layout LayoutOf(uint32_t size) const override {
    return {DescBytes(size), AvailBytes(size), UsedBytes(size), 2};
  }
  bool Accepts(uint32_t size, uint32_t base) const override {
    return size != 0 && size <= kQueueSizeMax && (size & (size - 1)) == 0 && base <= UINT16_MAX;
  }

  // `base` is the next avail index to take and, nothing being in flight, the used index to write
  // next.
  void Start(const Rings& rings, uint32_t size, uint32_t base, uint64_t features) override;
  void Move(const Rings& rings) override;
  uint32_t base() const override { return next_avail_; }

  // Reads the avail index only if fewer than `wanted` chains are known. kAvailIndexJump shows here.
  uint32_t Offered(uint32_t wanted, BreakReason* broken) override;
  uint32_t Take(uint32_t max, Chain* chains, PieceStore& pieces, BreakReason* broken) override;
  void PutBack(const Chain*, uint32_t count) override {
    next_avail_ = static_cast<uint16_t>(next_avail_ - count);
  }
  void Return(const Chain* chains, uint32_t count) override;
  uint32_t Claim(const uint32_t* bytes, uint32_t count, Landing* landings, PieceStore& pieces,
                 BreakReason* broken) override;
  void Publish() override;
  bool TakeCommand(CommandChain* command, BreakReason* broken) override;
  void ReturnCommand(uint16_t id, uint16_t descriptors, uint32_t written) override;

  bool CallWanted() override;
  void EnableKicks() override;
  void DisableKicks() override;

 private:
  // Where the three parts are. Loops work on a copy of their own, which stays in registers: members
  // would be read again after every write to memory that could be theirs.
  struct Ring {
    uint16_t HeadAt(uint32_t position) const;
    VirtqDesc DescAt(uint32_t index) const;
    void WriteUsed(uint32_t position, uint32_t id, uint32_t bytes) const;

    VirtqDesc* desc = nullptr;
    VirtqAvail* avail = nullptr;
    VirtqUsed* used = nullptr;
    uint32_t size = 0;
    uint32_t mask = 0;
  };

  uint32_t TakeHeads(uint32_t count, Chain* chains, BreakReason* broken) const;
  uint32_t TakePlain(Translator& translate, Chain* chains, uint32_t count,
                     PieceStore& pieces) const;
  uint32_t ClaimPlain(Translator& translate, const uint32_t* bytes, uint32_t count,
                      Landing* landings);
  ClaimResult ClaimScattered(Translator& translate, uint32_t bytes, Landing& landing,
                             PieceStore& pieces, BreakReason* broken);
  template <class Append>
  BreakReason Walk(Translator& translate, const VirtqDesc& head, Append append);
  BreakReason WalkChain(Translator& translate, const VirtqDesc& head, Access access,
                        PieceStore& pieces, uint32_t* bytes);
  uint16_t* used_event() const { return &ring_.avail->ring[ring_.size]; }
  uint16_t* avail_event() const;

  Ring ring_;
  uint16_t next_avail_ = 0;  // position in the avail ring to take next
  uint16_t seen_avail_ = 0;  // the driver's avail index as last read
  uint16_t next_used_ = 0;   // position in the used ring to write next
  uint16_t published_used_ = 0;
  uint16_t called_used_ = 0;  // used index when the driver was last asked about a call
};

}  // namespace tsvswitch
