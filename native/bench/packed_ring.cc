// Laying out a packed virtqueue in a port's memory. See packed_ring.h.

#include "packed_ring.h"

#include "failure.h"

namespace tsvswitch::bench {

namespace {

constexpr size_t kPageBytes = 4096;

}  // namespace

size_t PackedRing::MemoryBytes(uint16_t size) {
  constexpr size_t kAllocations = 3;
  return size * sizeof(pvirtq_desc) + 2 * sizeof(pvirtq_event_suppress) + kAllocations * kPageBytes;
}

PackedRing::PackedRing(PortMemory& memory, uint16_t size, const Buffers& buffers)
    : completed_(buffers.count()),
      size_(size),
      buffers_(buffers.count()),
      pieces_(buffers.pieces()) {
  const auto direction = static_cast<uint16_t>(buffers.device_writes() ? VIRTQ_DESC_F_WRITE : 0);
  for (uint16_t id = 0; id < buffers_; ++id) {
    for (uint16_t piece = 0; piece < pieces_; ++piece) {
      const Buffers::Piece bytes = buffers.PieceOf(id, piece);
      const bool is_last = piece + 1 == pieces_;
      offers_.push_back({
          .addr = bytes.guest_address,
          .back = pvirtq_desc::BackOf(
              bytes.bytes, id,
              static_cast<uint16_t>(direction | (is_last ? 0 : VIRTQ_DESC_F_NEXT))),
      });
    }
  }
  desc_ = reinterpret_cast<pvirtq_desc*>(memory.Allocate(size * sizeof(pvirtq_desc), kPageBytes));
  const auto allocate_event = [&memory] {
    return reinterpret_cast<pvirtq_event_suppress*>(
        memory.Allocate(sizeof(pvirtq_event_suppress), kPageBytes));
  };
  driver_event_ = allocate_event();
  device_event_ = allocate_event();
  driver_event_->flags = RING_EVENT_FLAGS_DISABLE;
}

void PackedRing::FailOnId(uint32_t id) const {
  Fail("the backend returned buffer %u of a packed queue of %u buffers", id, buffers_);
}

}  // namespace tsvswitch::bench
