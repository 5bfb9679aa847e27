// The few structures and numbers of virtio that the client uses, spelled as in the specification.
//
// Deliberately not those of native/core: a measuring tool that shares the definitions of what it
// measures would agree with its mistakes. Little-endian hosts only.
// Sources: virtio 1.2 §2.7.5, §2.7.6, §2.7.8 (split rings), §2.8.13, §2.8.14 (packed rings), §5.1.3
// (feature bits), §5.1.6 (header).

#pragma once

#include <stddef.h>
#include <stdint.h>

namespace tsvswitch::bench {

constexpr uint64_t VIRTIO_NET_F_CSUM = uint64_t{1} << 0;
constexpr uint64_t VIRTIO_NET_F_GUEST_CSUM = uint64_t{1} << 1;
constexpr uint64_t VIRTIO_NET_F_GUEST_TSO4 = uint64_t{1} << 7;
constexpr uint64_t VIRTIO_NET_F_HOST_TSO4 = uint64_t{1} << 11;
constexpr uint64_t VIRTIO_NET_F_MRG_RXBUF = uint64_t{1} << 15;
constexpr uint64_t VIRTIO_F_VERSION_1 = uint64_t{1} << 32;
constexpr uint64_t VIRTIO_F_RING_PACKED = uint64_t{1} << 34;

constexpr uint8_t VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
constexpr uint8_t VIRTIO_NET_HDR_GSO_NONE = 0;
constexpr uint8_t VIRTIO_NET_HDR_GSO_TCPV4 = 1;

constexpr uint16_t VIRTQ_DESC_F_NEXT = 1;
constexpr uint16_t VIRTQ_DESC_F_WRITE = 2;
constexpr uint16_t VIRTQ_DESC_F_AVAIL = 1 << 7;
constexpr uint16_t VIRTQ_DESC_F_USED = 1 << 15;
constexpr uint16_t VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
constexpr uint16_t VIRTQ_USED_F_NO_NOTIFY = 1;
constexpr uint16_t RING_EVENT_FLAGS_DISABLE = 1;

struct virtq_desc {
  uint64_t addr;
  uint32_t len;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(virtq_desc) == 16);

// Followed by the ring: one uint16_t per descriptor.
struct virtq_avail {
  uint16_t flags;
  uint16_t idx;

  uint16_t* ring() { return reinterpret_cast<uint16_t*>(this + 1); }
  const uint16_t* ring() const { return reinterpret_cast<const uint16_t*>(this + 1); }
};
static_assert(sizeof(virtq_avail) == 4);

struct virtq_used_elem {
  uint32_t id;
  uint32_t len;
};

// Followed by the ring: one virtq_used_elem per descriptor.
struct virtq_used {
  uint16_t flags;
  uint16_t idx;

  virtq_used_elem* ring() { return reinterpret_cast<virtq_used_elem*>(this + 1); }
  const virtq_used_elem* ring() const { return reinterpret_cast<const virtq_used_elem*>(this + 1); }
};
static_assert(sizeof(virtq_used) == 4);

// The length, the id and the flags are one word here, so that a descriptor is read and written by
// two moves.
struct pvirtq_desc {
  uint64_t addr;
  uint64_t back;

  static constexpr uint64_t BackOf(uint32_t len, uint16_t id, uint16_t flags) {
    return len | uint64_t{id} << 32 | uint64_t{flags} << 48;
  }
  static constexpr uint32_t LengthOf(uint64_t back) { return static_cast<uint32_t>(back); }
  static constexpr uint16_t IdOf(uint64_t back) { return static_cast<uint16_t>(back >> 32); }
};
static_assert(sizeof(pvirtq_desc) == 16);

struct pvirtq_event_suppress {
  uint16_t desc;
  uint16_t flags;
};
static_assert(sizeof(pvirtq_event_suppress) == 4);

struct virtio_net_hdr {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len;
  uint16_t gso_size;
  uint16_t csum_start;
  uint16_t csum_offset;
  uint16_t num_buffers;
};
static_assert(sizeof(virtio_net_hdr) == 12);

}  // namespace tsvswitch::bench
