// Laying out a split virtqueue and its buffers in a port's memory. See split_ring.h.

#include "split_ring.h"

#include "failure.h"

namespace tsvswitch::bench {

namespace {

constexpr size_t kCacheLineBytes = 64;
constexpr size_t kPageBytes = 4096;

// An odd number of cache lines. With a power of two, the first lines of all buffers would share a few
// cache sets and push each other out, which pools of real drivers avoid in the same way (DPDK calls it
// cache colouring).
size_t StrideBytes(size_t buffer_bytes) {
  const size_t lines = (buffer_bytes + kCacheLineBytes - 1) / kCacheLineBytes;
  return (lines | 1) * kCacheLineBytes;
}

size_t AvailBytes(uint16_t size) { return sizeof(virtq_avail) + (size + 1U) * sizeof(uint16_t); }

size_t UsedBytes(uint16_t size) {
  return sizeof(virtq_used) + size * sizeof(virtq_used_elem) + sizeof(uint16_t);
}

}  // namespace

size_t SplitRing::MemoryBytes(uint16_t size, size_t buffer_bytes) {
  constexpr size_t kAllocations = 4;
  return size * sizeof(virtq_desc) + AvailBytes(size) + UsedBytes(size) +
         size * StrideBytes(buffer_bytes) + kAllocations * kPageBytes;
}

SplitRing::SplitRing(PortMemory& memory, uint16_t size, size_t buffer_bytes, size_t posted_bytes,
                     BufferUse use)
    : stride_bytes_(StrideBytes(buffer_bytes)),
      size_(size),
      mask_(static_cast<uint16_t>(size - 1)) {
  desc_ = reinterpret_cast<virtq_desc*>(memory.Allocate(size * sizeof(virtq_desc), kPageBytes));
  avail_ = reinterpret_cast<virtq_avail*>(memory.Allocate(AvailBytes(size), kPageBytes));
  used_ = reinterpret_cast<virtq_used*>(memory.Allocate(UsedBytes(size), kPageBytes));
  buffers_ = memory.Allocate(size * stride_bytes_, kPageBytes);
  for (uint16_t id = 0; id < size; ++id) {
    desc_[id] = {
        .addr = memory.GuestAddress(Buffer(id)),
        .len = static_cast<uint32_t>(posted_bytes),
        .flags = static_cast<uint16_t>(use == BufferUse::kDeviceWrites ? VIRTQ_DESC_F_WRITE : 0),
        .next = 0,
    };
  }
  avail_->flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
}

void SplitRing::FailOnIndex(uint16_t index) const {
  Fail("the backend set a used index of %u where at most %u was possible", index,
       static_cast<uint16_t>(next_used_ + size_));
}

void SplitRing::FailOnId(uint32_t id) const {
  Fail("the backend returned descriptor %u of a queue of %u", id, size_);
}

}  // namespace tsvswitch::bench
