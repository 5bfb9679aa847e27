// Guest memory for fuzz targets: mapped once, laid out so that every border can be met, and wiped
// for each input.
//
// Two regions touch, so a buffer may go on in another mapping; one ends in the middle of a page;
// one lies at the top of the address space; the largest holds the longest frame. What is mapped
// beyond a region's end is poisoned: whoever touches it ends the run. The driver reads and writes
// through a mapping of its own. Core translates through its own table; the search here is a plain
// one over the list below, for what core finds to be compared with.

#pragma once

#include <sanitizer/asan_interface.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "core/memory/guest_memory.h"
#include "core/ring/chain.h"
#include "driver/guest_ram.h"
#include "input.h"

namespace tsvswitch {

class FuzzedMemory {
 public:
  // Sizes are multiples of 8, which is as fine as poison goes.
  static constexpr std::array<GuestRam::Region, 4> kRegions = {
      {{0x1000, 0x2000}, {0x3000, 0x808}, {0x10000, 0x11000}, {0xffff'ffff'ffff'0000, 0x1000}}};

  FuzzedMemory() : ram_({kRegions.begin(), kRegions.end()}) {
    std::vector<std::shared_ptr<const MappedRegion>> mapped = ram_.MapRegions(&lost_);
    for (size_t i = 0; i < kRegions.size(); ++i) {
      uint8_t* const end = mapped[i]->data + kRegions[i].bytes;
      const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
      ASAN_POISON_MEMORY_REGION(end, (page - kRegions[i].bytes % page) % page);
      data_.push_back(mapped[i]->data);
    }
    MUST(GuestMemory::Build(std::move(mapped), &memory_) == MapResult::kOk);
  }

  const std::shared_ptr<const GuestMemory>& memory() const { return memory_; }
  // Where core has a region.
  uint8_t* data(size_t region) const { return data_[region]; }

  // So that an input finds nothing of an earlier one.
  void Wipe() {
    for (const GuestRam::Region& region : kRegions) {
      std::memset(ram_.At(region.guest, region.bytes), 0, region.bytes);
    }
  }

  // Where core must find the byte at a guest address, and how many follow it there; none if it is
  // nowhere.
  Span Find(uint64_t address) const {
    for (size_t i = 0; i < kRegions.size(); ++i) {
      const uint64_t offset = address - kRegions[i].guest;
      if (offset < kRegions[i].bytes) return {data_[i] + offset, kRegions[i].bytes - offset};
    }
    return {nullptr, 0};
  }
  // False if not all of it is somewhere.
  bool Read(uint64_t address, uint8_t* to, uint64_t bytes) const {
    for (uint64_t i = 0; i < bytes; ++i) {
      const Span at = ram_.Find(address + i);
      if (at.bytes == 0) return false;
      to[i] = *at.data;
    }
    return true;
  }
  // What of it is somewhere.
  void Write(uint64_t address, const uint8_t* from, uint64_t bytes) const {
    for (uint64_t i = 0; i < bytes; ++i) {
      const Span at = ram_.Find(address + i);
      if (at.bytes != 0) *at.data = from[i];
    }
  }

 private:
  const GuestRam ram_;
  std::atomic<uint32_t> lost_{0};
  std::vector<uint8_t*> data_;
  std::shared_ptr<const GuestMemory> memory_;
};

// An address as a guest may choose it: mostly in a region or close to its end, sometimes any.
inline uint64_t TakeAddress(Input& input) {
  const uint8_t choice = input.Byte();
  if (choice >= 0xf0) return input.Take<uint64_t>();
  const GuestRam::Region& region = FuzzedMemory::kRegions[choice % FuzzedMemory::kRegions.size()];
  const uint64_t offset = input.Take<uint16_t>();
  // Every other one counts from the end, where things go wrong.
  return (choice & 0x10) != 0 ? region.guest + region.bytes - offset % 64 : region.guest + offset;
}

// A length likewise.
inline uint32_t TakeLength(Input& input) {
  switch (input.Below(8)) {
    case 0: return input.Take<uint32_t>();
    case 1: return kChainBytesMax - 8 + input.Below(16);
    case 2: return 16 * input.Below(80);  // what a table is long
    case 3: return input.Take<uint16_t>();
    default: return input.Byte();
  }
}

}  // namespace tsvswitch
