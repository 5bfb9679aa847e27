// What the flooding client sends: UDP in IPv4 frames that name their port and carry a sequence number.
//
// The flow of a port is everything it sends to its partner. The 12-byte virtio-net header and the
// first 50 bytes of the frame, up to and including the sequence number, fit one cache line, so a
// client that touches headers only touches one line per frame. Behind them comes a payload that is a
// function of the sequence number; it is written and checked only when every byte is to be touched.
//
// kHelloSequence marks the frames by which the switch learns the ports; they are never counted.

#ifndef TSVSWITCH_BENCH_FRAME_H_
#define TSVSWITCH_BENCH_FRAME_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "virtio.h"

namespace tsvswitch::bench {

constexpr size_t kVirtioHeaderBytes = sizeof(virtio_net_hdr);
constexpr size_t kFrameBytesMin = 60;
constexpr size_t kFrameBytesMax = 65550;

constexpr size_t kSequenceOffset = 14 + 20 + 8;  // Ethernet, IPv4 and UDP headers.
constexpr size_t kPayloadOffset = kSequenceOffset + sizeof(uint64_t);
static_assert(kVirtioHeaderBytes + kPayloadOffset <= 64, "headers-only means one cache line");
static_assert(kPayloadOffset <= kFrameBytesMin);

constexpr uint64_t kHelloSequence = ~uint64_t{0};

inline uint64_t LoadU64(const uint8_t* from) {
  uint64_t value;
  memcpy(&value, from, sizeof(value));
  return value;
}

inline uint64_t Sequence(const uint8_t* frame) { return LoadU64(frame + kSequenceOffset); }

inline void SetSequence(uint8_t* frame, uint64_t sequence) {
  memcpy(frame + kSequenceOffset, &sequence, sizeof(sequence));
}

// The 14 bytes that a frame of one flow starts with, held as two overlapping words so that comparing
// them costs two loads.
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

// Writes all headers of a frame of `frame_bytes` from one port to another; sequence and payload stay.
void WriteHeaders(uint8_t* frame, size_t frame_bytes, size_t from_port, size_t to_port);

// Writes every byte behind the sequence number.
void WritePayload(uint8_t* frame, size_t frame_bytes, uint64_t sequence);

// Reads every byte behind the sequence number; whether all are as WritePayload left them.
bool PayloadMatches(const uint8_t* frame, size_t frame_bytes, uint64_t sequence);

}  // namespace tsvswitch::bench

#endif  // TSVSWITCH_BENCH_FRAME_H_
