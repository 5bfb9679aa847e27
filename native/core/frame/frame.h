// A frame between its sender's buffers and its receivers', and the frames that go to one port.
//
// Addresses and the virtio header are private copies, checked; the bytes are still the sender's, in
// guest memory that may change at any time.

#pragma once

#include <cstdint>
#include <cstring>

#include "core/frame/offload.h"
#include "core/frame/slice.h"

namespace tsvswitch {

// One cache line, so that its place in a batch is a shift away.
struct alignas(64) Frame {
  uint64_t destination;  // 48-bit numbers, first byte on the wire highest
  uint64_t source;
  Slice body;  // from the Ethernet header on
  Offload offload;
};
static_assert(sizeof(Frame) == 64);

// The address at `at`, which is the first or second of an Ethernet header in private memory: eight
// bytes are there.
inline uint64_t LoadMac(const uint8_t* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return __builtin_bswap64(word) >> 16;
}

// Frames of a batch, by number, in the order in which they were taken.
struct FrameList {
  uint32_t count = 0;
  uint8_t frame[kBatchFramesMax];

  void Append(uint32_t number) { frame[count++] = static_cast<uint8_t>(number); }
};

}  // namespace tsvswitch
