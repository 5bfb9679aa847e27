// The virtio-net header as a driver puts it in front of a frame.
//
// Sources: virtio 1.2 §5.1.6, §5.1.6.1 (legacy interface).

#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/ring/virtio_spec.h"

namespace tsvswitch {

// num_buffers is there with VIRTIO_NET_F_MRG_RXBUF or VIRTIO_F_VERSION_1. Said once more than in
// core, so that a mistake in one of the two shows.
inline uint32_t HeaderBytes(uint64_t features) {
  constexpr uint64_t kMergeBit = uint64_t{1} << 15;
  constexpr uint64_t kVersion1Bit = uint64_t{1} << 32;
  return (features & (kMergeBit | kVersion1Bit)) != 0 ? 12 : 10;
}

// `frame` behind its header, of the length that was negotiated.
inline std::vector<uint8_t> WithHeader(const VirtioNetHdr& header, uint64_t features,
                                       const std::vector<uint8_t>& frame) {
  std::vector<uint8_t> bytes(HeaderBytes(features));
  std::memcpy(bytes.data(), &header, bytes.size());
  bytes.insert(bytes.end(), frame.begin(), frame.end());
  return bytes;
}

}  // namespace tsvswitch
