// Descriptors of both ring formats, as their 16 bytes lie in a ring or in an indirect table, and
// words that driver and device share.
//
// Written down anew and not taken from core, so that a mistake in one of the two shows.
// Sources: virtio 1.2 §2.7.5, §2.8.13.

#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

namespace tsvswitch {

// A part of guest memory that a driver has a descriptor for.
struct Buffer {
  uint64_t guest;
  uint32_t bytes;
};

inline constexpr uint32_t kDescriptorBytes = 16;

// Flags that both formats have.
struct DescriptorFlags {
  static constexpr uint16_t kNext = 1;
  static constexpr uint16_t kWrite = 2;
  static constexpr uint16_t kIndirect = 4;
};

struct SplitDescriptor {
  uint64_t address;
  uint32_t bytes;
  uint16_t flags;
  uint16_t next;  // counts only with kNext
};
static_assert(sizeof(SplitDescriptor) == kDescriptorBytes);

struct PackedDescriptor {
  uint64_t address;
  uint32_t bytes;
  uint16_t id;
  uint16_t flags;
};
static_assert(sizeof(PackedDescriptor) == kDescriptorBytes);

template <class Descriptor>
Descriptor ReadDescriptorAt(const uint8_t* at) {
  Descriptor descriptor;
  std::memcpy(&descriptor, at, sizeof(descriptor));
  return descriptor;
}
template <class Descriptor>
const uint8_t* BytesOf(const Descriptor& descriptor) {
  static_assert(sizeof(Descriptor) == kDescriptorBytes);
  return reinterpret_cast<const uint8_t*>(&descriptor);
}

// A word that the other side may read or write at the same time; rings align theirs.
template <class Word>
std::atomic_ref<Word> WordAt(uint8_t* at) {
  return std::atomic_ref<Word>(*reinterpret_cast<Word*>(at));
}

}  // namespace tsvswitch
