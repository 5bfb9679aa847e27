// Frame headers and the payload that can be checked. See frame.h.
//
// The payload is a row of 64-bit words, word i being a key made of the sequence number plus i times an
// odd constant: a frame that is torn, shifted or mixed with another one does not match, and both loops
// are plain enough for the compiler to turn into vector code.

#include "frame.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>

namespace tsvswitch::bench {

namespace {

constexpr uint64_t kKeyFactor = 0x9e3779b97f4a7c15;
constexpr uint64_t kWordStep = 0x0101010101010101;
constexpr uint16_t kUdpDiscardPort = 9;

// Frames start wherever the virtio-net header ends, so words are not aligned. Never deduced by auto,
// which would drop the attributes.
using UnalignedWord [[gnu::aligned(1), gnu::may_alias]] = uint64_t;

void WriteMac(uint8_t* mac, size_t port) {
  const uint8_t bytes[ETH_ALEN] = {0x52, 0x54, 0x00, 0x00, static_cast<uint8_t>((port + 1) >> 8),
                                   static_cast<uint8_t>(port + 1)};
  memcpy(mac, bytes, ETH_ALEN);
}

void WriteEthernet(uint8_t* frame, size_t from_port, size_t to_port) {
  WriteMac(frame, to_port);
  WriteMac(frame + ETH_ALEN, from_port);
  const uint16_t type = htons(ETH_P_IP);
  memcpy(frame + 2 * ETH_ALEN, &type, sizeof(type));
}

uint16_t InternetChecksum(const void* data, size_t bytes) {
  uint32_t sum = 0;
  for (size_t at = 0; at < bytes; at += sizeof(uint16_t)) {
    uint16_t word;
    memcpy(&word, static_cast<const uint8_t*>(data) + at, sizeof(word));
    sum += word;
  }
  while ((sum >> 16) != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

constexpr uint32_t HostAddress(size_t port) {
  return 0x0a000001 + static_cast<uint32_t>(port);  // 10.0.0.1 is port 0.
}

// A frame above 65535 bytes is longer than IPv4 can say; the length field then holds what fits.
uint16_t LengthField(size_t bytes) {
  return htons(static_cast<uint16_t>(bytes < 0xffff ? bytes : 0xffff));
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

void WriteHeaders(uint8_t* frame, size_t frame_bytes, size_t from_port, size_t to_port) {
  WriteEthernet(frame, from_port, to_port);
  iphdr ip{};
  ip.version = 4;
  ip.ihl = sizeof(ip) / 4;
  ip.tot_len = LengthField(frame_bytes - ETH_HLEN);
  ip.ttl = 64;
  ip.protocol = IPPROTO_UDP;
  ip.saddr = htonl(HostAddress(from_port));
  ip.daddr = htonl(HostAddress(to_port));
  ip.check = InternetChecksum(&ip, sizeof(ip));
  memcpy(frame + ETH_HLEN, &ip, sizeof(ip));
  udphdr udp{};  // No UDP checksum, which IPv4 allows.
  udp.source = htons(kUdpDiscardPort);
  udp.dest = htons(kUdpDiscardPort);
  udp.len = LengthField(frame_bytes - ETH_HLEN - sizeof(ip));
  memcpy(frame + ETH_HLEN + sizeof(ip), &udp, sizeof(udp));
}

[[gnu::target_clones("avx2", "default")]]
void WritePayload(uint8_t* frame, size_t frame_bytes, uint64_t sequence) {
  const uint64_t key = sequence * kKeyFactor;
  const size_t words = (frame_bytes - kPayloadOffset) / sizeof(uint64_t);
  UnalignedWord* to = reinterpret_cast<UnalignedWord*>(frame + kPayloadOffset);
  for (size_t i = 0; i < words; ++i) to[i] = key + i * kWordStep;
  const uint64_t last = key + words * kWordStep;
  memcpy(to + words, &last, (frame_bytes - kPayloadOffset) % sizeof(uint64_t));
}

[[gnu::target_clones("avx2", "default")]]
bool PayloadMatches(const uint8_t* frame, size_t frame_bytes, uint64_t sequence) {
  const uint64_t key = sequence * kKeyFactor;
  const size_t words = (frame_bytes - kPayloadOffset) / sizeof(uint64_t);
  const UnalignedWord* from = reinterpret_cast<const UnalignedWord*>(frame + kPayloadOffset);
  uint64_t difference = 0;
  for (size_t i = 0; i < words; ++i) difference |= from[i] ^ (key + i * kWordStep);
  const uint64_t last = key + words * kWordStep;
  const size_t rest_bytes = (frame_bytes - kPayloadOffset) % sizeof(uint64_t);
  return difference == 0 && memcmp(from + words, &last, rest_bytes) == 0;
}

}  // namespace tsvswitch::bench
