// Makes segments, datagrams and fragments out of one large packet. See segmenter.h.

#include "core/frame/segmenter.h"

#include <algorithm>
#include <cstring>

namespace tsvswitch {

namespace {

constexpr uint16_t kIpv4DontFragment = 0x4000;
constexpr uint16_t kIpv4MoreFragments = 0x2000;
constexpr uint8_t kIpv4OptionCopied = 0x80;
constexpr uint8_t kIpv4OptionEnd = 0;
constexpr uint8_t kIpv4OptionNop = 1;
constexpr uint16_t kIpv6MoreFragments = 1;

constexpr uint8_t kTcpFin = 0x01;
constexpr uint8_t kTcpPsh = 0x08;
constexpr uint8_t kTcpCwr = 0x80;

// The length of the packet that `packet_end` ends, in the IP header at `at.network`.
void PatchIpLength(uint8_t* bytes, const PacketHeaders& at, uint32_t packet_end) {
  if (at.ipv6) {
    StoreNetwork16(bytes + at.network + 4, packet_end - at.network - kIpv6HeaderBytes);
  } else {
    StoreNetwork16(bytes + at.network + 2, packet_end - at.network);
  }
}

void PatchIpv4Checksum(uint8_t* bytes, const PacketHeaders& at) {
  StoreNetwork16(bytes + at.network + 10, 0);
  InternetSum sum;
  sum.Add(bytes + at.network, uint32_t{at.transport} - at.network);
  const uint16_t checksum = sum.checksum();
  std::memcpy(bytes + at.network + 10, &checksum, sizeof(checksum));
}

// Options that belong to the first fragment only become no-operations (RFC 791 §3.1, "copied
// flag").
void DropUncopiedOptions(uint8_t* options, uint32_t bytes) {
  for (uint32_t at = 0; at < bytes && options[at] != kIpv4OptionEnd;) {
    uint32_t option_bytes = 1;
    if (options[at] != kIpv4OptionNop && at + 1 < bytes) {
      option_bytes = std::min(std::max<uint32_t>(options[at + 1], 2), bytes - at);
    }
    if ((options[at] & kIpv4OptionCopied) == 0) {
      std::memset(options + at, kIpv4OptionNop, option_bytes);
    }
    at += option_bytes;
  }
}

}  // namespace

OffloadVerdict Segmenter::Begin(const Offload& offload, const Slice& frame,
                                uint64_t receiver_features) {
  left_ = 0;
  const OffloadVerdict verdict = ReadGsoPacket(offload.header, frame, bytes_, &packet_);
  if (verdict != OffloadVerdict::kOk) return verdict;
  rest_ = frame;
  TakeFront(&rest_, packet_.headers.payload);
  rest_.bytes = packet_.payload_bytes;
  left_ = packet_.segments;
  fragments_ = offload.header.gso_type == VIRTIO_NET_HDR_GSO_UDP && packet_.segments > 1;
  partial_checksum_ = (receiver_features & VIRTIO_NET_F_GUEST_CSUM) != 0;
  if (fragments_) BeginFragments();
  return OffloadVerdict::kOk;
}

// The datagram's own length and checksum, and an identification that its fragments share.
void Segmenter::BeginFragments() {
  const PacketHeaders& at = packet_.headers;
  uint8_t* udp = bytes_ + at.transport;
  const uint32_t udp_bytes = at.packet_end - at.transport;
  StoreNetwork16(udp + 4, udp_bytes);
  StoreNetwork16(udp + kUdpChecksumOffset, 0);
  InternetSum sum = PseudoHeaderSum(bytes_, at, udp_bytes);
  sum.Add(udp, kUdpHeaderBytes);
  sum.Add(rest_);
  const uint16_t checksum = NeverZero(sum.checksum());
  std::memcpy(udp + kUdpChecksumOffset, &checksum, sizeof(checksum));
  // An IPv4 sender that forbids fragments need not have made the identification unique (RFC 6864
  // §4.1).
  const uint8_t* ip = bytes_ + at.network;
  const bool unique = !at.ipv6 && (LoadNetwork16(ip + 6) & kIpv4DontFragment) == 0;
  fragment_id_ = unique ? LoadNetwork16(ip + 4) : next_fragment_id_++;
}

uint32_t Segmenter::packet_bytes_max() const {
  const PacketHeaders& at = packet_.headers;
  if (!fragments_)
    return at.payload + std::min(packet_.chunk_bytes, packet_.payload_bytes) - at.network;
  const uint32_t header_bytes = at.fragmentable + (at.ipv6 ? kFragmentHeaderBytes : 0);
  return header_bytes + packet_.chunk_bytes - at.network;
}

bool Segmenter::Next(Parcel* parcel) {
  if (left_ == 0) return false;
  parcel->header = {};
  parcel->before = {rest_.piece, 0, 0};
  if (fragments_) {
    MakeFragment(parcel);
  } else {
    MakeSegment(parcel);
  }
  --left_;
  return true;
}

void Segmenter::MakeSegment(Parcel* parcel) {
  const PacketHeaders& at = packet_.headers;
  const uint32_t index = packet_.segments - left_;
  uint8_t* bytes = parcel->private_data;
  std::memcpy(bytes, bytes_, at.payload);
  parcel->private_bytes = at.payload;
  parcel->after = TakeFront(&rest_, std::min(packet_.chunk_bytes, rest_.bytes));
  PatchIpLength(bytes, at, parcel->bytes());
  if (!at.ipv6) {
    uint8_t* id = bytes + at.network + 4;
    StoreNetwork16(id, LoadNetwork16(id) + index);
    PatchIpv4Checksum(bytes, at);
  }
  uint8_t* transport = bytes + at.transport;
  if (at.protocol == kProtocolTcp) {
    StoreNetwork32(transport + 4, LoadNetwork32(transport + 4) + index * packet_.chunk_bytes);
    if (index != 0) transport[13] &= static_cast<uint8_t>(~kTcpCwr);
    if (left_ != 1) transport[13] &= static_cast<uint8_t>(~(kTcpFin | kTcpPsh));
  } else {
    StoreNetwork16(transport + 4, parcel->bytes() - at.transport);
  }
  PatchTransport(parcel);
}

// The transport checksum of a whole packet, or its beginning where the receiver does the rest.
void Segmenter::PatchTransport(Parcel* parcel) const {
  const PacketHeaders& at = packet_.headers;
  const bool tcp = at.protocol == kProtocolTcp;
  const uint32_t csum_offset = tcp ? kTcpChecksumOffset : kUdpChecksumOffset;
  uint8_t* transport = parcel->private_data + at.transport;
  uint8_t* field = transport + csum_offset;
  InternetSum sum = PseudoHeaderSum(parcel->private_data, at, parcel->bytes() - at.transport);
  uint16_t checksum;
  if (partial_checksum_) {
    parcel->header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    parcel->header.csum_start = at.transport;
    parcel->header.csum_offset = static_cast<uint16_t>(csum_offset);
    checksum = sum.folded();
  } else {
    StoreNetwork16(field, 0);
    sum.Add(transport, uint32_t{at.payload} - at.transport);
    sum.Add(parcel->after);
    checksum = tcp ? sum.checksum() : NeverZero(sum.checksum());
  }
  std::memcpy(field, &checksum, sizeof(checksum));
}

void Segmenter::MakeFragment(Parcel* parcel) {
  const PacketHeaders& at = packet_.headers;
  const uint32_t index = packet_.segments - left_;
  const uint32_t offset = index * packet_.chunk_bytes;  // a multiple of 8, below 2^16
  const bool more = left_ != 1;
  uint8_t* bytes = parcel->private_data;
  uint8_t* end = bytes + at.fragmentable;
  std::memcpy(bytes, bytes_, at.fragmentable);
  if (at.ipv6) {
    end[0] = bytes[at.next_header];
    end[1] = 0;
    StoreNetwork16(end + 2, offset | (more ? kIpv6MoreFragments : 0));
    StoreNetwork32(end + 4, fragment_id_);
    bytes[at.next_header] = kProtocolFragment;
    end += kFragmentHeaderBytes;
  }
  // The first fragment alone has the headers behind those that all repeat; they are part of its
  // chunk.
  const uint32_t own_bytes = index == 0 ? uint32_t{at.payload} - at.fragmentable : 0;
  std::memcpy(end, bytes_ + at.fragmentable, own_bytes);
  parcel->private_bytes = static_cast<uint32_t>(end - bytes) + own_bytes;
  parcel->after = TakeFront(&rest_, std::min(packet_.chunk_bytes - own_bytes, rest_.bytes));
  PatchIpLength(bytes, at, parcel->bytes());
  if (!at.ipv6) {
    uint8_t* ip = bytes + at.network;
    StoreNetwork16(ip + 4, fragment_id_);
    StoreNetwork16(ip + 6, offset / 8 | (more ? kIpv4MoreFragments : 0));
    if (index != 0) {
      DropUncopiedOptions(ip + kIpv4HeaderBytesMin,
                          at.transport - at.network - kIpv4HeaderBytesMin);
    }
    PatchIpv4Checksum(bytes, at);
  }
}

}  // namespace tsvswitch
