// Segmentation against packets built from scratch: for each random packet the segments it should
// become are described and written anew, and compared byte by byte.

#include "core/frame/segmenter.h"

#include "driver/packet.h"
#include "test/check.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kAll = ~uint64_t{0};
constexpr uint64_t kNone = 0;
constexpr uint32_t kFragmentId = 0xabcdef01;

Bytes Joined(const Parcel& parcel) {
  Bytes bytes(parcel.bytes());
  uint8_t* at = bytes.data();
  at += Gather(parcel.before, at, parcel.before.bytes);
  std::memcpy(at, parcel.private_data, parcel.private_bytes);
  Gather(parcel.after, at + parcel.private_bytes, parcel.after.bytes);
  return bytes;
}

// All segments of a frame for a receiver; the sender's memory must be as before.
std::vector<Bytes> Segments(const VirtioNetHdr& header, const Scattered& frame,
                            uint64_t receiver_features,
                            std::vector<VirtioNetHdr>* headers = nullptr) {
  const Bytes before = frame.bytes();
  Offload offload;
  CHECK_EQ(CheckOffload(header, kAll, frame.slice(), &offload), OffloadVerdict::kOk);
  CHECK_EQ(PlanOffload(offload, receiver_features), OffloadPlan::kSegment);
  Segmenter segmenter(kFragmentId);
  CHECK_EQ(segmenter.Begin(offload, frame.slice(), receiver_features), OffloadVerdict::kOk);
  std::vector<Bytes> segments;
  Parcel parcel;
  for (uint32_t left = segmenter.left(); segmenter.Next(&parcel); --left) {
    CHECK_EQ(segmenter.left(), left - 1);
    CHECK(parcel.private_bytes <= sizeof(parcel.private_data));
    segments.push_back(Joined(parcel));
    if (headers != nullptr) headers->push_back(parcel.header);
    CHECK_EQ(parcel.header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
  }
  CHECK_EQ(segmenter.left(), 0u);
  CHECK(!segmenter.Next(&parcel));
  CHECK(frame.bytes() == before);
  return segments;
}

// TCP segments and UDP datagrams of `size` bytes of payload.
std::vector<Bytes> ExpectedSegments(const Packet& packet, size_t size, Checksum checksum) {
  std::vector<Bytes> frames;
  for (size_t at = 0; at == 0 || at < packet.payload.size(); at += size) {
    const size_t end = std::min(at + size, packet.payload.size());
    Packet segment = packet;
    segment.payload.assign(packet.payload.begin() + static_cast<ptrdiff_t>(at),
                           packet.payload.begin() + static_cast<ptrdiff_t>(end));
    segment.id = static_cast<uint16_t>(packet.id + at / size);
    segment.sequence = static_cast<uint32_t>(packet.sequence + at);
    if (at != 0) segment.flags &= 0x7f;                           // CWR
    if (end != packet.payload.size()) segment.flags &= 0xff - 9;  // FIN, PSH
    frames.push_back(segment.Frame(checksum));
  }
  return frames;
}

// Fragments of at most `size` bytes behind the headers that all of them repeat.
std::vector<Bytes> ExpectedFragments(const Packet& packet, size_t size) {
  size_t repeated = 0;
  for (size_t i = 0; i < packet.extensions.size(); ++i) {
    if (packet.extensions[i].kind != 60) repeated = i + 1;
  }
  Bytes whole;
  packet.AppendExtensions(&whole, repeated, packet.extensions.size(), packet.protocol());
  const uint8_t first_kind = whole.empty() ? packet.protocol() : packet.extensions[repeated].kind;
  Append(&whole, packet.Segment(Checksum::kComplete));
  size = size / 8 * 8;
  if (whole.size() <= size) return {packet.Frame(Checksum::kComplete)};
  Packet carrier = packet;
  if (packet.dont_fragment) carrier.id = static_cast<uint16_t>(kFragmentId);
  carrier.dont_fragment = false;
  carrier.extensions.resize(repeated);
  std::vector<Bytes> frames;
  for (size_t at = 0; at < whole.size(); at += size) {
    const Bytes part(whole.begin() + static_cast<ptrdiff_t>(at),
                     whole.begin() + static_cast<ptrdiff_t>(std::min(at + size, whole.size())));
    const bool more = at + size < whole.size();
    Bytes frame = packet.Ethernet();
    if (packet.ipv6) {
      Bytes fragment = {first_kind, 0};
      Append16(&fragment, at | (more ? 1 : 0));
      Append32(&fragment, kFragmentId);
      carrier.extensions.resize(repeated);
      carrier.extensions.push_back({44, fragment});
      Bytes header = carrier.IpHeader(part.size(), false);
      // IpHeader() lets the last extension name the transport protocol.
      header[header.size() - 8] = first_kind;
      Append(&frame, header);
    } else {
      Append(&frame, carrier.IpHeader(part.size(), at != 0,
                                      static_cast<uint16_t>(at / 8 | (more ? 0x2000 : 0))));
    }
    Append(&frame, part);
    frames.push_back(frame);
  }
  return frames;
}

uint8_t TcpType(const Packet& packet) {
  return packet.ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
}

FACT("TCP segments and UDP datagrams are what a stack without offloads would have sent") {
  for (uint32_t number = 0; number < 800; ++number) {
    const Case in_case(number);
    Random random(number);
    const Packet packet = RandomPacket(random, random.Below(random.OneIn(20) ? 65000 : 4000));
    const uint32_t size = random.Between(
        std::max<uint32_t>(48, static_cast<uint32_t>(packet.payload.size() / kSegmentsMax + 1)),
        3000);
    const Scattered frame(packet.Frame(Checksum::kPartial), random);
    const uint8_t type = packet.tcp ? TcpType(packet) : VIRTIO_NET_HDR_GSO_UDP_L4;
    const uint8_t ecn = packet.tcp && random.OneIn(2) ? VIRTIO_NET_HDR_GSO_ECN : 0;
    const VirtioNetHdr header = HeaderOf(packet, type | ecn, size);
    std::vector<VirtioNetHdr> headers;
    CHECK(Segments(header, frame, kNone, &headers) ==
          ExpectedSegments(packet, size, Checksum::kComplete));
    for (const VirtioNetHdr& each : headers) CHECK_EQ(each.flags, 0);
  }
}

FACT("a receiver with GUEST_CSUM gets segments whose checksum it completes itself") {
  for (uint32_t number = 0; number < 300; ++number) {
    const Case in_case(number);
    Random random(number);
    const Packet packet = RandomPacket(random, random.Between(1, 4000));
    const uint32_t size = random.Between(48, 1500);
    const Scattered frame(packet.Frame(Checksum::kPartial), random);
    const uint8_t type = packet.tcp ? TcpType(packet) : VIRTIO_NET_HDR_GSO_UDP_L4;
    const VirtioNetHdr header = HeaderOf(packet, type, size);
    std::vector<VirtioNetHdr> headers;
    CHECK(Segments(header, frame, VIRTIO_NET_F_GUEST_CSUM, &headers) ==
          ExpectedSegments(packet, size, Checksum::kPartial));
    for (const VirtioNetHdr& each : headers) {
      CHECK_EQ(each.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
      CHECK_EQ(each.csum_start, header.csum_start);
      CHECK_EQ(each.csum_offset, header.csum_offset);
    }
  }
}

FACT("UFO becomes IPv4 fragments or IPv6 fragments that share one complete checksum") {
  uint32_t fragmented = 0;
  for (uint32_t number = 0; number < 800; ++number) {
    const Case in_case(number);
    Random random(number);
    Packet packet = RandomPacket(random, random.Below(random.OneIn(20) ? 65000 : 4000));
    packet.tcp = false;
    const uint32_t size = random.Between(104, 3000);
    const Scattered frame(packet.Frame(Checksum::kPartial), random);
    const VirtioNetHdr header = HeaderOf(packet, VIRTIO_NET_HDR_GSO_UDP, size);
    const std::vector<Bytes> fragments = Segments(header, frame, kNone);
    CHECK(fragments == ExpectedFragments(packet, size));
    if (fragments.size() < 2) continue;
    ++fragmented;
    CHECK(Segments(header, frame, VIRTIO_NET_F_GUEST_CSUM) == fragments);
  }
  CHECK(fragmented > 300);
}

FACT("datagrams cut into fragments are numbered one by one") {
  Packet packet;
  packet.ipv6 = true;
  packet.tcp = false;
  packet.payload = Bytes(3000, 7);
  const Scattered frame(packet.Frame(Checksum::kPartial));
  Offload offload;
  CHECK_EQ(
      CheckOffload(HeaderOf(packet, VIRTIO_NET_HDR_GSO_UDP, 1000), kAll, frame.slice(), &offload),
      OffloadVerdict::kOk);
  Segmenter segmenter(0xffffffff);
  for (const uint32_t id : {0xffffffffu, 0u, 1u}) {
    CHECK_EQ(segmenter.Begin(offload, frame.slice(), kNone), OffloadVerdict::kOk);
    Parcel parcel;
    while (segmenter.Next(&parcel)) CHECK_EQ(LoadNetwork32(parcel.private_data + 58), id);
  }
}

FACT("a gso_size above the payload gives one segment, also when there is no payload") {
  for (const size_t payload : {0, 1, 47, 48, 1000}) {
    Packet packet;
    packet.payload = Bytes(payload, 3);
    packet.flags = 0xff;
    const Scattered frame(packet.Frame(Checksum::kPartial));
    const VirtioNetHdr header = HeaderOf(packet, VIRTIO_NET_HDR_GSO_TCPV4, 0xffff);
    CHECK(Segments(header, frame, kNone) == std::vector<Bytes>{packet.Frame(Checksum::kComplete)});
  }
}

FACT("what follows the packet in its frame is padding and reaches nobody") {
  for (const bool ipv6 : {false, true}) {
    Packet packet;
    packet.ipv6 = ipv6;
    packet.payload = Bytes(2500, 5);
    Bytes padded = packet.Frame(Checksum::kPartial);
    Append(&padded, Bytes(33, 0xee));
    CHECK(Segments(HeaderOf(packet, TcpType(packet), 1000), Scattered(padded), kNone) ==
          ExpectedSegments(packet, 1000, Checksum::kComplete));
  }
}

FACT("an IP length of 0 means all of the frame") {
  for (const bool ipv6 : {false, true}) {
    Packet packet;
    packet.ipv6 = ipv6;
    packet.payload = Bytes(2500, 5);
    Bytes frame = packet.Frame(Checksum::kPartial);
    Put16(&frame, ipv6 ? 18 : 16, 0);
    CHECK(Segments(HeaderOf(packet, TcpType(packet), 1000), Scattered(frame), kNone) ==
          ExpectedSegments(packet, 1000, Checksum::kComplete));
  }
}

FACT("no fragment is longer than the longest frame") {
  Packet packet;
  packet.ipv6 = true;
  packet.tcp = false;
  packet.tags = {0x88a8, 0x8100};
  packet.payload = Bytes(kFrameBytesMax - packet.payload_at(), 9);
  const Scattered frame(packet.Frame(Checksum::kPartial));
  CHECK_EQ(frame.slice().bytes, kFrameBytesMax);
  for (const uint32_t size : {65488, 65480, 40000}) {
    const VirtioNetHdr header = HeaderOf(packet, VIRTIO_NET_HDR_GSO_UDP, size);
    const std::vector<Bytes> fragments = Segments(header, frame, kNone);
    CHECK_EQ(fragments.size(), 2u);
    for (const Bytes& fragment : fragments) CHECK(fragment.size() <= kFrameBytesMax);
  }
}

FACT("headers that change between the check and the cut are judged again") {
  Packet packet;
  packet.payload = Bytes(3000, 0x55);
  struct Change {
    size_t at;
    uint8_t value;
    OffloadVerdict verdict;
  };
  for (const Change& change : {Change{12, 0x86, OffloadVerdict::kPacketUnsupported},
                               Change{14, 0x4f, OffloadVerdict::kGsoCsumMismatch},
                               Change{14, 0x44, OffloadVerdict::kPacketMalformed},
                               Change{16, 0xff, OffloadVerdict::kPacketBadLength},
                               Change{20, 0x20, OffloadVerdict::kPacketFragment},
                               Change{23, 17, OffloadVerdict::kGsoTypeMismatch},
                               Change{46, 0x40, OffloadVerdict::kPacketMalformed}}) {
    Scattered frame(packet.Frame(Checksum::kPartial));
    Offload offload;
    CHECK_EQ(CheckOffload(HeaderOf(packet, VIRTIO_NET_HDR_GSO_TCPV4, 1000), kAll, frame.slice(),
                          &offload),
             OffloadVerdict::kOk);
    *frame.at(change.at) = change.value;
    Segmenter segmenter(kFragmentId);
    CHECK_EQ(segmenter.Begin(offload, frame.slice(), kNone), change.verdict);
    Parcel parcel;
    CHECK(!segmenter.Next(&parcel));
  }
}

FACT("payload that changes while segments are made changes no length and no header") {
  Packet packet;
  packet.payload = Bytes(3000, 5);
  Scattered frame(packet.Frame(Checksum::kPartial));
  Offload offload;
  CHECK_EQ(
      CheckOffload(HeaderOf(packet, VIRTIO_NET_HDR_GSO_TCPV4, 1000), kAll, frame.slice(), &offload),
      OffloadVerdict::kOk);
  Segmenter segmenter(kFragmentId);
  CHECK_EQ(segmenter.Begin(offload, frame.slice(), kNone), OffloadVerdict::kOk);
  for (size_t at = 0; at < frame.slice().bytes; ++at) *frame.at(at) = 0xff;
  packet.payload = Bytes(3000, 0xff);
  std::vector<Bytes> segments;
  for (Parcel parcel; segmenter.Next(&parcel);) segments.push_back(Joined(parcel));
  CHECK(segments == ExpectedSegments(packet, 1000, Checksum::kComplete));
}

FACT("whatever bytes a guest hands over, the result is a verdict or bounded segments") {
  uint32_t accepted = 0;
  for (uint32_t number = 0; number < 12000; ++number) {
    const Case in_case(number);
    Random random(number);
    const Packet packet = RandomPacket(random, random.Below(1500));
    const uint8_t types[] = {VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6,
                             VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_HDR_GSO_UDP_L4};
    VirtioNetHdr header = HeaderOf(packet, types[random.Below(4)], random.Below(2000));
    Bytes bytes = packet.Frame(Checksum::kPartial);
    for (uint32_t n = random.Below(4); n > 0; --n) {
      bytes[random.Between(12, static_cast<uint32_t>(packet.payload_at()) - 1)] =
          static_cast<uint8_t>(random.Below(256));
    }
    if (random.OneIn(8)) bytes.resize(random.Between(14, static_cast<uint32_t>(bytes.size())));
    if (random.OneIn(8)) header.csum_start = static_cast<uint16_t>(random.Below(0x10000));
    if (random.OneIn(8)) header.gso_type = static_cast<uint8_t>(random.Below(256));
    const Scattered frame(bytes, random);
    Offload offload;
    if (CheckOffload(header, kAll, frame.slice(), &offload) != OffloadVerdict::kOk) continue;
    if (PlanOffload(offload, kNone) != OffloadPlan::kSegment) continue;
    ++accepted;
    Segmenter segmenter(kFragmentId);
    CHECK_EQ(segmenter.Begin(offload, frame.slice(), kNone), OffloadVerdict::kOk);
    CHECK(segmenter.left() >= 1 && segmenter.left() <= kSegmentsMax);
    uint32_t payload_bytes = 0;
    for (Parcel parcel; segmenter.Next(&parcel);) {
      CHECK(parcel.private_bytes <= sizeof(parcel.private_data));
      CHECK(parcel.bytes() >= kFrameBytesMin && parcel.bytes() <= kFrameBytesMax);
      CHECK_EQ(Joined(parcel).size(), parcel.bytes());
      payload_bytes += parcel.after.bytes;
    }
    CHECK(payload_bytes + offload.header.hdr_len <= bytes.size());
  }
  CHECK(accepted > 1000);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
