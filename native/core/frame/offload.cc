// Judges the offloads that a sender asks for, and completes checksums. See offload.h.

#include "core/frame/offload.h"

#include <algorithm>

namespace tsvswitch {

namespace {

// The properties of a GSO type, before the packet is looked at.
struct GsoKind {
  uint8_t type;
  uint8_t protocol;
  bool ipv4;
  bool ipv6;
  uint64_t sender_needs;
  uint64_t receiver_needs_ipv4;
  uint64_t receiver_needs_ipv6;
};

constexpr GsoKind kGsoKinds[] = {
    {VIRTIO_NET_HDR_GSO_TCPV4, kProtocolTcp, true, false, VIRTIO_NET_F_HOST_TSO4,
     VIRTIO_NET_F_GUEST_TSO4, 0},
    {VIRTIO_NET_HDR_GSO_TCPV6, kProtocolTcp, false, true, VIRTIO_NET_F_HOST_TSO6, 0,
     VIRTIO_NET_F_GUEST_TSO6},
    {VIRTIO_NET_HDR_GSO_UDP, kProtocolUdp, true, true, VIRTIO_NET_F_HOST_UFO,
     VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_UFO},
    {VIRTIO_NET_HDR_GSO_UDP_L4, kProtocolUdp, true, true, VIRTIO_NET_F_HOST_USO,
     VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6},
};

const GsoKind* FindGsoKind(uint8_t gso_type) {
  const uint8_t type = gso_type & static_cast<uint8_t>(~VIRTIO_NET_HDR_GSO_ECN);
  for (const GsoKind& kind : kGsoKinds) {
    // Only TCP has what ECN marks.
    if (kind.type == type && (type == gso_type || kind.protocol == kProtocolTcp)) return &kind;
  }
  return nullptr;
}

OffloadVerdict VerdictOf(ParseResult result) {
  switch (result) {
    case ParseResult::kOk: return OffloadVerdict::kOk;
    case ParseResult::kTruncated: return OffloadVerdict::kPacketTruncated;
    case ParseResult::kTooLong: return OffloadVerdict::kPacketHeadersTooLong;
    case ParseResult::kUnsupported: return OffloadVerdict::kPacketUnsupported;
    case ParseResult::kMalformed: return OffloadVerdict::kPacketMalformed;
    case ParseResult::kFragment: return OffloadVerdict::kPacketFragment;
    case ParseResult::kBadLength: return OffloadVerdict::kPacketBadLength;
  }
  return OffloadVerdict::kPacketMalformed;
}

// How the payload is cut: the fields of *packet below its headers.
OffloadVerdict Divide(const VirtioNetHdr& header, GsoPacket* packet) {
  const PacketHeaders& at = packet->headers;
  packet->payload_bytes = at.packet_end - at.payload;
  uint32_t bytes = packet->payload_bytes;
  uint32_t chunk = header.gso_size;
  uint32_t chunk_min = at.protocol == kProtocolTcp ? kTcpSegmentBytesMin : 1;
  if (header.gso_type == VIRTIO_NET_HDR_GSO_UDP) {
    // Fragments carry everything behind the header they repeat; all but the last are multiples of 8
    // (RFC 791 §3.2, RFC 8200 §4.5), and the first has room for the headers only it carries.
    const uint32_t room = kFrameBytesMax - at.fragmentable - kFragmentHeaderBytes;
    chunk = std::min(chunk, room) & ~uint32_t{7};
    chunk_min = std::max<uint32_t>(at.payload - at.fragmentable, 8);
    bytes = at.packet_end - at.fragmentable;
  }
  if (chunk < chunk_min) return OffloadVerdict::kGsoSizeTooSmall;
  packet->chunk_bytes = chunk;
  packet->segments = std::max((bytes + chunk - 1) / chunk, uint32_t{1});
  return packet->segments <= kSegmentsMax ? OffloadVerdict::kOk
                                          : OffloadVerdict::kGsoTooManySegments;
}

}  // namespace

const char* OffloadVerdictText(OffloadVerdict verdict) {
  switch (verdict) {
#define X(name, text) \
  case OffloadVerdict::name: return text;
    TSVSWITCH_OFFLOAD_VERDICTS(X)
#undef X
  }
  return "unknown";
}

OffloadVerdict CheckOffload(const VirtioNetHdr& header, uint64_t sender_features,
                            const Slice& frame, Offload* offload) {
  const bool needs_csum = (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
  Offload checked = {};
  if (needs_csum) {
    if ((sender_features & VIRTIO_NET_F_CSUM) == 0) return OffloadVerdict::kCsumNotNegotiated;
    // The Ethernet header was parsed and routed by: nothing is written there, nor beyond the end.
    const uint32_t field = uint32_t{header.csum_start} + header.csum_offset;
    if (header.csum_start < kFrameBytesMin || field + 2 > frame.bytes) {
      return OffloadVerdict::kCsumOutsideFrame;
    }
    checked.needs = VIRTIO_NET_F_GUEST_CSUM;
    checked.header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    checked.header.csum_start = header.csum_start;
    checked.header.csum_offset = header.csum_offset;
  }
  if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
    const GsoKind* kind = FindGsoKind(header.gso_type);
    if (kind == nullptr) return OffloadVerdict::kGsoTypeUnknown;
    const bool ecn = (header.gso_type & VIRTIO_NET_HDR_GSO_ECN) != 0;
    const uint64_t wanted = kind->sender_needs | (ecn ? VIRTIO_NET_F_HOST_ECN : 0);
    if ((wanted & ~sender_features) != 0) return OffloadVerdict::kGsoNotNegotiated;
    if (!needs_csum) return OffloadVerdict::kGsoWithoutCsum;
    uint8_t bytes[kPacketHeaderBytesMax];
    GsoPacket packet;
    const OffloadVerdict verdict = ReadGsoPacket(header, frame, bytes, &packet);
    if (verdict != OffloadVerdict::kOk) return verdict;
    checked.needs |= packet.headers.ipv6 ? kind->receiver_needs_ipv6 : kind->receiver_needs_ipv4;
    if (ecn) checked.needs |= VIRTIO_NET_F_GUEST_ECN;
    checked.header.gso_type = header.gso_type;
    checked.header.gso_size = header.gso_size;
    checked.header.hdr_len = packet.headers.payload;
  }
  *offload = checked;
  return OffloadVerdict::kOk;
}

OffloadVerdict ReadGsoPacket(const VirtioNetHdr& header, const Slice& frame, uint8_t* bytes,
                             GsoPacket* packet) {
  const GsoKind* kind = FindGsoKind(header.gso_type);
  if (kind == nullptr) return OffloadVerdict::kGsoTypeUnknown;
  GsoPacket read;
  Gather(frame, bytes, kPacketHeaderBytesMax);
  const ParseResult parsed = ParsePacketHeaders(bytes, frame.bytes, &read.headers);
  if (parsed != ParseResult::kOk) return VerdictOf(parsed);
  const bool version_fits = read.headers.ipv6 ? kind->ipv6 : kind->ipv4;
  if (!version_fits || kind->protocol != read.headers.protocol) {
    return OffloadVerdict::kGsoTypeMismatch;
  }
  const uint32_t csum_offset =
      kind->protocol == kProtocolTcp ? kTcpChecksumOffset : kUdpChecksumOffset;
  if (header.csum_start != read.headers.transport || header.csum_offset != csum_offset) {
    return OffloadVerdict::kGsoCsumMismatch;
  }
  const OffloadVerdict divided = Divide(header, &read);
  if (divided == OffloadVerdict::kOk) *packet = read;
  return divided;
}

void PassFrame(const Offload& offload, const Slice& frame, Parcel* parcel) {
  parcel->header = offload.header;
  parcel->before = frame;
  parcel->after = {frame.piece, 0, 0};
  parcel->private_bytes = 0;
}

void CompleteChecksum(const Offload& offload, const Slice& frame, Parcel* parcel) {
  Slice summed = frame;
  TakeFront(&summed, offload.header.csum_start);
  // The field counts too: the sender put the pseudo header's sum there (virtio 1.2 §5.1.6.2.1).
  InternetSum sum;
  sum.Add(summed);
  // Whether this is UDP, which reserves 0, is not known here; to other protocols both are the same.
  const uint16_t checksum = NeverZero(sum.checksum());
  std::memcpy(parcel->private_data, &checksum, sizeof(checksum));
  parcel->private_bytes = sizeof(checksum);
  parcel->header = {};
  parcel->after = frame;
  parcel->before =
      TakeFront(&parcel->after, uint32_t{offload.header.csum_start} + offload.header.csum_offset);
  TakeFront(&parcel->after, sizeof(checksum));
}

}  // namespace tsvswitch
