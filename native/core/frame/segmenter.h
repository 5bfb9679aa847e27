// Cuts a large packet into ones its receiver can take, if the receiver lacks the GUEST feature that
// would let it pass uncut.
//
//   TCPV4, TCPV6   segments: sequence numbers count on, FIN and PSH only in the last, CWR only in
//                  the first
//   UDP_L4         datagrams of gso_size bytes each
//   UDP            fragments of one datagram: IPv4 fragments, or IPv6 with a fragment header
//
// Begin() gathers the headers into private memory and parses them anew; Next() hands out one
// segment at a time: a private copy of the headers with what differs patched in, and a slice of the
// payload, which stays in the sender's memory. So the caller decides how many segments it holds at
// once, and nothing is allocated. All payload bytes within the IP length appear once, in order.
//
// Lengths, IPv4 identification (counting on) and header checksum, and the transport checksum are
// set in each. A receiver with GUEST_CSUM is given TCP segments and datagrams with NEEDS_CSUM
// instead, so that no payload is read here; a fragment's checksum covers bytes of others and is
// always complete.
//
// Thread: its owner. Sources: virtio 1.2 §5.1.6.2; RFC 791 §3.2; RFC 8200 §4.5; RFC 9293 §3.1; RFC
// 3168 §6.1.2 (CWR).

#pragma once

#include <cstdint>

#include "core/frame/offload.h"

namespace tsvswitch {

class Segmenter {
 public:
  // `fragment_id`: where the identification of datagrams cut into fragments starts to count, best
  // one that nobody can guess.
  explicit Segmenter(uint32_t fragment_id) : next_fragment_id_(fragment_id) {}

  // For a frame whose plan is kSegment. The frame's pieces must stay until the last Next().
  OffloadVerdict Begin(const Offload& offload, const Slice& frame, uint64_t receiver_features);
  // After Begin() returned kOk: the next segment, or false when there are no more.
  bool Next(Parcel* parcel);
  // How many Next() will still hand out.
  uint32_t left() const { return left_; }
  // The longest of them, without Ethernet's header and tags. After Begin() returned kOk.
  uint32_t packet_bytes_max() const;

 private:
  void BeginFragments();
  void MakeSegment(Parcel* parcel);
  void MakeFragment(Parcel* parcel);
  void PatchTransport(Parcel* parcel) const;

  // Valid from Begin() on.
  uint8_t bytes_[kPacketHeaderBytesMax];  // the frame's headers
  GsoPacket packet_;
  Slice rest_;  // payload not handed out yet
  uint32_t left_ = 0;
  bool fragments_ = false;
  bool partial_checksum_ = false;
  uint32_t fragment_id_ = 0;

  uint32_t next_fragment_id_;
};

}  // namespace tsvswitch
