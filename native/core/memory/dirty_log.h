// The bitmap in which a migrating frontend learns which pages of guest memory we wrote.
//
// Bit n of byte n / 8 stands for the 4 KiB of guest memory at n * 4096. Bits are set after the
// write they speak of: a frontend that clears a bit and then copies the page can so never miss a
// write. Pages beyond the end of the bitmap are not logged. Setting a bit is one atomic
// instruction, since queues of several workers share bytes, and is left out where the bit is set
// already.
//
// Thread: any worker. Sources: vhost-user "Migration"; VHOST_USER_SET_LOG_BASE.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "core/memory/guest_memory.h"

namespace tsvswitch {

class DirtyLog {
 public:
  // `bitmap` is the mapped file; its guest address plays no part.
  explicit DirtyLog(std::shared_ptr<const MappedRegion> bitmap) : bitmap_(std::move(bitmap)) {}

  void Mark(uint64_t guest_address, uint64_t bytes) const {
    if (bytes == 0) return;
    const uint64_t last = (guest_address + bytes - 1) / kPageBytes;
    // A frame or a ring spans a few pages: callers pass no more than kChainBytesMax or a ring's
    // bytes.
    for (uint64_t page = guest_address / kPageBytes; page <= last; ++page) {
      if (page / 8 >= bitmap_->description.bytes) return;
      std::atomic_ref<uint8_t> byte(bitmap_->data[page / 8]);
      const auto bit = static_cast<uint8_t>(1u << page % 8);
      // Release: a frontend that sees the bit sees the bytes written before it.
      if ((byte.load(std::memory_order_relaxed) & bit) == 0) {
        byte.fetch_or(bit, std::memory_order_release);
      }
    }
  }

 private:
  static constexpr uint64_t kPageBytes = 4096;
  const std::shared_ptr<const MappedRegion> bitmap_;
};

}  // namespace tsvswitch
