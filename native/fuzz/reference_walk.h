// What a descriptor chain comes to, by the words of the specification: the slow and obvious
// counterpart of core/ring/chain.cc, that both ring formats' references build on.
//
// Nothing of core is used but the limits it publishes. Sources: virtio 1.2 §2.7.5, §2.8.7.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/ring/chain.h"
#include "driver/descriptor.h"
#include "fuzzed_memory.h"

namespace tsvswitch {

// Bytes in a row, in as few parts as there can be: two lists of the same bytes are equal.
class Parts {
 public:
  void Add(uint8_t* data, uint64_t bytes) {
    if (bytes == 0) return;
    if (!parts_.empty() && parts_.back().data + parts_.back().bytes == data) {
      parts_.back().bytes += static_cast<uint32_t>(bytes);
    } else {
      parts_.push_back({data, static_cast<uint32_t>(bytes)});
    }
  }
  // No more than the first `bytes` of `others`.
  void Add(const Piece* others, uint32_t count, uint64_t bytes) {
    for (uint32_t i = 0; i < count && bytes > 0; ++i) {
      const uint64_t part = std::min<uint64_t>(others[i].bytes, bytes);
      Add(others[i].data, part);
      bytes -= part;
    }
  }
  void Add(const Parts& others, uint64_t bytes) {
    Add(others.parts_.data(), static_cast<uint32_t>(others.parts_.size()), bytes);
  }
  bool operator==(const Parts& other) const {
    return std::equal(
        parts_.begin(), parts_.end(), other.parts_.begin(), other.parts_.end(),
        [](const Piece& a, const Piece& b) { return a.data == b.data && a.bytes == b.bytes; });
  }

 private:
  std::vector<Piece> parts_;
};

struct WalkedChain {
  bool broken = false;
  uint16_t id = 0;
  uint32_t descriptors = 1;  // of a packed ring: how many it takes up there
  uint32_t bytes = 0;
  Parts parts;
};

// What is the same for a descriptor in a ring and one in a table, of either format.
struct WalkRules {
  const FuzzedMemory& memory;
  uint32_t size;
  bool indirect;
  Access access;

  void Append(uint64_t address, uint32_t length, uint16_t flags, WalkedChain* chain) const {
    const bool writes = (flags & DescriptorFlags::kWrite) != 0;
    if (writes != (access == Access::kDeviceWrites)) chain->broken = true;
    while (!chain->broken && length > 0 && chain->bytes <= kChainBytesMax) {
      const Span at = memory.Find(address);
      chain->broken = at.bytes == 0;
      const uint64_t part =
          std::min<uint64_t>({at.bytes, length, kChainBytesMax + 1 - chain->bytes});
      chain->parts.Add(at.data, part);
      chain->bytes += static_cast<uint32_t>(part);
      address += part;
      length -= static_cast<uint32_t>(part);
    }
  }
  // An entry of an indirect table; false if not all of it is mapped.
  template <class Descriptor>
  bool ReadEntry(uint64_t table, uint32_t index, Descriptor* entry) const {
    uint8_t bytes[kDescriptorBytes];
    if (!memory.Read(table + kDescriptorBytes * uint64_t{index}, bytes, sizeof(bytes)))
      return false;
    *entry = ReadDescriptorAt<Descriptor>(bytes);
    return true;
  }
  // How many descriptors a table of `length` bytes has; 0 if it can be none.
  uint32_t TableEntries(uint32_t length) const {
    return indirect && length % kDescriptorBytes == 0 && length / kDescriptorBytes <= size
               ? length / kDescriptorBytes
               : 0;
  }
};

}  // namespace tsvswitch
