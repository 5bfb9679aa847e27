// See source_rule.h. A judgement goes down the layers; each is read once its bytes are known to be
// here.

#include "core/policy/source_rule.h"

#include <algorithm>
#include <cstring>

#include "core/frame/packet_headers.h"

namespace tsvswitch {

namespace {

using Found = std::optional<SpoofedSource>;
using Kind = SpoofedSource::Kind;

constexpr uint32_t kMacBytes = 6;
constexpr uint32_t kIpv6AddressBytes = 16;

constexpr uint16_t kEtherTypeArp = 0x0806;
constexpr uint16_t kEtherTypeRarp = 0x8035;
constexpr uint32_t kArpBytes = 28;
constexpr uint16_t kArpRequest = 1;
constexpr uint16_t kRarpRequest = 3;

constexpr uint8_t kProtocolIgmp = 2;
constexpr uint8_t kIgmpReports[] = {0x12, 0x16, 0x22};
constexpr uint16_t kDhcpClientPort = 68;
constexpr uint16_t kDhcpServerPort = 67;

constexpr uint8_t kProtocolIcmpv6 = 58;
constexpr uint8_t kMldReport = 131;
constexpr uint8_t kRouterSolicitation = 133;
constexpr uint8_t kRouterAdvertisement = 134;
constexpr uint8_t kNeighbourSolicitation = 135;
constexpr uint8_t kNeighbourAdvertisement = 136;
constexpr uint8_t kMldv2Report = 143;
constexpr uint8_t kOptionSourceLinkLayer = 1;
constexpr uint8_t kOptionTargetLinkLayer = 2;
constexpr uint32_t kNeighbourBytes = 24;  // of a solicitation or advertisement, without options
constexpr uint32_t kNeighbourTargetAt = 8;

Found Spoofed(Kind kind, const uint8_t* address, uint32_t bytes) {
  SpoofedSource spoofed = {.kind = kind};
  std::memcpy(spoofed.address, address, bytes);
  return spoofed;
}

bool IsZero(const uint8_t* bytes, uint32_t count) {
  return std::all_of(bytes, bytes + count, [](uint8_t byte) { return byte == 0; });
}

bool IsWithin(const IpNetwork& network, const uint8_t* address) {
  const uint32_t whole = network.prefix_bits / 8;
  if (std::memcmp(network.address, address, whole) != 0) return false;
  const uint32_t rest = network.prefix_bits % 8;
  return rest == 0 || ((network.address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

// One frame under judgement.
class Judge {
 public:
  Judge(const SourceRule& rule, const uint8_t* head, uint32_t frame_bytes)
      : rule_(rule),
        head_(head),
        end_(std::min(frame_bytes, kPacketHeaderBytesMax)),
        frame_bytes_(frame_bytes) {}

  Found Ethernet() {
    uint64_t source = 0;
    for (uint32_t i = 0; i < kMacBytes; ++i) source = source << 8 | mac()[i];
    const auto& macs = rule_.macs;
    if (!macs.empty() && std::find(macs.begin(), macs.end(), source) == macs.end()) {
      return Spoofed(Kind::kMac, mac(), kMacBytes);
    }
    type_at_ = 2 * kMacBytes;
    for (uint32_t tags = 0; tags < kVlanTagsMax && IsVlanTag(type()); ++tags) {
      if (type_at_ + kVlanTagBytes + 2 > end_) return Unknown();
      type_at_ += kVlanTagBytes;
    }
    network_ = type_at_ + 2;
    switch (type()) {
      case kEtherTypeArp:
      case kEtherTypeRarp: return Arp();
      case kEtherTypeIpv4: return rule_.networks.empty() ? std::nullopt : Ipv4();
      case kEtherTypeIpv6: return Ipv6();
      default: return rule_.networks.empty() ? std::nullopt : Unknown();
    }
  }

 private:
  const uint8_t* mac() const { return head_ + kMacBytes; }
  uint16_t type() const { return LoadNetwork16(head_ + type_at_); }
  Found Unknown() const { return Spoofed(Kind::kUnknown, head_ + type_at_, 2); }

  bool Allows(bool ipv6, const uint8_t* address) const {
    const auto& networks = rule_.networks;
    return networks.empty() ||
           std::any_of(networks.begin(), networks.end(), [&](const IpNetwork& network) {
             return network.ipv6 == ipv6 && IsWithin(network, address);
           });
  }
  bool AllowsIpv6(const uint8_t* address) const {
    const uint8_t* m = mac();
    const uint8_t link_local[kIpv6AddressBytes] = {
        0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<uint8_t>(m[0] ^ 2),
        m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
    return Allows(true, address) || std::memcmp(address, link_local, kIpv6AddressBytes) == 0;
  }

  Found Arp() const {
    const uint8_t* arp = head_ + network_;
    // Of Ethernet and IPv4.
    const uint8_t begin[] = {0, 1, 8, 0, kMacBytes, 4};
    if (network_ + kArpBytes > end_ || std::memcmp(arp, begin, sizeof(begin)) != 0)
      return Unknown();
    const uint16_t operation = LoadNetwork16(arp + 6);
    const uint8_t* hardware = arp + 8;
    const uint8_t* address = arp + 14;
    if (std::memcmp(hardware, mac(), kMacBytes) != 0)
      return Spoofed(Kind::kMac, hardware, kMacBytes);
    const bool asks = operation == kArpRequest || operation == kRarpRequest;
    if ((asks && IsZero(address, 4)) || Allows(false, address)) return std::nullopt;
    return Spoofed(Kind::kIpv4, address, 4);
  }

  Found Ipv4() const {
    const uint8_t* ip = head_ + network_;
    if (network_ + kIpv4HeaderBytesMin > end_ || ip[0] >> 4 != 4) return Unknown();
    const uint8_t* source = ip + 12;
    if (Allows(false, source) || (IsZero(source, 4) && AsksWithoutIpv4())) return std::nullopt;
    return Spoofed(Kind::kIpv4, source, 4);
  }

  // DHCP from a client, and IGMP reports.
  bool AsksWithoutIpv4() const {
    constexpr uint16_t kFragmentBits = 0x3fff;
    const uint8_t* ip = head_ + network_;
    const uint32_t transport = network_ + (ip[0] & 0xfu) * 4;
    if (transport + kUdpHeaderBytes > end_ || (LoadNetwork16(ip + 6) & kFragmentBits) != 0)
      return false;
    const uint8_t* at = head_ + transport;
    if (ip[9] == kProtocolIgmp) {
      return std::find(std::begin(kIgmpReports), std::end(kIgmpReports), at[0]) !=
             std::end(kIgmpReports);
    }
    return ip[9] == kProtocolUdp && LoadNetwork16(at) == kDhcpClientPort &&
           LoadNetwork16(at + 2) == kDhcpServerPort;
  }

  Found Ipv6() {
    if (network_ + kIpv6HeaderBytes > end_ || head_[network_] >> 4 != 6) return Unknown();
    const uint8_t* source = head_ + network_ + 8;
    const bool unspecified = IsZero(source, kIpv6AddressBytes);
    if (!unspecified && !AllowsIpv6(source)) return Spoofed(Kind::kIpv6, source, kIpv6AddressBytes);
    uint32_t upper = 0;
    switch (FindIcmpv6(&upper)) {
      case Upper::kUndecided: return Unknown();
      case Upper::kIcmpv6: {
        const uint8_t kind = head_[upper];
        const bool asks = kind == kNeighbourSolicitation || kind == kRouterSolicitation ||
                          kind == kMldReport || kind == kMldv2Report;
        if (asks || !unspecified) return Icmpv6(upper, unspecified);
        break;
      }
      case Upper::kOther: break;
    }
    const bool passes = !unspecified || rule_.networks.empty();
    return passes ? std::nullopt : Spoofed(Kind::kIpv6, source, kIpv6AddressBytes);
  }

  enum class Upper : uint8_t { kIcmpv6, kOther, kUndecided };

  // Walks the extension headers; *upper is where ICMPv6 begins, of which one byte is here.
  Upper FindIcmpv6(uint32_t* upper) const {
    constexpr uint16_t kFragmentOffsetBits = 0xfff8;
    uint8_t kind = head_[network_ + 6];
    uint32_t at = network_ + kIpv6HeaderBytes;
    for (uint32_t extensions = 0; extensions <= kExtensionHeadersMax; ++extensions) {
      const bool extends = kind == kProtocolHopByHop || kind == kProtocolRouting ||
                           kind == kProtocolDestinationOptions || kind == kProtocolFragment;
      if (!extends && kind != kProtocolIcmpv6) return Upper::kOther;
      if (kind == kProtocolIcmpv6) {
        *upper = at;
        return at < end_ ? Upper::kIcmpv6 : Upper::kUndecided;
      }
      if (at + 8 > end_) return Upper::kUndecided;
      const uint8_t* extension = head_ + at;
      if (kind != kProtocolFragment) {
        at += (extension[1] + 1u) * 8;
      } else if ((LoadNetwork16(extension + 2) & kFragmentOffsetBits) == 0) {
        at += 8;
      } else {
        return Upper::kOther;
      }
      kind = extension[0];
    }
    return Upper::kUndecided;
  }

  // A message whose source is allowed or, if it is unspecified, may be.
  Found Icmpv6(uint32_t at, bool unspecified) const {
    const uint8_t kind = head_[at];
    const bool solicits = kind == kNeighbourSolicitation;
    const bool advertises = kind == kNeighbourAdvertisement;
    if (solicits || advertises) {
      if (at + kNeighbourBytes > end_) return Unknown();
      const uint8_t* target = head_ + at + kNeighbourTargetAt;
      // A search for duplicates is about an address that is to become one's own.
      const bool own = advertises || unspecified;
      if (own && !AllowsIpv6(target)) return Spoofed(Kind::kIpv6, target, kIpv6AddressBytes);
      return LinkLayerOption(at + kNeighbourBytes,
                             advertises ? kOptionTargetLinkLayer : kOptionSourceLinkLayer);
    }
    if (kind == kRouterSolicitation) return LinkLayerOption(at + 8, kOptionSourceLinkLayer);
    if (kind == kRouterAdvertisement) return LinkLayerOption(at + 16, kOptionSourceLinkLayer);
    return std::nullopt;
  }

  // Options up to the end of the packet; what is behind it is padding.
  Found LinkLayerOption(uint32_t at, uint8_t kind) const {
    const uint32_t packet_end = network_ + kIpv6HeaderBytes + LoadNetwork16(head_ + network_ + 4);
    const uint32_t options_end = std::min(packet_end, frame_bytes_);
    // Every option takes up eight bytes at least.
    while (at < options_end) {
      if (at + 8 > end_) return Unknown();
      const uint8_t* option = head_ + at;
      if (option[1] == 0) return Unknown();
      if (option[0] == kind && std::memcmp(option + 2, mac(), kMacBytes) != 0) {
        return Spoofed(Kind::kMac, option + 2, kMacBytes);
      }
      at += option[1] * 8u;
    }
    return std::nullopt;
  }

  const SourceRule& rule_;
  const uint8_t* const head_;
  const uint32_t end_;  // of what is in head_
  const uint32_t frame_bytes_;
  uint32_t type_at_ = 0;
  uint32_t network_ = 0;
};

}  // namespace

Found FindSpoofedSource(const SourceRule& rule, const uint8_t* head, uint32_t frame_bytes) {
  return Judge(rule, head, frame_bytes).Ethernet();
}

}  // namespace tsvswitch
