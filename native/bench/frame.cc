// Frame headers and the payload that can be checked. See frame.h.
//
// The payload is a row of 64-bit words, word i being a key made of the sequence number plus i times
// an odd constant: a frame that is torn, shifted or mixed with another one does not match, and both
// loops are plain enough for the compiler to turn into vector code.

#include "frame.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <algorithm>
#include <iterator>

namespace tsvswitch::bench {

namespace {

constexpr uint64_t kKeyFactor = 0x9e3779b97f4a7c15;
constexpr uint64_t kWordStep = 0x0101010101010101;
constexpr uint16_t kDiscardPort = 9;

// Frames start wherever the virtio-net header ends, so words are not aligned. Never deduced by
// auto, which would drop the attributes.
using UnalignedWord [[gnu::aligned(1), gnu::may_alias]] = uint64_t;

void WriteMac(uint8_t* mac, size_t port) {
  const uint8_t bytes[ETH_ALEN] = {0x52,
                                   0x54,
                                   0x00,
                                   0x00,
                                   static_cast<uint8_t>((port + 1) >> 8),
                                   static_cast<uint8_t>(port + 1)};
  memcpy(mac, bytes, ETH_ALEN);
}

void WriteEthernet(uint8_t* frame, size_t from_port, size_t to_port) {
  WriteMac(frame, to_port);
  WriteMac(frame + ETH_ALEN, from_port);
  const uint16_t type = htons(ETH_P_IP);
  memcpy(frame + 2 * ETH_ALEN, &type, sizeof(type));
}

// Seven to four to one, spread out.
constexpr size_t kImix[] = {64, 594, 64, 64, 594, 64, kImixFrameBytesMax, 64, 594, 64, 594, 64};

uint32_t AddWords(const void* data, size_t bytes) {
  uint32_t sum = 0;
  for (size_t at = 0; at < bytes; at += sizeof(uint16_t)) {
    uint16_t word;
    memcpy(&word, static_cast<const uint8_t*>(data) + at, sizeof(word));
    sum += word;
  }
  return sum;
}

uint16_t Fold(uint32_t sum) {
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

constexpr uint32_t HostAddress(size_t port) {
  return 0x0a000001 + static_cast<uint32_t>(port);  // 10.0.0.1 is port 0.
}

void WriteUdp(uint8_t* to, size_t bytes) {
  udphdr udp{};  // No UDP checksum, which IPv4 allows.
  udp.source = htons(kDiscardPort);
  udp.dest = htons(kDiscardPort);
  udp.len = htons(static_cast<uint16_t>(bytes));
  memcpy(to, &udp, sizeof(udp));
}

// With the sum of the pseudo header in the checksum field, as NEEDS_CSUM wants it (virtio 1.2
// §5.1.6.2).
void WriteTcp(uint8_t* to, size_t bytes, const iphdr& ip) {
  const uint32_t pseudo = AddWords(&ip.saddr, 2 * sizeof(ip.saddr)) + htons(IPPROTO_TCP) +
                          htons(static_cast<uint16_t>(bytes));
  tcphdr tcp{};
  tcp.source = htons(kDiscardPort);
  tcp.dest = htons(kDiscardPort);
  tcp.doff = sizeof(tcp) / 4;
  tcp.ack = 1;
  tcp.window = htons(0xffff);
  tcp.check = Fold(pseudo);
  memcpy(to, &tcp, sizeof(tcp));
}

virtio_net_hdr SegmentationHeader() {
  virtio_net_hdr header{};
  header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
  header.hdr_len = ETH_HLEN + sizeof(iphdr) + sizeof(tcphdr);
  header.gso_size = kSegmentBytes;
  header.csum_start = ETH_HLEN + sizeof(iphdr);
  header.csum_offset = offsetof(tcphdr, check);
  return header;
}

}  // namespace

EthernetHeader::EthernetHeader(size_t from_port, size_t to_port) {
  uint8_t header[ETH_HLEN];
  WriteEthernet(header, from_port, to_port);
  first_ = LoadU64(header);
  second_ = LoadU64(header + kSecondOffset);
}

bool IsAddressedTo(const uint8_t* frame, size_t port) {
  uint8_t mac[ETH_ALEN];
  WriteMac(mac, port);
  return memcmp(frame, mac, ETH_ALEN) == 0;
}

size_t FrameShape::BytesOf(uint32_t buffer) const {
  return is_imix ? kImix[buffer % std::size(kImix)] : frame_bytes;
}

void WriteHeaders(uint8_t* buffer, Transport transport, size_t frame_bytes, size_t from_port,
                  size_t to_port) {
  const bool is_segmented = transport == Transport::kTcpSegments;
  const virtio_net_hdr header = is_segmented ? SegmentationHeader() : virtio_net_hdr{};
  memcpy(buffer, &header, sizeof(header));
  uint8_t* frame = buffer + kVirtioHeaderBytes;
  WriteEthernet(frame, from_port, to_port);
  const size_t ip_bytes = frame_bytes - ETH_HLEN;
  iphdr ip{};
  ip.version = 4;
  ip.ihl = sizeof(ip) / 4;
  ip.tot_len = htons(static_cast<uint16_t>(ip_bytes));
  ip.ttl = 64;
  ip.protocol = is_segmented ? IPPROTO_TCP : IPPROTO_UDP;
  ip.saddr = htonl(HostAddress(from_port));
  ip.daddr = htonl(HostAddress(to_port));
  ip.check = static_cast<uint16_t>(~Fold(AddWords(&ip, sizeof(ip))));
  memcpy(frame + ETH_HLEN, &ip, sizeof(ip));
  uint8_t* behind_ip = frame + ETH_HLEN + sizeof(ip);
  if (is_segmented) {
    WriteTcp(behind_ip, ip_bytes - sizeof(ip), ip);
  } else {
    WriteUdp(behind_ip, ip_bytes - sizeof(ip));
  }
}

bool SegmentsMatch(const uint8_t* buffer, Transport transport) {
  virtio_net_hdr header;
  memcpy(&header, buffer, sizeof(header));
  if (transport == Transport::kUdp) return header.gso_type == VIRTIO_NET_HDR_GSO_NONE;
  return header.gso_type == VIRTIO_NET_HDR_GSO_TCPV4 && header.gso_size == kSegmentBytes;
}

[[gnu::target_clones("arch=x86-64-v4", "avx2", "default")]]
void WritePayload(uint8_t* payload, size_t bytes, uint64_t sequence) {
  const size_t words = bytes / sizeof(uint64_t);
  UnalignedWord* to = reinterpret_cast<UnalignedWord*>(payload);
  // Counting up by addition, not i * kWordStep: vectors of words have no product.
  uint64_t word = sequence * kKeyFactor;
  for (size_t i = 0; i < words; ++i, word += kWordStep) to[i] = word;
  memcpy(to + words, &word, bytes % sizeof(uint64_t));
}

namespace {

// PayloadMatches where the piece begins with a whole word, as it does where a frame is in one
// piece.
[[gnu::target_clones("arch=x86-64-v4", "avx2", "default")]]
bool WordsMatch(const uint8_t* piece, size_t bytes, uint64_t word) {
  const size_t words = bytes / sizeof(uint64_t);
  const UnalignedWord* from = reinterpret_cast<const UnalignedWord*>(piece);
  uint64_t difference = 0;
  for (size_t i = 0; i < words; ++i, word += kWordStep) difference |= from[i] ^ word;
  return difference == 0 && memcmp(from + words, &word, bytes % sizeof(uint64_t)) == 0;
}

}  // namespace

bool PayloadMatches(const uint8_t* piece, size_t offset, size_t bytes, uint64_t sequence) {
  const uint64_t word = sequence * kKeyFactor + (offset / sizeof(uint64_t)) * kWordStep;
  const size_t behind = offset % sizeof(uint64_t);
  if (behind == 0) return WordsMatch(piece, bytes, word);
  const size_t rest = std::min(sizeof(uint64_t) - behind, bytes);
  if (memcmp(piece, reinterpret_cast<const uint8_t*>(&word) + behind, rest) != 0) return false;
  return WordsMatch(piece + rest, bytes - rest, word + kWordStep);
}

}  // namespace tsvswitch::bench
