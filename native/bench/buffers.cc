// Placing buffers in a port's memory. See buffers.h.

#include "buffers.h"

namespace tsvswitch::bench {

namespace {

constexpr size_t kCacheLineBytes = 64;
constexpr size_t kPageBytes = 4096;

// An odd number of cache lines. With a power of two, the first lines of all buffers would share a
// few cache sets and push each other out, which pools of real drivers avoid in the same way (DPDK
// calls it cache colouring).
size_t StrideBytes(size_t buffer_bytes) {
  const size_t lines = (buffer_bytes + kCacheLineBytes - 1) / kCacheLineBytes;
  return (lines | 1) * kCacheLineBytes;
}

}  // namespace

size_t Buffers::MemoryBytes(const BufferShape& shape, uint16_t queue_size) {
  return shape.Count(queue_size) * StrideBytes(shape.buffer_bytes) + kPageBytes;
}

Buffers::Buffers(PortMemory& memory, const BufferShape& shape, uint16_t queue_size)
    : shape_(shape),
      stride_bytes_(StrideBytes(shape.buffer_bytes)),
      pieces_(shape.Pieces()),
      count_(shape.Count(queue_size)),
      base_(memory.Allocate(count_ * stride_bytes_, kPageBytes)),
      guest_base_(memory.GuestAddress(base_)),
      posted_bytes_(count_, shape.buffer_bytes) {}

}  // namespace tsvswitch::bench
