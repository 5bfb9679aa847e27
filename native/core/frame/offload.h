// Translates a frame's virtio-net header between a sender and a receiver with different features.
//
// A sender may leave the checksum to the device (NEEDS_CSUM), and the cutting of a large packet
// (GSO). CheckOffload() judges the header once per frame, by the sender's features and by parsing
// the packet, and keeps the result in an Offload: the feature bits a receiver needs to be given the
// frame as it is, and the header it is then given. Per receiver, PlanOffload() compares bits:
//   kPass              the receiver has them all: the same bytes, the checked header
//   kCompleteChecksum  it lacks GUEST_CSUM: the bytes before the checksum, the checksum, the rest
//   kSegment           it lacks a bit for the GSO type: segmenter.h
// The sender's memory is never written. What a receiver is to get is a Parcel.
//
// A plain frame has flags and gso_type 0, needs nothing, and passes with a header of zeros; see
// IsPlain().
//
// DATA_VALID and RSC_INFO are not a driver's to set (virtio 1.2 §5.1.6.2.1) and are ignored like
// every flag bit that is not known (§5.1.6.2.2). Nor is DATA_VALID ever given to a receiver: no
// checksum was verified here, and memory that was summed may have changed since.
//
// Does not: know of queues or ports, allocate, write guest memory. Thread: any; the functions are
// pure. Sources: virtio 1.2 §5.1.3.1, §5.1.6.2, §5.1.6.4; RFC 1071. CVE-2024-11614 is csum_start
// unchecked.

#pragma once

#include <cstdint>

#include "core/frame/packet_headers.h"
#include "core/frame/slice.h"
#include "core/ring/virtio_spec.h"

namespace tsvswitch {

// More segments than any stack asks for; bounds what one frame can cost.
inline constexpr uint32_t kSegmentsMax = 2048;
// Linux sends TCP segments no smaller than this (tcp_min_snd_mss).
inline constexpr uint32_t kTcpSegmentBytesMin = 48;
inline constexpr uint32_t kFragmentHeaderBytes = 8;

// kOk, or why a frame is dropped. The texts are for the operator.
#define TSVSWITCH_OFFLOAD_VERDICTS(X)                                                            \
  X(kOk, "ok")                                                                                   \
  X(kCsumNotNegotiated, "NEEDS_CSUM without VIRTIO_NET_F_CSUM")                                  \
  X(kCsumOutsideFrame, "csum_start or csum_offset lies outside the frame's payload")             \
  X(kGsoTypeUnknown, "gso_type is none that virtio 1.2 defines")                                 \
  X(kGsoNotNegotiated, "gso_type needs a VIRTIO_NET_F_HOST feature that was not negotiated")     \
  X(kGsoWithoutCsum, "gso_type without NEEDS_CSUM")                                              \
  X(kGsoSizeTooSmall, "gso_size is 0, under 48 for TCP, or leaves a fragment no room")           \
  X(kGsoTooManySegments, "gso_size cuts the packet into more than 2048 segments")                \
  X(kGsoTypeMismatch, "gso_type names another protocol than the packet's headers")               \
  X(kGsoCsumMismatch, "csum_start or csum_offset is not where the packet's checksum is")         \
  X(kPacketTruncated, "the frame ends inside the headers of a packet that is to be segmented")   \
  X(kPacketHeadersTooLong, "more than 256 bytes or 8 extension headers in front of the payload") \
  X(kPacketUnsupported, "a packet to be segmented is not TCP or UDP over IPv4 or IPv6")          \
  X(kPacketMalformed, "a packet to be segmented has headers that contradict themselves")         \
  X(kPacketFragment, "a packet to be segmented is a fragment already")                           \
  X(kPacketBadLength, "the IP length of a packet to be segmented does not fit its frame")

enum class OffloadVerdict : uint8_t {
#define X(name, text) name,
  TSVSWITCH_OFFLOAD_VERDICTS(X)
#undef X
};

const char* OffloadVerdictText(OffloadVerdict verdict);

// A frame's offloads, checked. Value-initialised it is that of a plain frame.
struct Offload {
  uint64_t needs;       // receiver's feature bits without which the frame cannot be passed as it is
  VirtioNetHdr header;  // for a receiver that has them; num_buffers is the writer's
};

// What one receiver gets: bytes of the sender's, then private bytes, then again bytes of the
// sender's.
struct Parcel {
  static constexpr uint32_t kPrivateBytesMax = kPacketHeaderBytesMax + kFragmentHeaderBytes;

  uint32_t bytes() const { return before.bytes + private_bytes + after.bytes; }

  VirtioNetHdr header;  // num_buffers is the writer's
  Slice before;
  Slice after;
  uint32_t private_bytes;
  uint8_t private_data[kPrivateBytesMax];
};

// The whole check for nearly all frames: nothing was offloaded, and the rest of the header means
// nothing. `front` is a header's first eight bytes, as one word: flags and gso_type are its lowest.
inline bool IsPlain(uint64_t front) { return (front & 0xffff) == 0; }

// Judges the private copy of a header. `frame` is what follows it, at least kFrameBytesMin long.
// *offload is written only on kOk.
OffloadVerdict CheckOffload(const VirtioNetHdr& header, uint64_t sender_features,
                            const Slice& frame, Offload* offload);

enum class OffloadPlan : uint8_t { kPass, kCompleteChecksum, kSegment };

inline OffloadPlan PlanOffload(const Offload& offload, uint64_t receiver_features) {
  if ((offload.needs & ~receiver_features) == 0) [[likely]]
    return OffloadPlan::kPass;
  return offload.header.gso_type == VIRTIO_NET_HDR_GSO_NONE ? OffloadPlan::kCompleteChecksum
                                                            : OffloadPlan::kSegment;
}

// The frame as it is, for kPass.
void PassFrame(const Offload& offload, const Slice& frame, Parcel* parcel);
// The frame with its checksum, for kCompleteChecksum.
void CompleteChecksum(const Offload& offload, const Slice& frame, Parcel* parcel);

// The headers of a frame to be segmented, read again from memory that may have changed: what
// segmenter.h works on.
struct GsoPacket {
  PacketHeaders headers;
  uint32_t payload_bytes;
  // Payload of each segment but the last; with UFO, of the datagram that is cut into fragments.
  uint32_t chunk_bytes;
  uint32_t segments;  // 1..kSegmentsMax
};

// Gathers the headers of a frame into `bytes`, which has room for kPacketHeaderBytesMax, and checks
// that `header` fits them. *packet is written only on kOk.
OffloadVerdict ReadGsoPacket(const VirtioNetHdr& header, const Slice& frame, uint8_t* bytes,
                             GsoPacket* packet);

}  // namespace tsvswitch
