// Packets as a test describes them, and the bytes that these descriptions mean: the slow and
// obvious counterpart of what core/ finds by parsing and makes by patching.
//
// Everything is written from the RFCs' pictures, byte by byte into vectors; nothing of core/ is
// used but Piece and Slice, which are what frames are handed over in, and the constants of
// virtio_spec.h.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "core/frame/slice.h"
#include "core/ring/virtio_spec.h"

namespace tsvswitch {

using Bytes = std::vector<uint8_t>;

inline void Append(Bytes* to, const Bytes& bytes) {
  to->insert(to->end(), bytes.begin(), bytes.end());
}
inline void Append16(Bytes* to, uint64_t number) {
  to->push_back(static_cast<uint8_t>(number >> 8));
  to->push_back(static_cast<uint8_t>(number));
}
inline void Append32(Bytes* to, uint64_t number) {
  Append16(to, number >> 16);
  Append16(to, number);
}
inline void Put16(Bytes* to, size_t at, uint64_t number) {
  to->at(at) = static_cast<uint8_t>(number >> 8);
  to->at(at + 1) = static_cast<uint8_t>(number);
}

// The one's complement sum of big-endian words, as RFC 1071 §1 says it.
inline uint16_t SlowSum(const Bytes& bytes, size_t from = 0) {
  uint32_t sum = 0;
  for (size_t at = from; at < bytes.size(); at += 2) {
    sum += uint32_t{bytes[at]} << 8;
    if (at + 1 < bytes.size()) sum += bytes[at + 1];
    if (sum > 0xffff) sum -= 0xffff;
  }
  return static_cast<uint16_t>(sum);
}

// Numbers that are the same in every run and with every library.
class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  uint32_t Below(uint32_t end) { return static_cast<uint32_t>(engine_() % end); }
  uint32_t Between(uint32_t first, uint32_t last) { return first + Below(last - first + 1); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }
  Bytes Some(size_t bytes) {
    Bytes some(bytes);
    for (uint8_t& byte : some) byte = static_cast<uint8_t>(engine_());
    return some;
  }

 private:
  std::mt19937 engine_;
};

// A frame as a guest may hand it over: every piece an allocation of its own, so that a sanitizer
// sees each byte too far.
class Scattered {
 public:
  explicit Scattered(const Bytes& bytes) { Add(bytes, 0, bytes.size()); }
  Scattered(const Bytes& bytes, Random& random) {
    const uint32_t longest = 1u << random.Below(14);
    for (size_t at = 0; at < bytes.size();) {
      const size_t part = std::min<size_t>(random.Between(1, longest), bytes.size() - at);
      Add(bytes, at, part);
      at += part;
    }
  }

  Slice slice() const { return {pieces_.data(), 0, bytes_}; }
  Bytes bytes() const {
    Bytes all;
    for (const Piece& piece : pieces_) all.insert(all.end(), piece.data, piece.data + piece.bytes);
    return all;
  }
  uint8_t* at(size_t offset) {
    size_t piece = 0;
    for (; offset >= pieces_[piece].bytes; ++piece) offset -= pieces_[piece].bytes;
    return pieces_[piece].data + offset;
  }

 private:
  void Add(const Bytes& bytes, size_t from, size_t count) {
    memory_.push_back(std::make_unique<uint8_t[]>(count));
    std::memcpy(memory_.back().get(), bytes.data() + from, count);
    pieces_.push_back({memory_.back().get(), static_cast<uint32_t>(count)});
    bytes_ += static_cast<uint32_t>(count);
  }
  std::vector<std::unique_ptr<uint8_t[]>> memory_;
  std::vector<Piece> pieces_;
  uint32_t bytes_ = 0;
};

enum class Checksum { kComplete, kPartial };

struct Packet {
  struct Extension {
    uint8_t kind;
    Bytes bytes;  // as in the packet, but for the first byte, which says what follows
  };

  std::vector<uint16_t> tags;  // their EtherTypes
  bool ipv6 = false;
  bool tcp = true;
  std::vector<Bytes> options;         // IPv4
  std::vector<Extension> extensions;  // IPv6
  Bytes final_destination;            // by a routing header, else empty
  uint16_t id = 0x1234;
  bool dont_fragment = false;
  Bytes tcp_options;
  uint32_t sequence = 0xfffffff0;
  uint8_t flags = 0x10;
  Bytes payload;
  uint8_t address_byte = 0x11;

  uint8_t protocol() const { return tcp ? 6 : 17; }
  size_t network() const { return 14 + 4 * tags.size(); }
  size_t transport() const { return network() + IpHeader(0, false).size(); }
  size_t checksum_at() const { return transport() + (tcp ? 16 : 6); }
  size_t payload_at() const { return transport() + (tcp ? 20 + tcp_options.size() : 8); }

  Bytes Addresses(bool for_pseudo_header) const {
    const size_t one = ipv6 ? 16 : 4;
    Bytes addresses(one, address_byte);
    const bool routed = for_pseudo_header && !final_destination.empty();
    Append(&addresses, routed ? final_destination : Bytes(one, 0x22));
    return addresses;
  }

  Bytes Ethernet() const {
    Bytes bytes = {0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1};
    for (const uint16_t type : tags) {
      Append16(&bytes, type);
      Append16(&bytes, 0x2064);
    }
    Append16(&bytes, ipv6 ? 0x86dd : 0x0800);
    return bytes;
  }

  // In front of `behind` bytes of transport header and payload, or of a fragment of them.
  Bytes IpHeader(size_t behind, bool later_fragment, uint16_t fragment_field = 0) const {
    Bytes bytes;
    if (ipv6) {
      size_t length = behind;
      for (const Extension& extension : extensions) length += extension.bytes.size();
      Append32(&bytes, 0x6000abcd);
      Append16(&bytes, length);
      bytes.push_back(extensions.empty() ? protocol() : extensions[0].kind);
      bytes.push_back(64);
      Append(&bytes, Addresses(false));
      AppendExtensions(&bytes, 0, extensions.size(), protocol());
      return bytes;
    }
    Bytes option_bytes;
    for (const Bytes& option : options) {
      const bool kept = !later_fragment || (option[0] & 0x80) != 0;
      Append(&option_bytes, kept ? option : Bytes(option.size(), 1));
    }
    option_bytes.resize((option_bytes.size() + 3) / 4 * 4, 0);
    bytes = {static_cast<uint8_t>(0x45 + option_bytes.size() / 4), 0x02};
    Append16(&bytes, 20 + option_bytes.size() + behind);
    Append16(&bytes, id);
    Append16(&bytes, dont_fragment ? 0x4000u : fragment_field);
    bytes.push_back(64);
    bytes.push_back(protocol());
    Append16(&bytes, 0);
    Append(&bytes, Addresses(false));
    Append(&bytes, option_bytes);
    Put16(&bytes, 10, static_cast<uint16_t>(~SlowSum(bytes)));
    return bytes;
  }

  void AppendExtensions(Bytes* to, size_t first, size_t end, uint8_t last_next) const {
    for (size_t i = first; i < end; ++i) {
      to->push_back(i + 1 < end ? extensions[i + 1].kind : last_next);
      to->insert(to->end(), extensions[i].bytes.begin() + 1, extensions[i].bytes.end());
    }
  }

  // Transport header and payload.
  Bytes Segment(Checksum checksum) const {
    Bytes bytes;
    Append16(&bytes, 4321);
    Append16(&bytes, 80);
    if (tcp) {
      Append32(&bytes, sequence);
      Append32(&bytes, 0xcafebabe);
      bytes.push_back(static_cast<uint8_t>((20 + tcp_options.size()) / 4 << 4));
      bytes.push_back(flags);
      Append32(&bytes, 0x20000000);  // window, and checksum to be filled in
      Append16(&bytes, 7);
      Append(&bytes, tcp_options);
    } else {
      Append16(&bytes, 8 + payload.size());
      Append16(&bytes, 0);
    }
    Append(&bytes, payload);
    Bytes pseudo = Addresses(true);
    Append32(&pseudo, bytes.size());
    Append32(&pseudo, protocol());
    const size_t field = tcp ? 16 : 6;
    if (checksum == Checksum::kPartial) {
      Put16(&bytes, field, SlowSum(pseudo));
      return bytes;
    }
    Append(&pseudo, bytes);
    uint16_t sum = static_cast<uint16_t>(~SlowSum(pseudo));
    if (sum == 0 && !tcp) sum = 0xffff;
    Put16(&bytes, field, sum);
    return bytes;
  }

  Bytes Frame(Checksum checksum) const {
    Bytes frame = Ethernet();
    const Bytes segment = Segment(checksum);
    Append(&frame, IpHeader(segment.size(), false));
    Append(&frame, segment);
    return frame;
  }
};

// What a driver says of a packet whose checksum, and with `gso_type` whose cutting, it leaves to
// others.
inline VirtioNetHdr HeaderOf(const Packet& packet, uint8_t gso_type = VIRTIO_NET_HDR_GSO_NONE,
                             uint32_t gso_size = 0) {
  VirtioNetHdr header = {};
  header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  header.gso_type = gso_type;
  header.gso_size = static_cast<uint16_t>(gso_size);
  header.csum_start = static_cast<uint16_t>(packet.transport());
  header.csum_offset = packet.tcp ? 16 : 6;
  return header;
}

// Any packet that may be segmented, with `payload_bytes` of payload.
inline Packet RandomPacket(Random& random, size_t payload_bytes) {
  Packet packet;
  for (uint32_t tags = random.Below(3); tags > 0; --tags) {
    packet.tags.push_back(random.OneIn(2) ? 0x8100 : 0x88a8);
  }
  packet.ipv6 = random.OneIn(2);
  packet.tcp = random.OneIn(2);
  packet.id = static_cast<uint16_t>(random.Below(0x10000));
  packet.dont_fragment = random.OneIn(2);
  packet.sequence = random.OneIn(2) ? 0xffffff00 : random.Below(0xffffffff);
  packet.flags = static_cast<uint8_t>(random.Below(256));
  packet.tcp_options = random.Some(4 * random.Below(11));
  packet.address_byte = static_cast<uint8_t>(random.Below(256));
  packet.payload = random.Some(payload_bytes);
  if (!packet.ipv6) {
    // No-operation, router alert (copied), record route and timestamp (not copied).
    const Bytes known[] = {{1}, {148, 4, 0, 0}, {7, 7, 4, 0, 0, 0, 0}, {68, 8, 5, 0, 0, 0, 0, 0}};
    for (uint32_t n = random.Below(5); n > 0; --n) packet.options.push_back(known[random.Below(4)]);
    return packet;
  }
  // Hop-by-hop, destination options, segment routing with one segment, destination options.
  auto extension = [&](uint8_t kind) {
    const size_t bytes = kind == 43 ? 24 : 8 * random.Between(1, 3);
    Bytes body = random.Some(bytes);
    body[1] = static_cast<uint8_t>(bytes / 8 - 1);
    if (kind == 43) {
      body[2] = 4;
      body[3] = static_cast<uint8_t>(random.Below(2));
      if (body[3] != 0) packet.final_destination.assign(body.begin() + 8, body.begin() + 24);
    }
    packet.extensions.push_back({kind, body});
  };
  for (const int kind : {0, 60, 43, 60}) {
    if (random.OneIn(3)) extension(static_cast<uint8_t>(kind));
  }
  return packet;
}

}  // namespace tsvswitch
