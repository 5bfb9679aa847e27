// The rules for a virtio-net header between two feature sets: every reason to drop, every plan, and
// checksums completed without a write to the sender's memory.
//
// Sources: virtio 1.2 §5.1.6.2.1, §5.1.6.2.2, §5.1.6.4.

#include "core/frame/offload.h"

#include "driver/packet.h"
#include "test/check.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kAll = ~uint64_t{0};

OffloadVerdict Check(const VirtioNetHdr& header, const Bytes& frame, uint64_t features = kAll,
                     Offload* offload = nullptr) {
  Offload unused;
  return CheckOffload(header, features, Scattered(frame).slice(),
                      offload != nullptr ? offload : &unused);
}

// A packet of three segments.
Packet Large(bool ipv6, bool tcp) {
  Packet packet;
  packet.ipv6 = ipv6;
  packet.tcp = tcp;
  packet.payload = Bytes(2500, 0x55);
  return packet;
}

OffloadVerdict CheckLarge(const Packet& packet, uint8_t gso_type, uint32_t gso_size = 1000) {
  return Check(HeaderOf(packet, gso_type, gso_size), packet.Frame(Checksum::kPartial));
}

FACT("a header is plain by its flags and gso_type alone, whatever else it holds") {
  VirtioNetHdr header;
  std::memset(&header, 0xff, sizeof(header));
  header.flags = 0;
  header.gso_type = 0;
  uint64_t front;
  std::memcpy(&front, &header, sizeof(front));
  CHECK(IsPlain(front));
  Offload offload;
  CHECK_EQ(Check(header, Bytes(14), 0, &offload), OffloadVerdict::kOk);
  CHECK_EQ(offload.needs, 0u);
  const VirtioNetHdr zero = {};
  CHECK_EQ(std::memcmp(&offload.header, &zero, sizeof(zero)), 0);
}

FACT("virtio 1.2 §5.1.6.2.2: flag bits that are not known are ignored and not passed on") {
  for (uint32_t flags = 0; flags < 256; flags += 2) {
    VirtioNetHdr header = {};
    header.flags = static_cast<uint8_t>(flags);
    Offload offload;
    CHECK_EQ(Check(header, Bytes(60), 0, &offload), OffloadVerdict::kOk);
    CHECK_EQ(offload.needs, 0u);
    CHECK_EQ(offload.header.flags, 0);
    header.flags |= VIRTIO_NET_HDR_F_NEEDS_CSUM;
    header.csum_start = 34;
    header.csum_offset = 16;
    CHECK_EQ(Check(header, Bytes(60), VIRTIO_NET_F_CSUM, &offload), OffloadVerdict::kOk);
    CHECK_EQ(offload.header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
  }
}

FACT("NEEDS_CSUM takes VIRTIO_NET_F_CSUM") {
  const Packet packet = Large(false, true);
  CHECK_EQ(Check(HeaderOf(packet), packet.Frame(Checksum::kPartial), kAll & ~VIRTIO_NET_F_CSUM),
           OffloadVerdict::kCsumNotNegotiated);
}

FACT("a checksum is accepted exactly where the payload of the frame has room for it") {
  const Bytes frame = Bytes(40, 1);
  for (const uint32_t start : {0, 1, 13, 14, 15, 37, 38, 39, 40, 0x7fff, 0xfffe, 0xffff}) {
    for (const uint32_t offset : {0, 1, 2, 23, 24, 25, 26, 38, 39, 0x7fff, 0xfffe, 0xffff}) {
      VirtioNetHdr header = {};
      header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
      header.csum_start = static_cast<uint16_t>(start);
      header.csum_offset = static_cast<uint16_t>(offset);
      const bool fits = start >= 14 && start + offset + 2 <= 40;
      CHECK_EQ(Check(header, frame),
               fits ? OffloadVerdict::kOk : OffloadVerdict::kCsumOutsideFrame);
    }
  }
}

FACT("only the gso types of virtio 1.2 are known, and ECN only with TCP") {
  const Bytes frame = Large(false, true).Frame(Checksum::kPartial);
  for (uint32_t type = 1; type < 256; ++type) {
    const VirtioNetHdr header = HeaderOf(Large(false, true), static_cast<uint8_t>(type), 1000);
    const bool known =
        type == 1 || type == 3 || type == 4 || type == 5 || type == 0x81 || type == 0x84;
    CHECK_EQ(Check(header, frame) == OffloadVerdict::kGsoTypeUnknown, !known);
  }
}

FACT("each gso type takes its own VIRTIO_NET_F_HOST features") {
  struct Row {
    uint8_t type;
    bool ipv6;
    bool tcp;
    uint64_t features;
  };
  for (const Row& row :
       {Row{0x01, false, true, VIRTIO_NET_F_HOST_TSO4},
        Row{0x81, false, true, VIRTIO_NET_F_HOST_TSO4},
        Row{0x81, false, true, VIRTIO_NET_F_HOST_ECN},
        Row{0x04, true, true, VIRTIO_NET_F_HOST_TSO6}, Row{0x84, true, true, VIRTIO_NET_F_HOST_ECN},
        Row{0x03, false, false, VIRTIO_NET_F_HOST_UFO},
        Row{0x03, true, false, VIRTIO_NET_F_HOST_UFO},
        Row{0x05, false, false, VIRTIO_NET_F_HOST_USO},
        Row{0x05, true, false, VIRTIO_NET_F_HOST_USO}}) {
    const Packet packet = Large(row.ipv6, row.tcp);
    const VirtioNetHdr header = HeaderOf(packet, row.type, 1000);
    const Bytes frame = packet.Frame(Checksum::kPartial);
    CHECK_EQ(Check(header, frame), OffloadVerdict::kOk);
    CHECK_EQ(Check(header, frame, kAll & ~row.features), OffloadVerdict::kGsoNotNegotiated);
  }
}

FACT("virtio 1.2 §5.1.6.2.1: a gso type comes with NEEDS_CSUM") {
  const Packet packet = Large(false, true);
  VirtioNetHdr header = HeaderOf(packet, VIRTIO_NET_HDR_GSO_TCPV4, 1000);
  header.flags = 0;
  CHECK_EQ(Check(header, packet.Frame(Checksum::kPartial)), OffloadVerdict::kGsoWithoutCsum);
}

FACT("gso_size has a floor, and so has the work that one frame can ask for") {
  const Packet tcp = Large(false, true);
  CHECK_EQ(CheckLarge(tcp, VIRTIO_NET_HDR_GSO_TCPV4, 0), OffloadVerdict::kGsoSizeTooSmall);
  CHECK_EQ(CheckLarge(tcp, VIRTIO_NET_HDR_GSO_TCPV4, 47), OffloadVerdict::kGsoSizeTooSmall);
  CHECK_EQ(CheckLarge(tcp, VIRTIO_NET_HDR_GSO_TCPV4, 48), OffloadVerdict::kOk);
  Packet udp = Large(true, false);
  CHECK_EQ(CheckLarge(udp, VIRTIO_NET_HDR_GSO_UDP_L4, 0), OffloadVerdict::kGsoSizeTooSmall);
  CHECK_EQ(CheckLarge(udp, VIRTIO_NET_HDR_GSO_UDP, 7), OffloadVerdict::kGsoSizeTooSmall);
  CHECK_EQ(CheckLarge(udp, VIRTIO_NET_HDR_GSO_UDP, 8), OffloadVerdict::kOk);
  udp.extensions = {{60, Bytes(8)}};
  CHECK_EQ(CheckLarge(udp, VIRTIO_NET_HDR_GSO_UDP, 15), OffloadVerdict::kGsoSizeTooSmall);
  CHECK_EQ(CheckLarge(udp, VIRTIO_NET_HDR_GSO_UDP, 16), OffloadVerdict::kOk);
  udp.payload = Bytes(kSegmentsMax);
  CHECK_EQ(CheckLarge(udp, VIRTIO_NET_HDR_GSO_UDP_L4, 1), OffloadVerdict::kOk);
  udp.payload = Bytes(kSegmentsMax + 1);
  CHECK_EQ(CheckLarge(udp, VIRTIO_NET_HDR_GSO_UDP_L4, 1), OffloadVerdict::kGsoTooManySegments);
}

FACT("gso_type has to name the packet that is there") {
  struct Row {
    bool ipv6;
    bool tcp;
    uint8_t type;
  };
  for (const Row& row :
       {Row{false, true, VIRTIO_NET_HDR_GSO_TCPV6}, Row{true, true, VIRTIO_NET_HDR_GSO_TCPV4},
        Row{false, false, VIRTIO_NET_HDR_GSO_TCPV4}, Row{true, false, VIRTIO_NET_HDR_GSO_TCPV6},
        Row{false, true, VIRTIO_NET_HDR_GSO_UDP}, Row{true, true, VIRTIO_NET_HDR_GSO_UDP_L4}}) {
    CHECK_EQ(CheckLarge(Large(row.ipv6, row.tcp), row.type), OffloadVerdict::kGsoTypeMismatch);
  }
}

FACT("csum_start and csum_offset of a gso frame have to be where its checksum is") {
  const Packet packet = Large(false, true);
  for (const int32_t by : {-1, 1, 4}) {
    VirtioNetHdr header = HeaderOf(packet, VIRTIO_NET_HDR_GSO_TCPV4, 1000);
    header.csum_start = static_cast<uint16_t>(header.csum_start + by);
    CHECK_EQ(Check(header, packet.Frame(Checksum::kPartial)), OffloadVerdict::kGsoCsumMismatch);
    header = HeaderOf(packet, VIRTIO_NET_HDR_GSO_TCPV4, 1000);
    header.csum_offset = static_cast<uint16_t>(header.csum_offset + by);
    CHECK_EQ(Check(header, packet.Frame(Checksum::kPartial)), OffloadVerdict::kGsoCsumMismatch);
  }
}

FACT("a frame that ends anywhere in its headers is truncated") {
  for (const bool ipv6 : {false, true}) {
    Packet packet = Large(ipv6, true);
    packet.tags = {0x88a8, 0x8100};
    packet.tcp_options = Bytes(12, 1);
    if (ipv6) packet.extensions = {{0, Bytes(8)}, {60, Bytes(8)}};
    if (!ipv6) packet.options = {{148, 4, 0, 0}};
    const Bytes whole = packet.Frame(Checksum::kPartial);
    for (size_t bytes = 14; bytes < packet.payload_at(); ++bytes) {
      const std::unique_ptr<uint8_t[]> exact(new uint8_t[bytes]);
      std::memcpy(exact.get(), whole.data(), bytes);
      PacketHeaders headers;
      CHECK_EQ(ParsePacketHeaders(exact.get(), static_cast<uint32_t>(bytes), &headers),
               ParseResult::kTruncated);
    }
    Bytes cut = whole;
    cut.resize(packet.checksum_at() + 2);
    const uint8_t type = ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
    CHECK_EQ(Check(HeaderOf(packet, type, 1000), cut), OffloadVerdict::kPacketTruncated);
    cut = whole;
    cut.pop_back();
    CHECK_EQ(Check(HeaderOf(packet, type, 1000), cut), OffloadVerdict::kPacketBadLength);
  }
}

// A change to a packet of Large(ipv6, true) and what is said about it. Offsets are from the IP
// header.
struct Change {
  bool ipv6;
  size_t at;
  uint8_t value;
  OffloadVerdict verdict;
};

FACT("headers that contradict themselves or the frame are named for what they are") {
  using V = OffloadVerdict;
  for (const Change& change :
       {Change{false, 0, 0x44, V::kPacketMalformed},  // header of 16 bytes
        Change{false, 0, 0x65, V::kPacketMalformed},  // version 6
        Change{true, 0, 0x40, V::kPacketMalformed},   // version 4
        // TCP header of 16 bytes
        Change{false, 32, 0x40, V::kPacketMalformed}, Change{false, 2, 0xff, V::kPacketBadLength},
        Change{false, 2, 0x00, V::kOk},  // shorter: the rest is padding
        Change{true, 4, 0xff, V::kPacketBadLength}, Change{false, 6, 0x20, V::kPacketFragment},
        Change{false, 7, 0x01, V::kPacketFragment}, Change{false, 6, 0x40, V::kOk},
        Change{true, 6, 44, V::kPacketFragment}, Change{false, 9, 1, V::kPacketUnsupported},
        Change{true, 6, 50, V::kPacketUnsupported}, Change{true, 6, 59, V::kPacketUnsupported}}) {
    const Packet packet = Large(change.ipv6, true);
    Bytes frame = packet.Frame(Checksum::kPartial);
    frame.at(14 + change.at) = change.value;
    const uint8_t type = change.ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
    CHECK_EQ(Check(HeaderOf(packet, type, 1000), frame), change.verdict);
  }
  Bytes frame = Large(false, true).Frame(Checksum::kPartial);
  Put16(&frame, 16, 39);  // an IP length one byte short of the headers
  CHECK_EQ(Check(HeaderOf(Large(false, true), VIRTIO_NET_HDR_GSO_TCPV4, 1000), frame),
           OffloadVerdict::kPacketBadLength);
  Put16(&frame, 12, 0x0806);
  CHECK_EQ(Check(HeaderOf(Large(false, true), VIRTIO_NET_HDR_GSO_TCPV4, 1000), frame),
           OffloadVerdict::kPacketUnsupported);
}

FACT("an IPv4 packet of length 0 in a frame of more than 64 KiB has no length") {
  Packet packet = Large(false, true);
  packet.payload = Bytes(kFrameBytesMax - packet.payload_at());
  Bytes frame = packet.Frame(Checksum::kPartial);
  CHECK_EQ(frame.size(), kFrameBytesMax);
  Put16(&frame, 16, 0);
  CHECK_EQ(Check(HeaderOf(packet, VIRTIO_NET_HDR_GSO_TCPV4, 1000), frame),
           OffloadVerdict::kPacketBadLength);
}

FACT("tags and extension headers are followed only so far") {
  Packet packet = Large(true, true);
  packet.tags = {0x8100, 0x8100};
  CHECK_EQ(CheckLarge(packet, VIRTIO_NET_HDR_GSO_TCPV6), OffloadVerdict::kOk);
  packet.tags = {0x8100, 0x8100, 0x8100};
  CHECK_EQ(CheckLarge(packet, VIRTIO_NET_HDR_GSO_TCPV6), OffloadVerdict::kPacketUnsupported);
  packet.tags = {};
  packet.extensions.assign(8, {60, Bytes(8)});
  CHECK_EQ(CheckLarge(packet, VIRTIO_NET_HDR_GSO_TCPV6), OffloadVerdict::kOk);
  packet.extensions.assign(9, {60, Bytes(8)});
  CHECK_EQ(CheckLarge(packet, VIRTIO_NET_HDR_GSO_TCPV6), OffloadVerdict::kPacketHeadersTooLong);
  // 254 bytes of headers, and 258.
  Bytes options(176);
  options[1] = 21;
  packet.extensions = {{0, options}};
  packet.tcp_options = Bytes(4, 1);
  CHECK_EQ(packet.payload_at(), 254u);
  CHECK_EQ(CheckLarge(packet, VIRTIO_NET_HDR_GSO_TCPV6), OffloadVerdict::kOk);
  packet.tcp_options = Bytes(8, 1);
  CHECK_EQ(CheckLarge(packet, VIRTIO_NET_HDR_GSO_TCPV6), OffloadVerdict::kPacketHeadersTooLong);
}

FACT("routes that hide the final destination are followed where RFC 8754 says it, else refused") {
  Packet packet = Large(false, true);
  for (const uint8_t kind : {uint8_t{131}, uint8_t{137}}) {
    packet.options = {{1}, {kind, 7, 4, 0, 0, 0, 0}};
    CHECK_EQ(CheckLarge(packet, VIRTIO_NET_HDR_GSO_TCPV4), OffloadVerdict::kPacketUnsupported);
  }
  packet = Large(true, true);
  Bytes routing(24);
  routing[1] = 2;
  for (const uint8_t segments_left : {uint8_t{0}, uint8_t{1}}) {
    routing[3] = segments_left;
    packet.extensions = {{43, routing}};
    CHECK_EQ(CheckLarge(packet, VIRTIO_NET_HDR_GSO_TCPV6),
             segments_left == 0 ? OffloadVerdict::kOk : OffloadVerdict::kPacketUnsupported);
  }
  routing = {0, 0, 4, 1, 0, 0, 0, 0};  // segments left, and no segment
  packet.extensions = {{43, routing}};
  CHECK_EQ(CheckLarge(packet, VIRTIO_NET_HDR_GSO_TCPV6), OffloadVerdict::kPacketMalformed);
}

FACT("every verdict has its own text") {
  for (uint8_t one = 0; one <= static_cast<uint8_t>(OffloadVerdict::kPacketBadLength); ++one) {
    const std::string text = OffloadVerdictText(OffloadVerdict{one});
    CHECK(text != "unknown");
    for (uint8_t other = 0; other < one; ++other) {
      CHECK(text != OffloadVerdictText(OffloadVerdict{other}));
    }
  }
}

FACT("a receiver gets the frame as it is exactly when it has every feature the frame needs") {
  const uint64_t bits[] = {VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4,
                           VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN,
                           VIRTIO_NET_F_GUEST_UFO,  VIRTIO_NET_F_GUEST_USO4,
                           VIRTIO_NET_F_GUEST_USO6};
  struct Row {
    bool ipv6;
    bool tcp;
    uint8_t type;
    uint64_t needs;
  };
  const uint64_t csum = VIRTIO_NET_F_GUEST_CSUM;
  for (const Row& row :
       {Row{false, true, 0, csum}, Row{true, false, 0, csum},
        Row{false, true, 0x01, csum | VIRTIO_NET_F_GUEST_TSO4},
        Row{false, true, 0x81, csum | VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_ECN},
        Row{true, true, 0x04, csum | VIRTIO_NET_F_GUEST_TSO6},
        Row{true, true, 0x84, csum | VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN},
        Row{false, false, 0x03, csum | VIRTIO_NET_F_GUEST_UFO},
        Row{true, false, 0x03, csum | VIRTIO_NET_F_GUEST_UFO},
        Row{false, false, 0x05, csum | VIRTIO_NET_F_GUEST_USO4},
        Row{true, false, 0x05, csum | VIRTIO_NET_F_GUEST_USO6}}) {
    const Packet packet = Large(row.ipv6, row.tcp);
    Offload offload;
    CHECK_EQ(Check(HeaderOf(packet, row.type, row.type != 0 ? 1000 : 0),
                   packet.Frame(Checksum::kPartial), kAll, &offload),
             OffloadVerdict::kOk);
    for (uint32_t set = 0; set < 128; ++set) {
      uint64_t features = 0;
      for (uint32_t bit = 0; bit < 7; ++bit) features |= (set >> bit & 1) != 0 ? bits[bit] : 0;
      const OffloadPlan expected = (features & row.needs) == row.needs ? OffloadPlan::kPass
                                   : row.type == 0 ? OffloadPlan::kCompleteChecksum
                                                   : OffloadPlan::kSegment;
      CHECK_EQ(PlanOffload(offload, features), expected);
    }
  }
}

FACT("a header that is passed on says what was found, not what the sender said") {
  const Packet packet = Large(false, true);
  for (const uint16_t lie : {uint16_t{0}, uint16_t{1}, uint16_t{0xffff}}) {
    VirtioNetHdr header = HeaderOf(packet, VIRTIO_NET_HDR_GSO_TCPV4, 1000);
    header.flags |= VIRTIO_NET_HDR_F_DATA_VALID | VIRTIO_NET_HDR_F_RSC_INFO;
    header.hdr_len = lie;
    header.num_buffers = lie;
    const Scattered frame(packet.Frame(Checksum::kPartial));
    Offload offload;
    CHECK_EQ(CheckOffload(header, kAll, frame.slice(), &offload), OffloadVerdict::kOk);
    Parcel parcel;
    PassFrame(offload, frame.slice(), &parcel);
    CHECK_EQ(parcel.bytes(), frame.slice().bytes);
    CHECK_EQ(parcel.before.bytes, frame.slice().bytes);
    CHECK_EQ(parcel.header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
    CHECK_EQ(parcel.header.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
    CHECK_EQ(parcel.header.gso_size, 1000);
    CHECK_EQ(parcel.header.hdr_len, packet.payload_at());
    CHECK_EQ(parcel.header.csum_start, packet.transport());
    CHECK_EQ(parcel.header.csum_offset, 16);
    CHECK_EQ(parcel.header.num_buffers, 0);
  }
}

// The frame that CompleteChecksum() makes.
Bytes Completed(const VirtioNetHdr& header, const Scattered& frame) {
  const Bytes before = frame.bytes();
  Offload offload;
  CHECK_EQ(CheckOffload(header, kAll, frame.slice(), &offload), OffloadVerdict::kOk);
  Parcel parcel;
  CompleteChecksum(offload, frame.slice(), &parcel);
  CHECK_EQ(parcel.header.flags, 0);
  CHECK_EQ(parcel.private_bytes, 2u);
  CHECK_EQ(parcel.bytes(), before.size());
  CHECK(frame.bytes() == before);
  Bytes bytes(before.size());
  Gather(parcel.before, bytes.data(), parcel.before.bytes);
  std::memcpy(bytes.data() + parcel.before.bytes, parcel.private_data, 2);
  Gather(parcel.after, bytes.data() + parcel.before.bytes + 2, parcel.after.bytes);
  return bytes;
}

FACT("a completed checksum is the one the sender would have computed") {
  for (uint32_t number = 0; number < 1000; ++number) {
    const Case in_case(number);
    Random random(number);
    const Packet packet = RandomPacket(random, random.Below(random.OneIn(20) ? 65000 : 2000));
    const Scattered frame(packet.Frame(Checksum::kPartial), random);
    Bytes expected = packet.Frame(Checksum::kComplete);
    // Whether it is UDP is not looked at: 0 is written as 0xffff for TCP too, and means the same.
    const size_t field = packet.checksum_at();
    if (expected[field] == 0 && expected[field + 1] == 0) Put16(&expected, field, 0xffff);
    CHECK(Completed(HeaderOf(packet), frame) == expected);
  }
}

FACT("RFC 768: a checksum of zero is sent as all ones") {
  Packet packet;
  packet.tcp = false;
  packet.payload = Bytes(100);
  const Bytes unfinished = packet.Frame(Checksum::kComplete);
  const size_t field = packet.checksum_at();
  packet.payload[0] = unfinished[field];
  packet.payload[1] = unfinished[field + 1];
  const Bytes completed = Completed(HeaderOf(packet), Scattered(packet.Frame(Checksum::kPartial)));
  CHECK_EQ(completed[field], 0xff);
  CHECK_EQ(completed[field + 1], 0xff);
}

FACT("any place for the checksum that is in the frame is served, odd ones and the last bytes too") {
  Random random(5);
  const Bytes bytes = random.Some(64);
  for (uint16_t start = 14; start <= 62; ++start) {
    for (uint16_t offset = 0; start + offset + 2 <= 64; ++offset) {
      VirtioNetHdr header = {};
      header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
      header.csum_start = start;
      header.csum_offset = offset;
      Bytes expected = bytes;
      const uint16_t sum = static_cast<uint16_t>(~SlowSum(bytes, start));
      Put16(&expected, start + offset, sum != 0 ? sum : 0xffffu);
      CHECK(Completed(header, Scattered(bytes, random)) == expected);
    }
  }
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
