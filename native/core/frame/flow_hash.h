// A number per flow, so that all frames of one flow go to the same receiveq and stay in order.
//
// A flow is what a receiver must see in order: source and destination of the transport where there
// are ports, of the network for fragments and other protocols, of the link for what is not IP. The
// bytes may be wrong in any way: a guest that lies about them only chooses its own queue.
//
// Sources: RFC 791, RFC 8200, IEEE 802.1Q; virtio 1.2 §5.1.6.5.6.

#pragma once

#include <cstdint>
#include <cstring>

namespace tsvswitch {

// As much of a frame as FlowHash may look at: Ethernet, two tags, IPv6 and ports.
inline constexpr uint32_t kFlowBytesMax = 14 + 2 * 4 + 40 + 4;

namespace flow_hash_internal {

inline uint32_t Mix(uint32_t hash, const uint8_t* at, uint32_t bytes) {
  for (; bytes >= 4; bytes -= 4, at += 4) {
    uint32_t word;
    std::memcpy(&word, at, sizeof(word));
    hash = (hash ^ word) * 0x85ebca6b;
    hash ^= hash >> 15;
  }
  return hash;
}

inline uint16_t BigEndian16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }

inline bool HasPorts(uint8_t protocol) {
  constexpr uint8_t kTcp = 6, kUdp = 17, kDccp = 33, kSctp = 132, kUdpLite = 136;
  return protocol == kTcp || protocol == kUdp || protocol == kSctp || protocol == kDccp ||
         protocol == kUdpLite;
}

}  // namespace flow_hash_internal

// `frame` begins with the Ethernet header; `bytes`, at least 14, is how much of it is readable.
inline uint32_t FlowHash(const uint8_t* frame, uint32_t bytes) {
  using namespace flow_hash_internal;
  constexpr uint32_t kSeed = 0x9747b28c;
  uint32_t at = 12;
  uint16_t type = BigEndian16(frame + at);
  for (int tags = 0; tags < 2 && (type == 0x8100 || type == 0x88a8) && at + 6 <= bytes; ++tags) {
    at += 4;
    type = BigEndian16(frame + at);
  }
  at += 2;
  if (type == 0x0800 && at + 20 <= bytes) {
    const uint8_t* ip = frame + at;
    const uint32_t hash = Mix(kSeed, ip + 12, 8);
    const uint32_t header = (ip[0] & 0x0fu) * 4;
    const bool fragment = (BigEndian16(ip + 6) & 0x3fff) != 0;
    const bool ports = HasPorts(ip[9]) && !fragment && at + header + 4 <= bytes;
    return ports ? Mix(hash, ip + header, 4) : hash;
  }
  if (type == 0x86dd && at + 40 <= bytes) {
    const uint8_t* ip = frame + at;
    const uint32_t hash = Mix(kSeed, ip + 8, 32);
    const bool ports = HasPorts(ip[6]) && at + 44 <= bytes;
    return ports ? Mix(hash, ip + 40, 4) : hash;
  }
  return Mix(kSeed, frame, 12);
}

}  // namespace tsvswitch
