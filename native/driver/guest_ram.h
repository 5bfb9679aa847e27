// A guest's memory as a driver sees it: regions of guest addresses, each a memfd of its own, mapped
// here once for the driver.
//
// Core maps the same files a second time, as it does with a real frontend, so the two sides never
// see the same pointers. User addresses differ from guest addresses by kUserOffset, which makes a
// mix-up of the two an unmapped address.
//
// Thread: one per guest.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/control/dataplane.h"
#include "core/memory/guest_memory.h"

namespace tsvswitch {

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

  // The driver's view from `guest` to the end of its region; of no bytes if it is in none.
  Span Find(uint64_t guest) const;
  // `bytes` in one region. Who names an address that the guest does not have, ends the process.
  uint8_t* At(uint64_t guest, uint64_t bytes) const;
  // Over borders if need be.
  void Write(uint64_t guest, const uint8_t* from, uint64_t bytes) const;
  void Write(uint64_t guest, const std::vector<uint8_t>& bytes) const {
    Write(guest, bytes.data(), bytes.size());
  }
  std::vector<uint8_t> Read(uint64_t guest, uint64_t bytes) const;

  // The next free place of `bytes` in the first region that has room.
  uint64_t Allocate(uint64_t bytes, uint64_t alignment = 1);

  std::vector<RegionWithFile> Share() const;
  RegionWithFile ShareRegion(size_t index) const;
  // Maps what Share() gives, without a data plane.
  std::vector<std::shared_ptr<const MappedRegion>> MapRegions(std::atomic<uint32_t>* lost) const;
  std::shared_ptr<const GuestMemory> Map(std::atomic<uint32_t>* lost) const;
  // Where `memory`, such as Map() gives, has a part of a ring.
  static uint8_t* RingIn(const GuestMemory& memory, uint64_t guest, uint64_t bytes);
  void TruncateFile(size_t index, uint64_t bytes) { places_[index].file->Truncate(bytes); }

 private:
  struct Place {
    Region region;
    std::unique_ptr<SharedFile> file;
    uint64_t used;
  };
  std::vector<Place> places_;
};

}  // namespace tsvswitch
