// What the flooding client sends: frames that name their port and carry a sequence number.
//
// The flow of a port is everything it sends to its partner: UDP in IPv4, or TCP in IPv4 for frames
// that are larger than any wire takes and that the device may cut (Transport::kTcpSegments). Of
// UDP, the 12-byte virtio-net header and the first 50 bytes of the frame, up to and including the
// sequence number, fit one cache line, so a client that touches headers only touches one line per
// frame. The time stamp behind it is written only when latency is measured under load. Then comes a
// payload that is a function of the sequence number; it is written and checked when every byte is
// to be touched.
//
// kHelloSequence marks the frames by which the switch learns the ports; they are never counted.

#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "virtio.h"

namespace tsvswitch::bench {

constexpr size_t kVirtioHeaderBytes = sizeof(virtio_net_hdr);
constexpr size_t kFrameBytesMin = 60;
constexpr size_t kFrameBytesMax = 65549;  // What the length field of IPv4 can say.

enum class Transport { kUdp, kTcpSegments };

// Behind the Ethernet, IPv4 and UDP or TCP headers.
constexpr size_t SequenceOffset(Transport transport) {
  return 14 + 20 + (transport == Transport::kUdp ? 8 : 20);
}
constexpr size_t StampOffset(Transport transport) {
  return SequenceOffset(transport) + sizeof(uint64_t);
}
constexpr size_t PayloadOffset(Transport transport) {
  return StampOffset(transport) + sizeof(uint64_t);
}
static_assert(kVirtioHeaderBytes + StampOffset(Transport::kUdp) <= 64,
              "headers-only means one cache line");
static_assert(PayloadOffset(Transport::kUdp) <= kFrameBytesMin);

// What a guest sends whose MTU is 1500 and whose TCP has time stamps.
constexpr uint16_t kSegmentBytes = 1448;
// 45 segments: about as much as one IPv4 packet holds.
constexpr size_t kSegmentedFrameBytes = 14 + 20 + 20 + 45 * kSegmentBytes;
static_assert(kSegmentedFrameBytes <= kFrameBytesMax);

// The sizes and the kind of a port's frames.
struct FrameShape {
  Transport transport = Transport::kUdp;
  size_t frame_bytes = 64;  // Of the largest where they differ.
  bool is_imix = false;

  // A buffer always holds frames of the same size, so that its descriptor never changes.
  size_t BytesOf(uint32_t buffer) const;
};

constexpr size_t kImixFrameBytesMax = 1518;

constexpr uint64_t kHelloSequence = ~uint64_t{0};

inline uint64_t LoadU64(const uint8_t* from) {
  uint64_t value;
  memcpy(&value, from, sizeof(value));
  return value;
}

inline void StoreU64(uint8_t* to, uint64_t value) { memcpy(to, &value, sizeof(value)); }

// The 14 bytes that a frame of one flow starts with, held as two overlapping words so that
// comparing them costs two loads.
class EthernetHeader {
 public:
  EthernetHeader() = default;
  EthernetHeader(size_t from_port, size_t to_port);

  bool Matches(const uint8_t* frame) const {
    return LoadU64(frame) == first_ && LoadU64(frame + kSecondOffset) == second_;
  }

 private:
  static constexpr size_t kSecondOffset = 14 - sizeof(uint64_t);

  uint64_t first_ = 0;
  uint64_t second_ = 0;
};

// Whether the destination address is that of a port.
bool IsAddressedTo(const uint8_t* frame, size_t port);

// What the length field of the IPv4 header makes of the frame's size.
inline size_t SaidBytes(const uint8_t* frame) {
  constexpr size_t kIpLengthOffset = 14 + 2;
  return 14 + (size_t{frame[kIpLengthOffset]} << 8 | frame[kIpLengthOffset + 1]);
}

// Writes the virtio-net header and all headers of a frame of `frame_bytes` from one port to
// another; sequence, stamp and payload stay.
void WriteHeaders(uint8_t* buffer, Transport transport, size_t frame_bytes, size_t from_port,
                  size_t to_port);

// Whether a virtio-net header says of a frame what WriteHeaders said, as far as a guest needs it:
// the segments to cut it into. A backend may have completed the checksum.
bool SegmentsMatch(const uint8_t* buffer, Transport transport);

// Writes the `bytes` of a payload.
void WritePayload(uint8_t* payload, size_t bytes, uint64_t sequence);

// Reads `bytes` of a payload that begin `offset` bytes behind its start; whether all are as
// WritePayload left them.
bool PayloadMatches(const uint8_t* piece, size_t offset, size_t bytes, uint64_t sequence);

}  // namespace tsvswitch::bench
