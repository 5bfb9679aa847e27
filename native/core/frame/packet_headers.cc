// Finds the headers of a packet, layer by layer. Each is read only once its bytes are known to be
// there.

#include "core/frame/packet_headers.h"

#include <algorithm>

namespace tsvswitch {

namespace {

constexpr uint32_t kMacBytes = 12;

constexpr uint16_t kIpv4FragmentBits = 0x3fff;  // more fragments, and the offset
constexpr uint8_t kIpv4OptionEnd = 0;
constexpr uint8_t kIpv4OptionNop = 1;
constexpr uint8_t kIpv4OptionLooseRoute = 131;
constexpr uint8_t kIpv4OptionStrictRoute = 137;

constexpr uint8_t kRoutingMobile = 2;
constexpr uint8_t kRoutingSegments = 4;
constexpr uint32_t kRoutedAddressOffset = 8;  // in routing headers of both types

constexpr uint32_t kTcpHeaderBytesMin = 20;

// The gathered bytes, and how the next ones are asked for.
class Reader {
 public:
  Reader(const uint8_t* bytes, uint32_t frame_bytes)
      : bytes_(bytes),
        frame_bytes_(frame_bytes),
        gathered_(std::min(frame_bytes, kPacketHeaderBytesMax)) {}

  // kOk if the first `end` bytes are here.
  ParseResult Need(uint32_t end) const {
    if (end <= gathered_) [[likely]]
      return ParseResult::kOk;
    return end > frame_bytes_ ? ParseResult::kTruncated : ParseResult::kTooLong;
  }
  const uint8_t* at(uint32_t offset) const { return bytes_ + offset; }
  uint32_t frame_bytes() const { return frame_bytes_; }

 private:
  const uint8_t* const bytes_;
  const uint32_t frame_bytes_;
  const uint32_t gathered_;
};

ParseResult ParseEthernet(const Reader& reader, PacketHeaders* headers) {
  uint32_t type_at = kMacBytes;
  for (uint32_t tags = 0;; ++tags, type_at += kVlanTagBytes) {
    if (const ParseResult here = reader.Need(type_at + 2); here != ParseResult::kOk) return here;
    const uint16_t type = LoadNetwork16(reader.at(type_at));
    headers->network = static_cast<uint16_t>(type_at + 2);
    headers->ipv6 = type == kEtherTypeIpv6;
    if (type == kEtherTypeIpv4 || type == kEtherTypeIpv6) return ParseResult::kOk;
    if (!IsVlanTag(type) || tags == kVlanTagsMax) return ParseResult::kUnsupported;
  }
}

// With a source route the address in the IP header is not the one in the pseudo header.
bool HasSourceRoute(const uint8_t* options, uint32_t bytes) {
  for (uint32_t at = 0; at < bytes && options[at] != kIpv4OptionEnd;) {
    if (options[at] == kIpv4OptionLooseRoute || options[at] == kIpv4OptionStrictRoute) return true;
    if (options[at] == kIpv4OptionNop || at + 1 >= bytes) {
      ++at;
    } else {
      at += std::max<uint32_t>(options[at + 1], 2);
    }
  }
  return false;
}

ParseResult ParseIpv4(const Reader& reader, PacketHeaders* headers) {
  const uint32_t network = headers->network;
  const ParseResult fixed = reader.Need(network + kIpv4HeaderBytesMin);
  if (fixed != ParseResult::kOk) return fixed;
  const uint8_t* ip = reader.at(network);
  const uint32_t header_bytes = (ip[0] & 0xfu) * 4;
  if (ip[0] >> 4 != 4 || header_bytes < kIpv4HeaderBytesMin) return ParseResult::kMalformed;
  const ParseResult whole = reader.Need(network + header_bytes);
  if (whole != ParseResult::kOk) return whole;
  if ((LoadNetwork16(ip + 6) & kIpv4FragmentBits) != 0) return ParseResult::kFragment;
  if (HasSourceRoute(ip + kIpv4HeaderBytesMin, header_bytes - kIpv4HeaderBytesMin)) {
    return ParseResult::kUnsupported;
  }
  // Drivers that leave segmentation to the device may leave the length to it as well: 0.
  const uint32_t length = LoadNetwork16(ip + 2);
  headers->packet_end = length != 0 ? network + length : reader.frame_bytes();
  if (headers->packet_end - network > 0xffff) return ParseResult::kBadLength;
  headers->protocol = ip[9];
  headers->transport = static_cast<uint16_t>(network + header_bytes);
  headers->fragmentable = headers->transport;
  headers->next_header = static_cast<uint16_t>(network + 9);
  headers->destination = static_cast<uint16_t>(network + 16);
  return ParseResult::kOk;
}

// While segments are left, the destination is an address in the routing header.
ParseResult ParseRouting(const uint8_t* routing, uint32_t at, uint32_t bytes,
                         PacketHeaders* headers) {
  const uint8_t type = routing[2];
  const uint8_t segments_left = routing[3];
  if (segments_left == 0) return ParseResult::kOk;
  if (type != kRoutingMobile && type != kRoutingSegments) return ParseResult::kUnsupported;
  if (bytes < kRoutedAddressOffset + 16) return ParseResult::kMalformed;
  headers->destination = static_cast<uint16_t>(at + kRoutedAddressOffset);
  return ParseResult::kOk;
}

ParseResult ParseIpv6(const Reader& reader, PacketHeaders* headers) {
  const uint32_t network = headers->network;
  const ParseResult fixed = reader.Need(network + kIpv6HeaderBytes);
  if (fixed != ParseResult::kOk) return fixed;
  const uint8_t* ip = reader.at(network);
  if (ip[0] >> 4 != 6) return ParseResult::kMalformed;
  const uint32_t length = LoadNetwork16(ip + 4);
  headers->packet_end = length != 0 ? network + kIpv6HeaderBytes + length : reader.frame_bytes();
  headers->destination = static_cast<uint16_t>(network + 24);
  uint32_t next_header = network + 6;
  uint32_t at = network + kIpv6HeaderBytes;
  headers->next_header = static_cast<uint16_t>(next_header);
  headers->fragmentable = static_cast<uint16_t>(at);
  for (uint32_t extensions = 0;; ++extensions) {
    const uint8_t kind = *reader.at(next_header);
    headers->protocol = kind;
    headers->transport = static_cast<uint16_t>(at);
    if (kind == kProtocolTcp || kind == kProtocolUdp) return ParseResult::kOk;
    if (kind == kProtocolFragment) return ParseResult::kFragment;
    if (kind != kProtocolHopByHop && kind != kProtocolRouting &&
        kind != kProtocolDestinationOptions) {
      return ParseResult::kUnsupported;
    }
    if (extensions == kExtensionHeadersMax) return ParseResult::kTooLong;
    const ParseResult begin = reader.Need(at + 8);
    if (begin != ParseResult::kOk) return begin;
    const uint32_t bytes = (*reader.at(at + 1) + 1u) * 8;
    const ParseResult whole = reader.Need(at + bytes);
    if (whole != ParseResult::kOk) return whole;
    if (kind == kProtocolRouting) {
      const ParseResult routed = ParseRouting(reader.at(at), at, bytes, headers);
      if (routed != ParseResult::kOk) return routed;
    }
    next_header = at;
    at += bytes;
    // Routers on the way read these two kinds, so every fragment has them.
    if (kind != kProtocolDestinationOptions) {
      headers->next_header = static_cast<uint16_t>(next_header);
      headers->fragmentable = static_cast<uint16_t>(at);
    }
  }
}

ParseResult ParseTransport(const Reader& reader, PacketHeaders* headers) {
  const uint32_t transport = headers->transport;
  uint32_t bytes = kUdpHeaderBytes;
  if (headers->protocol == kProtocolTcp) {
    const ParseResult fixed = reader.Need(transport + kTcpHeaderBytesMin);
    if (fixed != ParseResult::kOk) return fixed;
    bytes = (*reader.at(transport + 12) >> 4) * 4u;
    if (bytes < kTcpHeaderBytesMin) return ParseResult::kMalformed;
  } else if (headers->protocol != kProtocolUdp) {
    return ParseResult::kUnsupported;
  }
  headers->payload = static_cast<uint16_t>(transport + bytes);
  return reader.Need(transport + bytes);
}

}  // namespace

ParseResult ParsePacketHeaders(const uint8_t* bytes, uint32_t frame_bytes, PacketHeaders* headers) {
  const Reader reader(bytes, frame_bytes);
  ParseResult result = ParseEthernet(reader, headers);
  if (result != ParseResult::kOk) return result;
  result = headers->ipv6 ? ParseIpv6(reader, headers) : ParseIpv4(reader, headers);
  if (result != ParseResult::kOk) return result;
  result = ParseTransport(reader, headers);
  if (result != ParseResult::kOk) return result;
  const bool sound = headers->packet_end >= headers->payload && headers->packet_end <= frame_bytes;
  return sound ? ParseResult::kOk : ParseResult::kBadLength;
}

InternetSum PseudoHeaderSum(const uint8_t* bytes, const PacketHeaders& headers,
                            uint32_t transport_bytes) {
  InternetSum sum;
  const uint32_t address_bytes = headers.ipv6 ? 16 : 4;
  sum.Add(bytes + headers.network + (headers.ipv6 ? 8 : 12), address_bytes);
  sum.Add(bytes + headers.destination, address_bytes);
  sum.AddNumber(headers.protocol);
  sum.AddNumber(transport_bytes);
  return sum;
}

}  // namespace tsvswitch
