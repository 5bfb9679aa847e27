// Fuzz target: what a guest says of a packet in its virtio-net header, and the packet's own
// headers.
//
// A frame is a packet as a stack makes it, with bytes changed, cut off or added, or nothing but
// bytes of the input; it lies in pieces, each an allocation of its own. What core lets pass is held
// against slow references: the same frame, the frame with a checksum summed up byte by byte, or
// segments and fragments that are sound packets each and carry the payload once and in order. Then
// the sender changes its frame between check and use, after which anything may come out of it, as
// long as it ends and stays inside.

#include <algorithm>
#include <iterator>

#include "core/frame/flow_hash.h"
#include "core/frame/segmenter.h"
#include "driver/packet.h"
#include "input.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kSenderBits[] = {VIRTIO_NET_F_CSUM,      VIRTIO_NET_F_HOST_TSO4,
                                    VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_HOST_ECN,
                                    VIRTIO_NET_F_HOST_UFO,  VIRTIO_NET_F_HOST_USO};
constexpr uint64_t kReceiverBits[] = {VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4,
                                      VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN,
                                      VIRTIO_NET_F_GUEST_UFO,  VIRTIO_NET_F_GUEST_USO4,
                                      VIRTIO_NET_F_GUEST_USO6};

template <size_t kCount>
uint64_t Chosen(uint8_t choice, const uint64_t (&bits)[kCount]) {
  uint64_t features = 0;
  for (size_t i = 0; i < kCount; ++i) features |= (choice >> i & 1) != 0 ? bits[i] : 0;
  return features;
}

struct Sent {
  VirtioNetHdr header;
  Bytes frame;
};

VirtioNetHdr TakeHeader(Input& input) {
  VirtioNetHdr header = {};
  header.flags = input.Byte();
  header.gso_type = input.Byte();
  header.hdr_len = input.Take<uint16_t>();
  header.gso_size = input.Take<uint16_t>();
  header.csum_start = input.Take<uint16_t>();
  header.csum_offset = input.Take<uint16_t>();
  return header;
}

// What a stack hands over: a type that fits its packet, or now and then one that does not.
Sent TakePacket(Input& input) {
  constexpr uint8_t kTypes[] = {VIRTIO_NET_HDR_GSO_NONE,   VIRTIO_NET_HDR_GSO_TCPV4,
                                VIRTIO_NET_HDR_GSO_TCPV6,  VIRTIO_NET_HDR_GSO_UDP,
                                VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_NET_HDR_GSO_TCPV4 | 0x80};
  Random random(input.Take<uint16_t>());
  const uint32_t payload_bytes = input.Take<uint16_t>();
  // Long ones take their time and are seldom of interest.
  const bool is_long = input.Below(32) == 31;
  const Packet packet = RandomPacket(random, is_long ? payload_bytes : payload_bytes % 1024);
  uint8_t type = kTypes[input.Below(std::size(kTypes))];
  if (input.Flag() && type != VIRTIO_NET_HDR_GSO_NONE) {
    type = packet.ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
    if (!packet.tcp) type = input.Flag() ? VIRTIO_NET_HDR_GSO_UDP : VIRTIO_NET_HDR_GSO_UDP_L4;
  }
  Sent sent = {HeaderOf(packet, type, input.Take<uint16_t>()), packet.Frame(Checksum::kPartial)};
  if (type == VIRTIO_NET_HDR_GSO_NONE) sent.header.gso_size = 0;
  return sent;
}

// Some bytes are not what they were, most of them among the headers; `put` changes one.
template <class Put>
void Change(Input& input, size_t bytes, Put put) {
  for (uint32_t changes = input.Below(8); changes > 0; --changes) {
    const size_t at = input.Flag() ? input.Take<uint16_t>() : input.Byte();
    put(at % bytes, input.Byte());
  }
}

Bytes Joined(const Parcel& parcel) {
  MUST(parcel.private_bytes <= sizeof(parcel.private_data));
  Bytes bytes(parcel.bytes());
  uint8_t* at = bytes.data();
  at += Gather(parcel.before, at, parcel.before.bytes);
  std::memcpy(at, parcel.private_data, parcel.private_bytes);
  Gather(parcel.after, at + parcel.private_bytes, parcel.after.bytes);
  return bytes;
}

uint32_t Get16(const Bytes& bytes, size_t at) {
  return uint32_t{bytes.at(at)} << 8 | bytes.at(at + 1);
}
uint32_t Get32(const Bytes& bytes, size_t at) {
  return Get16(bytes, at) << 16 | Get16(bytes, at + 2);
}
Bytes Part(const Bytes& bytes, size_t from, size_t to) {
  MUST(from <= to && to <= bytes.size());
  return {bytes.begin() + static_cast<ptrdiff_t>(from), bytes.begin() + static_cast<ptrdiff_t>(to)};
}

// What the parser says of the first bytes, which lie in an allocation that ends with them.
ParseResult Parse(const Bytes& frame, PacketHeaders* headers) {
  const Bytes start = Part(frame, 0, std::min<size_t>(frame.size(), kPacketHeaderBytesMax));
  const ParseResult result =
      ParsePacketHeaders(start.data(), static_cast<uint32_t>(frame.size()), headers);
  if (result != ParseResult::kOk) return result;
  MUST(headers->network >= 14 && headers->network < headers->transport);
  MUST(headers->transport < headers->payload && headers->payload <= start.size());
  MUST(headers->payload <= headers->packet_end && headers->packet_end <= frame.size());
  MUST(headers->fragmentable > headers->network && headers->fragmentable <= headers->transport);
  MUST(headers->next_header >= headers->network && headers->next_header < headers->fragmentable);
  return result;
}

// Pseudo header, transport header and payload: 0xffff if the checksum in it is right.
uint16_t TransportSum(const Bytes& frame, const PacketHeaders& at) {
  const uint32_t address_bytes = at.ipv6 ? 16 : 4;
  const uint32_t source = at.network + (at.ipv6 ? 8u : 12u);
  Bytes summed = Part(frame, source, source + address_bytes);
  Append(&summed, Part(frame, at.destination, uint32_t{at.destination} + address_bytes));
  Append32(&summed, at.packet_end - at.transport);
  Append32(&summed, at.protocol);
  Append(&summed, Part(frame, at.transport, at.packet_end));
  return SlowSum(summed);
}

void MustHaveIpv4Checksum(const Bytes& frame, uint32_t network, uint32_t transport) {
  MUST(SlowSum(Part(frame, network, transport)) == 0xffff);
}

Bytes WithChecksum(const VirtioNetHdr& header, Bytes frame) {
  const uint16_t sum = static_cast<uint16_t>(~SlowSum(frame, header.csum_start));
  Put16(&frame, size_t{header.csum_start} + header.csum_offset, sum != 0 ? sum : 0xffff);
  return frame;
}

// A segment of TCP, or a datagram of UDP, behind `sent` bytes of payload. Returns its payload.
Bytes CheckSegment(const Sent& whole, const PacketHeaders& at, const Parcel& parcel, size_t sent,
                   bool is_last) {
  Bytes segment = Joined(parcel);
  if ((parcel.header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0) {
    segment = WithChecksum(parcel.header, segment);
  }
  PacketHeaders own;
  MUST(Parse(segment, &own) == ParseResult::kOk);
  MUST(own.network == at.network && own.transport == at.transport && own.payload == at.payload);
  MUST(own.protocol == at.protocol && own.ipv6 == at.ipv6 && own.packet_end == segment.size());
  if (!own.ipv6) MustHaveIpv4Checksum(segment, own.network, own.transport);
  MUST(TransportSum(segment, own) == 0xffff);
  const size_t transport = own.transport;
  if (own.protocol == kProtocolTcp) {
    MUST(Get32(segment, transport + 4) ==
         static_cast<uint32_t>(Get32(whole.frame, transport + 4) + sent));
    const uint8_t gone = static_cast<uint8_t>((sent != 0 ? 0x80 : 0) | (is_last ? 0 : 0x09));
    MUST(segment[transport + 13] == (whole.frame[transport + 13] & ~gone));
  } else {
    MUST(Get16(segment, transport + 4) == segment.size() - transport);
  }
  if (!is_last) MUST(segment.size() - own.payload == whole.header.gso_size);
  return Part(segment, own.payload, segment.size());
}

// A fragment at `offset`; returns what it carries of the datagram.
Bytes CheckFragment(const PacketHeaders& at, const Parcel& parcel, size_t offset, bool is_last) {
  const Bytes fragment = Joined(parcel);
  MUST(parcel.header.flags == 0);
  const size_t network = at.network;
  if (!at.ipv6) {
    MustHaveIpv4Checksum(fragment, at.network, at.transport);
    MUST(Get16(fragment, network + 2) == fragment.size() - network);
    MUST(Get16(fragment, network + 6) == (offset / 8 | (is_last ? 0 : 0x2000)));
    return Part(fragment, at.transport, fragment.size());
  }
  const size_t own = at.fragmentable;
  MUST(Get16(fragment, network + 4) == fragment.size() - network - 40);
  MUST(fragment[at.next_header] == 44);
  MUST(Get16(fragment, own + 2) == (offset | (is_last ? 0 : 1)));
  return Part(fragment, own + 8, fragment.size());
}

void CheckCut(const Sent& sent, const Offload& offload, const Slice& frame, uint64_t features,
              Segmenter& segmenter) {
  PacketHeaders at;
  MUST(Parse(sent.frame, &at) == ParseResult::kOk);
  MUST(segmenter.Begin(offload, frame, features) == OffloadVerdict::kOk);
  MUST(segmenter.left() > 0 && segmenter.left() <= kSegmentsMax);
  const bool fragments = sent.header.gso_type == VIRTIO_NET_HDR_GSO_UDP && segmenter.left() > 1;
  Bytes carried;
  Parcel parcel;
  for (uint32_t left = segmenter.left(); segmenter.Next(&parcel); --left) {
    MUST(segmenter.left() == left - 1);
    MUST(parcel.bytes() - at.network <= segmenter.packet_bytes_max());
    Append(&carried, fragments ? CheckFragment(at, parcel, carried.size(), left == 1)
                               : CheckSegment(sent, at, parcel, carried.size(), left == 1));
  }
  MUST(segmenter.left() == 0);
  if (!fragments) {
    MUST(carried == Part(sent.frame, at.payload, at.packet_end));
    return;
  }
  Bytes datagram = Part(sent.frame, 0, at.fragmentable);
  Append(&datagram, carried);
  MUST(datagram.size() == at.packet_end && TransportSum(datagram, at) == 0xffff);
  MUST(Get16(datagram, size_t{at.transport} + 4) == datagram.size() - at.transport);
  MUST(Part(datagram, at.payload, datagram.size()) == Part(sent.frame, at.payload, at.packet_end));
}

void CheckDelivery(const Sent& sent, const Offload& offload, const Slice& frame, uint64_t features,
                   Segmenter& segmenter) {
  Parcel parcel;
  switch (PlanOffload(offload, features)) {
    case OffloadPlan::kPass:
      PassFrame(offload, frame, &parcel);
      MUST(Joined(parcel) == sent.frame);
      return;
    case OffloadPlan::kCompleteChecksum:
      CompleteChecksum(offload, frame, &parcel);
      MUST(parcel.header.flags == 0);
      MUST(Joined(parcel) == WithChecksum(offload.header, sent.frame));
      return;
    case OffloadPlan::kSegment: CheckCut(sent, offload, frame, features, segmenter);
  }
}

void Run(Input& input) {
  const uint64_t sender = Chosen(static_cast<uint8_t>(~input.Byte()), kSenderBits);
  const uint64_t receiver = Chosen(input.Byte(), kReceiverBits);
  const bool is_packet = !input.Flag();
  Sent sent = is_packet ? TakePacket(input) : Sent{TakeHeader(input), input.Bytes(2048)};
  if (sent.frame.size() < kFrameBytesMin) sent.frame.resize(kFrameBytesMin);
  if (is_packet) {
    Change(input, sent.frame.size(), [&](size_t at, uint8_t byte) { sent.frame[at] = byte; });
    if (input.Flag()) sent.header = TakeHeader(input);
    if (input.Flag()) {
      const size_t bytes = sent.frame.size() + 128 - input.Byte();
      sent.frame.resize(std::clamp<size_t>(bytes, kFrameBytesMin, kFrameBytesMax));
    }
  }
  sent.frame.resize(std::min<size_t>(sent.frame.size(), kFrameBytesMax));

  PacketHeaders unused;
  Parse(sent.frame, &unused);
  const Bytes start = Part(sent.frame, 0, std::min<size_t>(sent.frame.size(), kFlowBytesMax));
  FlowHash(start.data(), static_cast<uint32_t>(start.size()));

  Random cuts(input.Byte());
  Scattered frame(sent.frame, cuts);
  Offload offload;
  const OffloadVerdict verdict = CheckOffload(sent.header, sender, frame.slice(), &offload);
  if (verdict != OffloadVerdict::kOk) return;
  Segmenter segmenter(input.Take<uint16_t>());
  CheckDelivery(sent, offload, frame.slice(), receiver, segmenter);
  MUST(frame.bytes() == sent.frame);

  Change(input, sent.frame.size(), [&](size_t at, uint8_t byte) { *frame.at(at) = byte; });
  Parcel parcel;
  if (PlanOffload(offload, 0) == OffloadPlan::kCompleteChecksum) {
    CompleteChecksum(offload, frame.slice(), &parcel);
    MUST(Joined(parcel).size() == sent.frame.size());
  } else if (segmenter.Begin(offload, frame.slice(), receiver) == OffloadVerdict::kOk) {
    MUST(segmenter.left() <= kSegmentsMax);
    while (segmenter.Next(&parcel)) {
      MUST(Joined(parcel).size() <= sent.frame.size() + kFragmentHeaderBytes);
    }
  }
}

}  // namespace
}  // namespace tsvswitch

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  tsvswitch::Input input(data, bytes);
  tsvswitch::Run(input);
  return 0;
}
