// Laying out a split virtqueue in a port's memory. See split_ring.h.

#include "split_ring.h"

#include "failure.h"

namespace tsvswitch::bench {

namespace {

constexpr size_t kPageBytes = 4096;

size_t AvailBytes(uint16_t size) { return sizeof(virtq_avail) + (size + 1U) * sizeof(uint16_t); }

size_t UsedBytes(uint16_t size) {
  return sizeof(virtq_used) + size * sizeof(virtq_used_elem) + sizeof(uint16_t);
}

}  // namespace

size_t SplitRing::MemoryBytes(uint16_t size) {
  constexpr size_t kAllocations = 3;
  return size * sizeof(virtq_desc) + AvailBytes(size) + UsedBytes(size) + kAllocations * kPageBytes;
}

SplitRing::SplitRing(PortMemory& memory, uint16_t size, const Buffers& buffers)
    : size_(size), mask_(static_cast<uint16_t>(size - 1)), buffers_(buffers.count()) {
  desc_ = reinterpret_cast<virtq_desc*>(memory.Allocate(size * sizeof(virtq_desc), kPageBytes));
  avail_ = reinterpret_cast<virtq_avail*>(memory.Allocate(AvailBytes(size), kPageBytes));
  used_ = reinterpret_cast<virtq_used*>(memory.Allocate(UsedBytes(size), kPageBytes));
  const auto direction = static_cast<uint16_t>(buffers.device_writes() ? VIRTQ_DESC_F_WRITE : 0);
  uint16_t further = buffers_;  // The next descriptor for a piece that is not the first.
  for (uint16_t id = 0; id < buffers_; ++id) {
    uint16_t at = id;
    for (uint16_t piece = 0; piece < buffers.pieces(); ++piece) {
      const bool is_last = piece + 1 == buffers.pieces();
      const Buffers::Piece bytes = buffers.PieceOf(id, piece);
      desc_[at] = {
          .addr = bytes.guest_address,
          .len = bytes.bytes,
          .flags = static_cast<uint16_t>(direction | (is_last ? 0 : VIRTQ_DESC_F_NEXT)),
          .next = is_last ? uint16_t{0} : further,
      };
      if (!is_last) at = further++;
    }
  }
  avail_->flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
}

void SplitRing::FailOnIndex(uint16_t index) const {
  Fail("the backend set a used index of %u where at most %u was possible", index,
       static_cast<uint16_t>(next_used_ + buffers_));
}

void SplitRing::FailOnId(uint32_t id) const {
  Fail("the backend returned descriptor %u of a queue of %u buffers", id, buffers_);
}

}  // namespace tsvswitch::bench
