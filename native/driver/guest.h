// The other side of the data plane, for tests: a guest's memory and the driver of a split
// virtqueue.
//
// GuestRam is what a frontend shares: regions of guest addresses, each a memfd of its own, mapped
// here once for the driver. Core maps the same files a second time, as it does with a real
// frontend, so the two sides never see the same pointers. User addresses differ from guest
// addresses by kUserOffset, which makes a mix-up of the two an unmapped address.
//
// SplitDriver writes descriptors, the avail ring and reads the used ring by the byte offsets of the
// specification; it shares no code and no structure with core, so that a mistake in one of them
// shows. It does what a test says, also what no honest driver does.
//
// Thread: one per guest. Sources: virtio 1.2 §2.7.5 (descriptors), §2.7.6 (avail), §2.7.8 (used).

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/control/dataplane.h"
#include "core/memory/guest_memory.h"
#include "core/ring/split_queue.h"

namespace tsvswitch {

// The process's open file descriptors.
size_t OpenFdCount();

// A file like the ones frontends share, and this process's own mapping of it.
class SharedFile {
 public:
  explicit SharedFile(uint64_t bytes);
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;
  ~SharedFile();

  // Another fd of the same file, as one arrives over a socket; the caller's to close.
  int NewFd() const;
  void Truncate(uint64_t bytes);
  uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  const uint64_t bytes_;
  int fd_;
  uint8_t* data_;
};

class GuestRam {
 public:
  static constexpr uint64_t kUserOffset = 0x7f00'0000'0000;

  struct Region {
    uint64_t guest;
    uint64_t bytes;
    uint64_t mmap_offset = 0;
  };
  explicit GuestRam(std::vector<Region> regions);
  // One region at guest address 1 MiB.
  static GuestRam OfBytes(uint64_t bytes) { return GuestRam({{1 << 20, bytes}}); }

  static UserAddress UserOf(uint64_t guest) { return UserAddress{guest + kUserOffset}; }

  // The driver's view of `bytes` in one region; a mistake of the test ends it.
  uint8_t* At(uint64_t guest, uint64_t bytes) const;
  void Write(uint64_t guest, const std::vector<uint8_t>& bytes) const;  // over borders if need be
  std::vector<uint8_t> Read(uint64_t guest, uint64_t bytes) const;

  // The next free place of `bytes` in the first region that has room.
  uint64_t Allocate(uint64_t bytes, uint64_t alignment = 1);

  std::vector<RegionWithFile> Share() const;
  RegionWithFile ShareRegion(size_t index) const;
  // Maps what Share() gives, without a data plane.
  std::shared_ptr<const GuestMemory> Map(std::atomic<uint32_t>* lost) const;
  void TruncateFile(size_t index, uint64_t bytes) { places_[index].file->Truncate(bytes); }

 private:
  struct Place {
    Region region;
    std::unique_ptr<SharedFile> file;
    uint64_t used;
  };
  std::vector<Place> places_;
};

// One descriptor as a driver means it.
struct Buffer {
  uint64_t guest;
  uint32_t bytes;
};

struct UsedEntry {
  uint32_t id;
  uint32_t bytes;
};

class SplitDriver {
 public:
  static constexpr uint16_t kNext = 1;
  static constexpr uint16_t kWrite = 2;
  static constexpr uint16_t kIndirect = 4;

  // Rings in `ram`; both indices begin at `index`.
  SplitDriver(GuestRam& ram, uint32_t size, uint16_t index = 0);

  uint32_t size() const { return size_; }
  RingAddresses addresses() const;
  // Where `memory` has these rings, for a SplitQueue without a data plane.
  SplitQueue::Rings RingsIn(const GuestMemory& memory) const;

  // Raw writes; `next` counts only with kNext.
  void WriteDescriptor(uint32_t index, const Buffer& buffer, uint16_t flags, uint16_t next = 0);
  void WriteIndirect(uint64_t table, uint32_t index, const Buffer& buffer, uint16_t flags,
                     uint16_t next = 0);
  // A direct chain in descriptors first, first + 1 and so on; `flags` is kWrite or 0.
  void WriteChain(uint32_t first, const std::vector<Buffer>& buffers, uint16_t flags);

  // Puts `head` into the avail ring; Publish() lets the device see all that were put.
  void Put(uint16_t head);
  void Publish() { PublishIndex(avail_index_); }
  void PublishIndex(uint16_t index);
  void Offer(uint16_t head) {
    Put(head);
    Publish();
  }
  uint16_t avail_index() const { return avail_index_; }
  // Takes back what was offered from `index` on; the device must be stopped there.
  void ResumeAt(uint16_t index) {
    avail_index_ = index;
    Publish();
  }

  uint16_t used_index() const;
  UsedEntry used(uint16_t position) const;
  uint16_t used_flags() const;
  uint16_t avail_event() const;

  void WriteAvailFlags(uint16_t flags);
  void WriteUsedEvent(uint16_t index);

 private:
  GuestRam& ram_;
  const uint32_t size_;
  uint64_t desc_, avail_, used_;  // guest addresses
  uint16_t avail_index_;
};

}  // namespace tsvswitch
