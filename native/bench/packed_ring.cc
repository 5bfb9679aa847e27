// Laying out a packed virtqueue in a port's memory. See packed_ring.h.

#include "packed_ring.h"

#include "failure.h"

namespace tsvswitch::bench {

namespace {

constexpr size_t kPageBytes = 4096;

}  // namespace

size_t PackedRing::MemoryBytes(uint16_t size) {
  constexpr size_t kAllocations = 3;
  return size * sizeof(pvirtq_desc) + 2 * sizeof(pvirtq_event_suppress) +
         kAllocations * kPageBytes;
}

PackedRing::PackedRing(PortMemory& memory, uint16_t size, const Buffers& buffers)
    : buffers_(buffers),
      size_(size),
      pieces_(buffers.pieces()),
      direction_(buffers.device_writes() ? VIRTQ_DESC_F_WRITE : 0) {
  desc_ = reinterpret_cast<pvirtq_desc*>(memory.Allocate(size * sizeof(pvirtq_desc), kPageBytes));
  const auto allocate_event = [&memory] {
    return reinterpret_cast<pvirtq_event_suppress*>(
        memory.Allocate(sizeof(pvirtq_event_suppress), kPageBytes));
  };
  driver_event_ = allocate_event();
  device_event_ = allocate_event();
  driver_event_->flags = RING_EVENT_FLAGS_DISABLE;
}

void PackedRing::FailOnId(uint16_t id) const {
  Fail("the backend returned buffer %u of a packed queue of %u buffers", id, buffers_.count());
}

}  // namespace tsvswitch::bench
