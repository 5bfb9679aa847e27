// The layouts and constants of the virtio specification, spelled as there, and nothing else.
//
// Sources: virtio 1.2 §2.7 (split virtqueues), §2.8 (packed virtqueues), §5.1.3 (network feature
// bits), §5.1.6 (header).
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

// §2.8.1, §2.8.13
inline constexpr uint16_t VIRTQ_DESC_F_AVAIL = 1 << 7;
inline constexpr uint16_t VIRTQ_DESC_F_USED = 1 << 15;

struct PvirtqDesc {
  uint64_t addr;
  uint32_t len;
  uint16_t id;
  uint16_t flags;
};
static_assert(sizeof(PvirtqDesc) == 16);

// §2.8.10, §2.8.14: desc is offset and, in its highest bit, wrap counter.
inline constexpr uint16_t RING_EVENT_FLAGS_ENABLE = 0;
inline constexpr uint16_t RING_EVENT_FLAGS_DISABLE = 1;
inline constexpr uint16_t RING_EVENT_FLAGS_DESC = 2;

struct PvirtqEventSuppress {
  uint16_t desc;
  uint16_t flags;
};
static_assert(sizeof(PvirtqEventSuppress) == 4);

// Of both formats.
inline constexpr uint32_t kQueueSizeMax = 32768;

// §5.1.6. A legacy driver without VIRTIO_NET_F_MRG_RXBUF leaves out num_buffers.
inline constexpr uint8_t VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
inline constexpr uint8_t VIRTIO_NET_HDR_F_DATA_VALID = 2;
inline constexpr uint8_t VIRTIO_NET_HDR_F_RSC_INFO = 4;
inline constexpr uint8_t VIRTIO_NET_HDR_GSO_NONE = 0;
inline constexpr uint8_t VIRTIO_NET_HDR_GSO_TCPV4 = 1;
inline constexpr uint8_t VIRTIO_NET_HDR_GSO_UDP = 3;
inline constexpr uint8_t VIRTIO_NET_HDR_GSO_TCPV6 = 4;
inline constexpr uint8_t VIRTIO_NET_HDR_GSO_UDP_L4 = 5;
inline constexpr uint8_t VIRTIO_NET_HDR_GSO_ECN = 0x80;

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
inline constexpr uint64_t VIRTIO_NET_F_CSUM = FeatureBit(0);
inline constexpr uint64_t VIRTIO_NET_F_GUEST_CSUM = FeatureBit(1);
inline constexpr uint64_t VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = FeatureBit(2);
inline constexpr uint64_t VIRTIO_NET_F_GUEST_TSO4 = FeatureBit(7);
inline constexpr uint64_t VIRTIO_NET_F_GUEST_TSO6 = FeatureBit(8);
inline constexpr uint64_t VIRTIO_NET_F_GUEST_ECN = FeatureBit(9);
inline constexpr uint64_t VIRTIO_NET_F_GUEST_UFO = FeatureBit(10);
inline constexpr uint64_t VIRTIO_NET_F_HOST_TSO4 = FeatureBit(11);
inline constexpr uint64_t VIRTIO_NET_F_HOST_TSO6 = FeatureBit(12);
inline constexpr uint64_t VIRTIO_NET_F_HOST_ECN = FeatureBit(13);
inline constexpr uint64_t VIRTIO_NET_F_HOST_UFO = FeatureBit(14);
inline constexpr uint64_t VIRTIO_NET_F_MRG_RXBUF = FeatureBit(15);
inline constexpr uint64_t VIRTIO_NET_F_CTRL_VQ = FeatureBit(17);
inline constexpr uint64_t VIRTIO_NET_F_CTRL_RX = FeatureBit(18);
inline constexpr uint64_t VIRTIO_NET_F_CTRL_VLAN = FeatureBit(19);
inline constexpr uint64_t VIRTIO_NET_F_CTRL_RX_EXTRA = FeatureBit(20);
inline constexpr uint64_t VIRTIO_NET_F_GUEST_ANNOUNCE = FeatureBit(21);
inline constexpr uint64_t VIRTIO_NET_F_MQ = FeatureBit(22);
inline constexpr uint64_t VIRTIO_NET_F_CTRL_MAC_ADDR = FeatureBit(23);
inline constexpr uint64_t VIRTIO_F_INDIRECT_DESC = FeatureBit(28);
inline constexpr uint64_t VIRTIO_F_EVENT_IDX = FeatureBit(29);
inline constexpr uint64_t VIRTIO_F_VERSION_1 = FeatureBit(32);
inline constexpr uint64_t VIRTIO_F_RING_PACKED = FeatureBit(34);
inline constexpr uint64_t VIRTIO_F_IN_ORDER = FeatureBit(35);
inline constexpr uint64_t VIRTIO_NET_F_GUEST_USO4 = FeatureBit(54);
inline constexpr uint64_t VIRTIO_NET_F_GUEST_USO6 = FeatureBit(55);
inline constexpr uint64_t VIRTIO_NET_F_HOST_USO = FeatureBit(56);

// §5.1.6.5: what a control command begins with, and how it is answered.
inline constexpr uint8_t VIRTIO_NET_OK = 0;
inline constexpr uint8_t VIRTIO_NET_ERR = 1;
inline constexpr uint8_t VIRTIO_NET_CTRL_RX = 0;
inline constexpr uint8_t VIRTIO_NET_CTRL_RX_ALLMULTI = 1;
inline constexpr uint8_t VIRTIO_NET_CTRL_RX_NOBCAST = 5;
inline constexpr uint8_t VIRTIO_NET_CTRL_MAC = 1;
inline constexpr uint8_t VIRTIO_NET_CTRL_MAC_TABLE_SET = 0;
inline constexpr uint8_t VIRTIO_NET_CTRL_MAC_ADDR_SET = 1;
inline constexpr uint8_t VIRTIO_NET_CTRL_VLAN = 2;
inline constexpr uint8_t VIRTIO_NET_CTRL_VLAN_DEL = 1;
inline constexpr uint8_t VIRTIO_NET_CTRL_ANNOUNCE = 3;
inline constexpr uint8_t VIRTIO_NET_CTRL_ANNOUNCE_ACK = 0;
inline constexpr uint8_t VIRTIO_NET_CTRL_MQ = 4;
inline constexpr uint8_t VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET = 0;
inline constexpr uint8_t VIRTIO_NET_CTRL_GUEST_OFFLOADS = 5;
inline constexpr uint8_t VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET = 0;

// Bytes of header in front of every frame, as one function of the negotiated bits (§5.1.6.1).
inline constexpr uint32_t NetHeaderBytes(uint64_t features) {
  return (features & (VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF)) != 0 ? 12 : 10;
}

}  // namespace tsvswitch
