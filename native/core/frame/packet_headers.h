// Where the headers of a TCP or UDP packet begin and end, found by parsing them.
//
// Works on a private copy of the first bytes of a frame, so that the bytes checked are those used,
// and believes no field that it can derive. Ethernet with up to two VLAN tags; IPv4 with options;
// IPv6 with hop-by-hop, routing and destination options headers, in a bounded walk; TCP with
// options; UDP. Packets that are fragments already, and what is neither TCP nor UDP behind these
// headers, are named as such and not guessed at.
//
// Does not: read payload, verify checksums.
// Sources: RFC 791 §3.1; RFC 8200 §4; RFC 8754 §2 (segment routing); RFC 9293 §3.1; RFC 768; IEEE
// 802.1Q.

#pragma once

#include <cstdint>

#include "core/frame/checksum.h"

namespace tsvswitch {

// Two VLAN tags, IPv6 with 134 bytes of extension headers and the longest TCP header fit.
inline constexpr uint32_t kPacketHeaderBytesMax = 256;
inline constexpr uint32_t kExtensionHeadersMax = 8;
inline constexpr uint32_t kVlanTagsMax = 2;

inline constexpr uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr uint16_t kEtherTypeIpv6 = 0x86dd;
inline constexpr uint8_t kProtocolHopByHop = 0;
inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolUdp = 17;
inline constexpr uint8_t kProtocolRouting = 43;
inline constexpr uint8_t kProtocolFragment = 44;
inline constexpr uint8_t kProtocolDestinationOptions = 60;
inline constexpr uint32_t kUdpHeaderBytes = 8;
inline constexpr uint32_t kIpv4HeaderBytesMin = 20;
inline constexpr uint32_t kIpv6HeaderBytes = 40;
inline constexpr uint32_t kTcpChecksumOffset = 16;
inline constexpr uint32_t kUdpChecksumOffset = 6;

enum class ParseResult : uint8_t {
  kOk,
  kTruncated,    // the frame ends inside a header
  kTooLong,      // headers beyond kPacketHeaderBytesMax, or too many of them
  kUnsupported,  // not TCP or UDP over IP, or by a way this parser does not follow
  kMalformed,    // a header's own length or version contradicts its kind
  kFragment,     // a fragment of a packet
  kBadLength,    // the IP length is more than the frame holds or less than its headers
};

// Offsets from the beginning of the frame.
struct PacketHeaders {
  uint16_t network;    // IP header
  uint16_t transport;  // TCP or UDP header
  uint16_t payload;
  uint16_t next_header;   // IPv6: the field that says what lies at `fragmentable`
  uint16_t fragmentable;  // behind what every fragment repeats: RFC 8200 §4.5; IPv4: = transport
  uint16_t destination;   // the address that counts in the pseudo header
  uint8_t protocol;       // kProtocolTcp or kProtocolUdp
  bool ipv6;
  uint32_t packet_end;  // by the IP length; what follows in the frame is padding
};

// `bytes` holds the first min(frame_bytes, kPacketHeaderBytesMax) bytes of a frame.
ParseResult ParsePacketHeaders(const uint8_t* bytes, uint32_t frame_bytes, PacketHeaders* headers);

// The pseudo header of a segment whose transport header and payload are `transport_bytes` long.
InternetSum PseudoHeaderSum(const uint8_t* bytes, const PacketHeaders& headers,
                            uint32_t transport_bytes);

inline constexpr uint32_t kEthernetHeaderBytes = 14;
inline constexpr uint32_t kVlanTagBytes = 4;

inline bool IsVlanTag(uint16_t ethertype) { return ethertype == 0x8100 || ethertype == 0x88a8; }

// Numbers in network order; the caller knows the bytes to be there.
inline uint16_t LoadNetwork16(const uint8_t* at) {
  return static_cast<uint16_t>(at[0] << 8 | at[1]);
}
inline void StoreNetwork16(uint8_t* at, uint32_t number) {
  at[0] = static_cast<uint8_t>(number >> 8);
  at[1] = static_cast<uint8_t>(number);
}
inline uint32_t LoadNetwork32(const uint8_t* at) {
  return uint32_t{LoadNetwork16(at)} << 16 | LoadNetwork16(at + 2);
}
inline void StoreNetwork32(uint8_t* at, uint32_t number) {
  StoreNetwork16(at, number >> 16);
  StoreNetwork16(at + 2, number);
}

}  // namespace tsvswitch
