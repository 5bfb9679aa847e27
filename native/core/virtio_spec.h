// The layouts and constants of the virtio specification, spelled as there, and nothing else.
//
// Sources: virtio 1.2 §2.7 (split virtqueues), §5.1.3 (network feature bits), §5.1.6 (header).
// All fields are little-endian; this project runs on little-endian machines only (checked below).

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace tsvswitch {

static_assert(std::endian::native == std::endian::little);

// §2.7.5
inline constexpr uint16_t VIRTQ_DESC_F_NEXT = 1;
inline constexpr uint16_t VIRTQ_DESC_F_WRITE = 2;
inline constexpr uint16_t VIRTQ_DESC_F_INDIRECT = 4;

struct VirtqDesc {
  uint64_t addr;
  uint32_t len;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(VirtqDesc) == 16);

// §2.7.6: flags, idx, ring[size], used_event
inline constexpr uint16_t VIRTQ_AVAIL_F_NO_INTERRUPT = 1;

struct VirtqAvail {
  uint16_t flags;
  uint16_t idx;
  uint16_t ring[];
};

// §2.7.8: flags, idx, ring[size], avail_event
inline constexpr uint16_t VIRTQ_USED_F_NO_NOTIFY = 1;

struct VirtqUsedElem {
  uint32_t id;
  uint32_t len;
};

struct VirtqUsed {
  uint16_t flags;
  uint16_t idx;
  VirtqUsedElem ring[];
};
static_assert(offsetof(VirtqUsed, ring) == 4);

inline constexpr uint32_t kQueueSizeMax = 32768;

// §5.1.6. A legacy driver without VIRTIO_NET_F_MRG_RXBUF leaves out num_buffers.
inline constexpr uint8_t VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
inline constexpr uint8_t VIRTIO_NET_HDR_GSO_NONE = 0;

struct VirtioNetHdr {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len;
  uint16_t gso_size;
  uint16_t csum_start;
  uint16_t csum_offset;
  uint16_t num_buffers;
};
static_assert(sizeof(VirtioNetHdr) == 12);

inline constexpr uint64_t FeatureBit(unsigned bit) { return uint64_t{1} << bit; }
inline constexpr uint64_t VIRTIO_NET_F_MRG_RXBUF = FeatureBit(15);
inline constexpr uint64_t VIRTIO_F_INDIRECT_DESC = FeatureBit(28);
inline constexpr uint64_t VIRTIO_F_EVENT_IDX = FeatureBit(29);
inline constexpr uint64_t VIRTIO_F_VERSION_1 = FeatureBit(32);

// Bytes of header in front of every frame, as one function of the negotiated bits (§5.1.6.1).
inline constexpr uint32_t NetHeaderBytes(uint64_t features) {
  return (features & (VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF)) != 0 ? 12 : 10;
}

}  // namespace tsvswitch
