// What a guest's network stack makes of the frames it is given: checksums verified, large packets
// and fragments accepted as their headers promise, payload handed up.
//
// The opposite of packet.h, and as slow and obvious: every header is read anew by the RFCs'
// pictures, and nothing of core/ is used but the constants of virtio_spec.h. A frame that a stack
// would discard, or that its device must not have been given, fails the fact that runs.
//
// Sources: virtio 1.2 §5.1.6.4; RFC 791 §3.1, §3.2; RFC 8200 §4; RFC 8754 §2; RFC 9293 §3.1; RFC
// 768.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "check.h"
#include "core/ring/virtio_spec.h"
#include "driver/packet.h"

namespace tsvswitch {

// A frame as a driver takes it out of its buffers.
struct ReceivedFrame {
  VirtioNetHdr header;
  Bytes bytes;
};

// What reaches a socket.
struct ReceivedData {
  bool tcp;
  uint32_t sequence;
  uint8_t flags;
  Bytes payload;
  uint16_t gso_size;  // 0: one segment or datagram
};

class ReceivingStack {
 public:
  static constexpr size_t kMtu = 1500;

  explicit ReceivingStack(uint64_t features) : features_(features) {}

  // Nothing: a fragment of something that is not complete yet.
  std::optional<ReceivedData> Take(ReceivedFrame frame) {
    CheckHeader(frame);
    size_t network = 12;
    while (Get16(frame.bytes, network) == 0x8100 || Get16(frame.bytes, network) == 0x88a8) {
      network += 4;
    }
    const bool ipv6 = Get16(frame.bytes, network) == 0x86dd;
    CHECK(ipv6 || Get16(frame.bytes, network) == 0x0800);
    network += 2;
    Bytes packet(frame.bytes.begin() + static_cast<ptrdiff_t>(network), frame.bytes.end());
    if (frame.header.gso_type == VIRTIO_NET_HDR_GSO_NONE) CHECK(packet.size() <= kMtu);
    std::optional<Bytes> whole = ipv6 ? TakeIpv6(packet) : TakeIpv4(packet);
    if (!whole) return std::nullopt;
    ReceivedData data = ipv6 ? TransportOfIpv6(*whole) : TransportOfIpv4(*whole);
    data.gso_size = frame.header.gso_size;
    CheckGso(frame.header, data.tcp, ipv6);
    return data;
  }

  bool WaitsForFragments() const { return !fragments_.empty(); }

 private:
  static uint16_t Get16(const Bytes& bytes, size_t at) {
    return static_cast<uint16_t>(bytes.at(at) << 8 | bytes.at(at + 1));
  }
  static uint32_t Get32(const Bytes& bytes, size_t at) {
    return uint32_t{Get16(bytes, at)} << 16 | Get16(bytes, at + 2);
  }
  bool Has(uint64_t feature) const { return (features_ & feature) != 0; }

  // What is left to the driver is done here, as its stack would.
  void CheckHeader(ReceivedFrame& frame) {
    const VirtioNetHdr& header = frame.header;
    CHECK_EQ(header.flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
    if (header.flags == 0) {
      CHECK_EQ(header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
      CHECK_EQ(header.csum_start, 0);
      CHECK_EQ(header.csum_offset, 0);
      return;
    }
    CHECK(Has(VIRTIO_NET_F_GUEST_CSUM));
    const auto sum = static_cast<uint16_t>(~SlowSum(frame.bytes, header.csum_start));
    Put16(&frame.bytes, size_t{header.csum_start} + header.csum_offset, sum == 0 ? 0xffff : sum);
  }

  void CheckGso(const VirtioNetHdr& header, bool tcp, bool ipv6) const {
    if (header.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
      CHECK_EQ(header.gso_size, 0);
      CHECK_EQ(header.hdr_len, 0);
      return;
    }
    CHECK_EQ(header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    CHECK(header.gso_size != 0);
    uint64_t needs = 0;
    if ((header.gso_type & VIRTIO_NET_HDR_GSO_ECN) != 0) needs |= VIRTIO_NET_F_GUEST_ECN;
    switch (header.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
      case VIRTIO_NET_HDR_GSO_TCPV4:
        CHECK(tcp && !ipv6);
        needs |= VIRTIO_NET_F_GUEST_TSO4;
        break;
      case VIRTIO_NET_HDR_GSO_TCPV6:
        CHECK(tcp && ipv6);
        needs |= VIRTIO_NET_F_GUEST_TSO6;
        break;
      case VIRTIO_NET_HDR_GSO_UDP:
        CHECK(!tcp);
        needs |= VIRTIO_NET_F_GUEST_UFO;
        break;
      case VIRTIO_NET_HDR_GSO_UDP_L4:
        CHECK(!tcp);
        needs |= ipv6 ? VIRTIO_NET_F_GUEST_USO6 : VIRTIO_NET_F_GUEST_USO4;
        break;
      default: CHECK(false);
    }
    CHECK_EQ(needs & ~features_, 0u);
  }

  // The packet, whole, or nothing.
  std::optional<Bytes> TakeIpv4(const Bytes& packet) {
    const size_t header_bytes = size_t{packet.at(0)} % 16 * 4;
    CHECK_EQ(packet[0] >> 4, 4);
    CHECK_EQ(Get16(packet, 2), packet.size());
    const Bytes header(packet.begin(), packet.begin() + static_cast<ptrdiff_t>(header_bytes));
    CHECK_EQ(SlowSum(header), 0xffff);
    const uint16_t fragment = Get16(packet, 6);
    if ((fragment & 0x3fff) == 0) return packet;
    CHECK_EQ(fragment & 0x4000, 0);
    std::optional<Bytes> whole =
        Reassemble(Get16(packet, 4), packet, header_bytes, size_t{fragment} % 0x2000 * 8,
                   (fragment & 0x2000) != 0);
    if (!whole) return std::nullopt;
    Put16(&*whole, 2, whole->size());
    Put16(&*whole, 6, 0);
    return whole;
  }

  std::optional<Bytes> TakeIpv6(const Bytes& packet) {
    CHECK_EQ(packet.at(0) >> 4, 6);
    CHECK_EQ(Get16(packet, 4), packet.size() - 40);
    size_t kind_at = 6;
    size_t at = 40;
    while (packet.at(kind_at) != 44) {
      const uint8_t kind = packet.at(kind_at);
      if (kind == 6 || kind == 17) return packet;
      kind_at = at;
      at += 8 + 8 * size_t{packet.at(at + 1)};
    }
    const uint16_t fragment = Get16(packet, at + 2);
    Bytes unwrapped = packet;
    unwrapped[kind_at] = packet[at];
    const auto begin = unwrapped.begin() + static_cast<ptrdiff_t>(at);
    unwrapped.erase(begin, begin + 8);
    std::optional<Bytes> whole =
        Reassemble(Get32(packet, at + 4), unwrapped, at, fragment / 8u * 8u, (fragment & 1) != 0);
    if (whole) Put16(&*whole, 4, whole->size() - 40);
    return whole;
  }

  // Fragments come in order here, since a switch keeps it.
  std::optional<Bytes> Reassemble(uint32_t id, const Bytes& packet, size_t header_bytes,
                                  size_t offset, bool more) {
    const auto data = packet.begin() + static_cast<ptrdiff_t>(header_bytes);
    const size_t data_bytes = packet.size() - header_bytes;
    CHECK(!more || data_bytes % 8 == 0);
    CHECK(data_bytes > 0);
    if (offset == 0) {
      CHECK(more);
      CHECK(fragments_.emplace(id, Partial{packet, data_bytes}).second);
      return std::nullopt;
    }
    CHECK_EQ(fragments_.count(id), 1u);
    Partial& partial = fragments_[id];
    CHECK_EQ(offset, partial.data_bytes);
    partial.packet.insert(partial.packet.end(), data, packet.end());
    partial.data_bytes += data_bytes;
    if (more) return std::nullopt;
    Bytes whole = partial.packet;
    fragments_.erase(id);
    return whole;
  }

  static ReceivedData TransportOfIpv4(const Bytes& packet) {
    const size_t header_bytes = size_t{packet[0]} % 16 * 4;
    const Bytes addresses(packet.begin() + 12, packet.begin() + 20);
    return Transport(packet, header_bytes, packet[9], addresses);
  }

  static ReceivedData TransportOfIpv6(const Bytes& packet) {
    Bytes addresses(packet.begin() + 8, packet.begin() + 40);
    uint8_t kind = packet[6];
    size_t at = 40;
    while (kind != 6 && kind != 17) {
      // Segment routing with a segment left: the last one counts, and it stands first in the list.
      if (kind == 43 && packet.at(at + 3) != 0) {
        const auto last = packet.begin() + static_cast<ptrdiff_t>(at) + 8;
        std::copy(last, last + 16, addresses.begin() + 16);
      }
      kind = packet.at(at);
      at += 8 + 8 * size_t{packet.at(at + 1)};
    }
    return Transport(packet, at, kind, addresses);
  }

  static ReceivedData Transport(const Bytes& packet, size_t at, uint8_t protocol,
                                Bytes pseudo_header) {
    const Bytes segment(packet.begin() + static_cast<ptrdiff_t>(at), packet.end());
    Append32(&pseudo_header, segment.size());
    Append32(&pseudo_header, protocol);
    Append(&pseudo_header, segment);
    CHECK_EQ(SlowSum(pseudo_header), 0xffff);
    ReceivedData data = {};
    data.tcp = protocol == 6;
    size_t payload = 8;
    if (data.tcp) {
      data.sequence = Get32(segment, 4);
      data.flags = segment.at(13);
      payload = size_t{segment.at(12)} / 16 * 4;
    } else {
      CHECK_EQ(Get16(segment, 4), segment.size());
      CHECK(Get16(segment, 6) != 0);
    }
    CHECK(payload <= segment.size());
    data.payload.assign(segment.begin() + static_cast<ptrdiff_t>(payload), segment.end());
    return data;
  }

  struct Partial {
    Bytes packet;  // the first fragment, and the data of those after it
    size_t data_bytes;
  };
  const uint64_t features_;
  std::map<uint32_t, Partial> fragments_;
};

}  // namespace tsvswitch
