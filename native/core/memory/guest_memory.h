// Guest memory: the regions a frontend shared, mapped here, and the translation of addresses.
//
// Three kinds of address never mix: GuestAddress (what the driver writes into descriptors),
// UserAddress (where the frontend process has the same bytes; ring addresses are of this kind) and
// plain pointers into our mappings. Address and length are always translated together, and a result
// is what lies contiguous here: a buffer may span regions, and its pieces come one by one.
//
// A GuestMemory is immutable once built. The control thread builds a new one aside and puts it in
// place between two rounds, so that workers read it without a lock.
//
// Sources: vhost-user "Memory region description"; virtio 1.2 §2.7.5.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/platform/checks.h"
#include "core/platform/sigbus.h"

namespace tsvswitch {

enum class GuestAddress : uint64_t {};
enum class UserAddress : uint64_t {};

inline constexpr uint32_t kMemorySlotsMax = 509;

struct RegionDescription {
  GuestAddress guest;
  uint64_t bytes;
  UserAddress user;
  uint64_t mmap_offset;
};

// Host memory that is contiguous; bytes == 0 means that the address is in no region.
struct Span {
  uint8_t* data;
  uint64_t bytes;
};

enum class MapResult {
  kOk,
  kEmpty,         // zero bytes
  kWraps,         // an end address or file offset passes 2^64
  kOverlaps,      // guest or user addresses of two regions overlap
  kTooMany,       // more than kMemorySlotsMax regions
  kNotAFile,      // fstat says there is nothing to map
  kFileTooSmall,  // the file ends before the region does
  kMmapFailed,    // errno says why
  kNoSuchRegion,  // only from Without()
};

// One mapped region. Unmaps when destroyed.
class MappedRegion {
 public:
  // Takes the fd: it is closed when this returns, mapped or not. `lost` is raised on SIGBUS.
  static MapResult Map(const RegionDescription& description, int fd, std::atomic<uint32_t>* lost,
                       std::shared_ptr<const MappedRegion>* region);
  ~MappedRegion();

  const RegionDescription description;
  uint8_t* const data;  // where the byte at description.guest is

 private:
  MappedRegion(const RegionDescription& d, uint8_t* data, void* map_begin, size_t map_bytes,
               std::atomic<uint32_t>* lost);
  void* const map_begin_;
  const size_t map_bytes_;
  SigbusGuard guard_;
};

class GuestMemory {
 public:
  GuestMemory() = default;

  // Regions may come in any order. `memory` is written only on kOk.
  static MapResult Build(std::vector<std::shared_ptr<const MappedRegion>> regions,
                         std::shared_ptr<const GuestMemory>* memory);
  MapResult With(std::shared_ptr<const MappedRegion> region,
                 std::shared_ptr<const GuestMemory>* memory) const;
  // Removes the region with these guest and user addresses and size (the offset does not count).
  MapResult Without(const RegionDescription& description,
                    std::shared_ptr<const GuestMemory>* memory) const;

  // The whole of a ring part, or nullptr if it does not lie in one region.
  uint8_t* TranslateRing(UserAddress address, uint64_t bytes) const;

  // The guest address of a byte that lies in one of our mappings; kNoGuestAddress if in none.
  static constexpr uint64_t kNoGuestAddress = ~uint64_t{0};
  uint64_t GuestAddressOf(const uint8_t* data) const;

  size_t region_count() const { return regions_.size(); }

 private:
  friend class Translator;
  struct Entry {
    uint64_t guest;
    uint64_t bytes;
    uint8_t* data;
  };
  // The entry that holds `address`, or one of zero bytes.
  Entry Find(uint64_t address) const;

  std::vector<Entry> table_;    // sorted by guest address, no overlaps
  std::vector<Entry> by_data_;  // the same, sorted by where it is mapped here
  Entry largest_ = {0, 0, nullptr};
  std::vector<std::shared_ptr<const MappedRegion>> regions_;
};

// Translates guest addresses for one batch. Remembers the region used last, in registers where the
// compiler can, since buffers of one guest mostly lie in one region: at first the largest.
class Translator {
 public:
  explicit Translator(const GuestMemory& memory) : memory_(memory), entry_(memory.largest_) {}

  // What lies contiguous from `address` on, at most `bytes`.
  Span operator()(uint64_t address, uint64_t bytes) {
    uint64_t offset = address - entry_.guest;
    if (offset >= entry_.bytes) [[unlikely]] {
      entry_ = memory_.Find(address);
      offset = address - entry_.guest;
      if (entry_.bytes == 0) return {nullptr, 0};
    }
    const uint64_t left = entry_.bytes - offset;
    return {entry_.data + offset, !kChecks || bytes < left ? bytes : left};
  }

  // Copies `bytes` from guest memory, over region borders if need be; false if not all is mapped.
  bool Read(uint64_t address, void* to, uint32_t bytes);

 private:
  const GuestMemory& memory_;
  GuestMemory::Entry entry_;
};

}  // namespace tsvswitch
