// The memory that one port shares with the backend: one file, mapped once, for rings and buffers.
//
// It is an anonymous file on huge pages when enough are free (MFD_HUGETLB, so no hugetlbfs mount is
// needed), else an ordinary memfd. Guest addresses are offsets from kGuestBase, not pointers, so a
// backend that mixes up guest and user addresses is found out at once.

#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tsvswitch::bench {

enum class MemoryKind { kHugetlbfs, kMemfd };

const char* Name(MemoryKind kind);

class PortMemory {
 public:
  static constexpr uint64_t kGuestBase = uint64_t{1} << 32;

  // Whether `size_bytes` on huge pages can be had now.
  static bool HugePagesSuffice(size_t size_bytes);

  // Maps and touches `size_bytes`, rounded up to whole huge pages; fails with a sentence.
  PortMemory(MemoryKind kind, size_t size_bytes);
  PortMemory(const PortMemory&) = delete;
  PortMemory& operator=(const PortMemory&) = delete;
  ~PortMemory();

  // The next `size_bytes` of the file, zeroed. The alignment is a power of two.
  uint8_t* Allocate(size_t size_bytes, size_t alignment_bytes);

  uint64_t GuestAddress(const void* pointer) const {
    return kGuestBase + UserAddress(pointer) - UserAddress(base_);
  }
  static uint64_t UserAddress(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

  int fd() const { return fd_; }
  size_t size_bytes() const { return size_bytes_; }
  uint64_t user_base() const { return UserAddress(base_); }

 private:
  int fd_ = -1;
  size_t size_bytes_;
  uint8_t* base_ = nullptr;
  size_t allocated_bytes_ = 0;
};

}  // namespace tsvswitch::bench
