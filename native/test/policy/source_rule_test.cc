// Who may say what about where a frame comes from, protocol by protocol; and that a guest cannot
// change its mind once it was believed.

#include "core/policy/source_rule.h"

#include <algorithm>
#include <initializer_list>

#include "core/frame/packet_headers.h"
#include "core/policy/source_guard.h"
#include "core/policy/stages.h"
#include "driver/packet.h"
#include "test/bridge_of_guests.h"
#include "test/check.h"

namespace tsvswitch {
namespace {

using Kind = SpoofedSource::Kind;

constexpr uint64_t kOwn = 0x5254'0000'0001;
constexpr uint64_t kOther = 0x5254'0000'0099;
constexpr uint32_t kOwnIp = 0x0a000001;    // 10.0.0.1
constexpr uint32_t kOtherIp = 0x0a000002;  // 10.0.0.2

Bytes Mac(uint64_t mac) {
  Bytes bytes;
  Append16(&bytes, mac >> 32);
  Append32(&bytes, mac);
  return bytes;
}

// fd00::n.
Bytes Ula(uint8_t n) { return {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n}; }
const Bytes kNoIpv6(16);
// Made from a MAC address (RFC 4291 appendix A).
Bytes LinkLocal(uint64_t mac) {
  const Bytes m = Mac(mac);
  const auto first = static_cast<uint8_t>(m[0] ^ 2);
  return {0xfe, 0x80, 0, 0, 0, 0, 0, 0, first, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
}

Bytes Ethernet(uint16_t type, const Bytes& payload, uint64_t source = kOwn,
               std::initializer_list<uint16_t> tags = {}) {
  Bytes frame = Mac(kBroadcast);
  Append(&frame, Mac(source));
  for (const uint16_t tag : tags) {
    Append16(&frame, tag);
    Append16(&frame, 7);
  }
  Append16(&frame, type);
  Append(&frame, payload);
  return frame;
}

Bytes Arp(uint16_t operation, uint64_t hardware, uint32_t sender, uint16_t type = 0x0806) {
  Bytes arp = {0, 1, 8, 0, 6, 4};
  Append16(&arp, operation);
  Append(&arp, Mac(hardware));
  Append32(&arp, sender);
  Append(&arp, Bytes(6));
  Append32(&arp, kOwnIp);
  return Ethernet(type, arp);
}

Bytes Ipv4(uint32_t source, uint8_t protocol = 6, const Bytes& payload = Bytes(20),
           uint16_t fragment = 0) {
  Bytes ip = {0x45, 0, 0, static_cast<uint8_t>(20 + payload.size()), 0, 0};
  Append16(&ip, fragment);
  ip.insert(ip.end(), {64, protocol, 0, 0});
  Append32(&ip, source);
  Append32(&ip, 0xffffffff);
  Append(&ip, payload);
  return ip;
}

Bytes Udp(uint16_t from, uint16_t to) {
  Bytes udp;
  Append16(&udp, from);
  Append16(&udp, to);
  Append32(&udp, 8 << 16);
  return udp;
}

Bytes Ipv6(const Bytes& source, uint8_t next, const Bytes& payload) {
  Bytes ip = {0x60, 0, 0, 0};
  Append16(&ip, payload.size());
  ip.insert(ip.end(), {next, 255});
  Append(&ip, source);
  Append(&ip, Ula(0xff));
  Append(&ip, payload);
  return ip;
}

constexpr uint8_t kIcmpv6 = 58;

// A neighbour solicitation (135) or advertisement (136), with a link-layer option unless MAC is 0.
Bytes Neighbour(uint8_t kind, const Bytes& target, uint64_t mac = 0) {
  Bytes icmp = {kind, 0, 0, 0, 0, 0, 0, 0};
  Append(&icmp, target);
  if (mac == 0) return icmp;
  icmp.insert(icmp.end(), {static_cast<uint8_t>(kind == 135 ? 1 : 2), 1});
  Append(&icmp, Mac(mac));
  return icmp;
}

Bytes Icmpv6Frame(const Bytes& source, const Bytes& icmp) {
  return Ethernet(0x86dd, Ipv6(source, kIcmpv6, icmp));
}

IpNetwork NetworkOf(const Bytes& address, uint8_t prefix_bits) {
  IpNetwork network = {.ipv6 = address.size() == 16, .prefix_bits = prefix_bits, .address = {}};
  std::copy(address.begin(), address.end(), network.address);
  return network;
}

// 10.0.0.1 and fd00::1 on 52:54:00:00:00:01.
SourceRule Bound() {
  return {.macs = {kOwn}, .networks = {NetworkOf({10, 0, 0, 1}, 32), NetworkOf(Ula(1), 128)}};
}

std::optional<SpoofedSource> Find(const SourceRule& rule, const Bytes& frame) {
  // An allocation of the exact size, so that a sanitizer sees each byte too far.
  const size_t head_bytes = std::min<size_t>(frame.size(), kPacketHeaderBytesMax);
  const std::unique_ptr<uint8_t[]> head(new uint8_t[head_bytes]);
  std::copy_n(frame.begin(), head_bytes, head.get());
  return FindSpoofedSource(rule, head.get(), static_cast<uint32_t>(frame.size()));
}

void CheckPasses(const Bytes& frame, const SourceRule& rule = Bound()) {
  CHECK(!Find(rule, frame).has_value());
}

void CheckRefused(Kind kind, const Bytes& frame, const Bytes& address,
                  const SourceRule& rule = Bound()) {
  const auto found = Find(rule, frame);
  CHECK(found.has_value());
  CHECK_EQ(found->kind, kind);
  CHECK(std::equal(address.begin(), address.end(), found->address));
}

FACT("a frame passes from the MAC address it may have, and from no other") {
  const SourceRule rule = {.macs = {kOwn, kOwn + 1}, .networks = {}};
  CheckPasses(Ethernet(0x0800, Ipv4(kOtherIp)), rule);
  CheckPasses(Ethernet(0x88cc, Bytes(40), kOwn + 1), rule);
  CheckRefused(Kind::kMac, Ethernet(0x0800, Ipv4(kOwnIp), kOther), Mac(kOther), rule);
  CheckRefused(Kind::kMac, Ethernet(0x88cc, {}, kBroadcast), Mac(kBroadcast), rule);
}

FACT("IPv4 passes from the addresses and networks listed only") {
  CheckPasses(Ethernet(0x0800, Ipv4(kOwnIp)));
  CheckRefused(Kind::kIpv4, Ethernet(0x0800, Ipv4(kOtherIp)), {10, 0, 0, 2});
  const SourceRule network = {.macs = {}, .networks = {NetworkOf({10, 0, 0, 0}, 30)}};
  CheckPasses(Ethernet(0x0800, Ipv4(0x0a000003), kOther), network);
  CheckRefused(Kind::kIpv4, Ethernet(0x0800, Ipv4(0x0a000004)), {10, 0, 0, 4}, network);
  const SourceRule all = {.macs = {}, .networks = {NetworkOf({0, 0, 0, 0}, 0)}};
  CheckPasses(Ethernet(0x0800, Ipv4(kOtherIp)), all);
}

FACT("a fragment is judged as a whole packet is") {
  CheckPasses(Ethernet(0x0800, Ipv4(kOwnIp, 17, Bytes(8), 100)));
  CheckRefused(Kind::kIpv4, Ethernet(0x0800, Ipv4(kOtherIp, 17, Bytes(8), 100)), {10, 0, 0, 2});
}

FACT("without an address a guest may ask for one by DHCP and report groups, and nothing else") {
  CheckPasses(Ethernet(0x0800, Ipv4(0, 17, Udp(68, 67))));
  CheckPasses(Ethernet(0x0800, Ipv4(0, 2, {0x22, 0, 0, 0, 0, 0, 0, 0})));
  const Bytes zero(4);
  CheckRefused(Kind::kIpv4, Ethernet(0x0800, Ipv4(0, 17, Udp(67, 68))), zero);
  CheckRefused(Kind::kIpv4, Ethernet(0x0800, Ipv4(0, 17, Udp(68, 53))), zero);
  CheckRefused(Kind::kIpv4, Ethernet(0x0800, Ipv4(0, 17, Udp(68, 67), 0x2000)), zero);
  CheckRefused(Kind::kIpv4, Ethernet(0x0800, Ipv4(0, 17, {0, 68, 0})), zero);
  CheckRefused(Kind::kIpv4, Ethernet(0x0800, Ipv4(0, 6)), zero);
  CheckRefused(Kind::kIpv4, Ethernet(0x0800, Ipv4(0, 2, {0x11, 0, 0, 0, 0, 0, 0, 0})), zero);
}

FACT("ARP passes if its sender is the frame's, or if it asks whether an address is free") {
  CheckPasses(Arp(1, kOwn, kOwnIp));
  CheckPasses(Arp(2, kOwn, kOwnIp));
  CheckPasses(Arp(1, kOwn, 0));
  CheckRefused(Kind::kIpv4, Arp(2, kOwn, 0), Bytes(4));
  CheckRefused(Kind::kIpv4, Arp(1, kOwn, kOtherIp), {10, 0, 0, 2});
  CheckRefused(Kind::kMac, Arp(2, kOther, kOwnIp), Mac(kOther));
  const SourceRule macs_only = {.macs = {kOwn}, .networks = {}};
  CheckPasses(Arp(2, kOwn, kOtherIp), macs_only);
  CheckRefused(Kind::kMac, Arp(2, kOther, kOtherIp), Mac(kOther), macs_only);
}

FACT("RARP, as a migrated machine is announced by, passes for its own address only") {
  CheckPasses(Arp(3, kOwn, 0, 0x8035));
  CheckRefused(Kind::kMac, Arp(3, kOther, 0, 0x8035), Mac(kOther));
}

FACT("IPv6 passes from the addresses listed and from the MAC's own link-local address") {
  CheckPasses(Ethernet(0x86dd, Ipv6(Ula(1), 6, Bytes(20))));
  CheckPasses(Ethernet(0x86dd, Ipv6(LinkLocal(kOwn), 17, Bytes(8))));
  CheckRefused(Kind::kIpv6, Ethernet(0x86dd, Ipv6(Ula(2), 6, Bytes(20))), Ula(2));
  CheckRefused(Kind::kIpv6, Ethernet(0x86dd, Ipv6(LinkLocal(kOther), 6, Bytes(20))),
               LinkLocal(kOther));
  const SourceRule ipv4_only = {.macs = {}, .networks = {NetworkOf({10, 0, 0, 1}, 32)}};
  CheckPasses(Ethernet(0x86dd, Ipv6(LinkLocal(kOwn), 17, Bytes(8))), ipv4_only);
  CheckRefused(Kind::kIpv6, Ethernet(0x86dd, Ipv6(Ula(1), 17, Bytes(8))), Ula(1), ipv4_only);
  const SourceRule network = {.macs = {}, .networks = {NetworkOf(Ula(0), 121)}};
  CheckPasses(Ethernet(0x86dd, Ipv6(Ula(0x7f), 17, Bytes(8))), network);
  CheckRefused(Kind::kIpv6, Ethernet(0x86dd, Ipv6(Ula(0x80), 17, Bytes(8))), Ula(0x80), network);
}

FACT("from :: a guest may look for duplicates of its own addresses, routers and groups only") {
  CheckPasses(Icmpv6Frame(kNoIpv6, Neighbour(135, Ula(1))));
  CheckPasses(Icmpv6Frame(kNoIpv6, Neighbour(135, LinkLocal(kOwn))));
  CheckPasses(Icmpv6Frame(kNoIpv6, {133, 0, 0, 0, 0, 0, 0, 0}));
  CheckPasses(Icmpv6Frame(kNoIpv6, {131, 0, 0, 0, 0, 0, 0, 0}));
  CheckPasses(Icmpv6Frame(kNoIpv6, {143, 0, 0, 0, 0, 0, 0, 0}));
  CheckRefused(Kind::kIpv6, Icmpv6Frame(kNoIpv6, Neighbour(135, Ula(2))), Ula(2));
  CheckRefused(Kind::kIpv6, Icmpv6Frame(kNoIpv6, Neighbour(136, Ula(1))), kNoIpv6);
  CheckRefused(Kind::kIpv6, Ethernet(0x86dd, Ipv6(kNoIpv6, 17, Udp(68, 67))), kNoIpv6);
}

FACT("an advertisement passes for the guest's own addresses, a solicitation for any") {
  CheckPasses(Icmpv6Frame(Ula(1), Neighbour(136, Ula(1), kOwn)));
  CheckPasses(Icmpv6Frame(Ula(1), Neighbour(135, Ula(2), kOwn)));
  CheckRefused(Kind::kIpv6, Icmpv6Frame(Ula(1), Neighbour(136, Ula(2), kOwn)), Ula(2));
}

FACT("link-layer options must name the frame's own MAC address") {
  CheckRefused(Kind::kMac, Icmpv6Frame(Ula(1), Neighbour(136, Ula(1), kOther)), Mac(kOther));
  CheckRefused(Kind::kMac, Icmpv6Frame(Ula(1), Neighbour(135, Ula(2), kOther)), Mac(kOther));
  for (const uint8_t kind : {uint8_t{133}, uint8_t{134}}) {
    Bytes icmp(kind == 133 ? 8 : 16);
    icmp[0] = kind;
    icmp.insert(icmp.end(), {14, 1, 0, 0, 0, 0, 0, 0, 1, 1});
    Bytes honest = icmp;
    Append(&honest, Mac(kOwn));
    CheckPasses(Icmpv6Frame(Ula(1), honest));
    Append(&icmp, Mac(kOther));
    CheckRefused(Kind::kMac, Icmpv6Frame(Ula(1), icmp), Mac(kOther));
  }
  const SourceRule macs_only = {.macs = {kOwn}, .networks = {}};
  CheckPasses(Icmpv6Frame(Ula(2), Neighbour(136, Ula(2), kOwn)), macs_only);
  CheckRefused(Kind::kMac, Icmpv6Frame(Ula(2), Neighbour(136, Ula(2), kOther)), Mac(kOther),
               macs_only);
}

// `payload` behind `count` destination options of 8 * (1 + words) bytes.
Bytes Extended(uint32_t count, uint8_t words, const Bytes& payload, uint8_t next = kIcmpv6) {
  Bytes bytes;
  for (uint32_t i = 0; i < count; ++i) {
    Bytes extension(8 * (words + 1u));
    extension[0] = i + 1 == count ? next : 60;
    extension[1] = words;
    Append(&bytes, extension);
  }
  Append(&bytes, payload);
  return bytes;
}

FACT("a lie behind extension headers or in a first fragment is found; one too deep is dropped") {
  const Bytes lie = Neighbour(136, Ula(2), kOwn);
  const auto frame = [](const Bytes& payload, uint8_t first) {
    return Ethernet(0x86dd, Ipv6(Ula(1), first, payload));
  };
  for (const uint32_t count : {1u, 2u, 8u}) {
    CheckRefused(Kind::kIpv6, frame(Extended(count, 0, lie), 60), Ula(2));
    CheckPasses(frame(Extended(count, 0, Neighbour(136, Ula(1), kOwn)), 60));
  }
  Bytes first_fragment = {kIcmpv6, 0, 0, 1, 0, 0, 0, 9};
  Append(&first_fragment, lie);
  CheckRefused(Kind::kIpv6, frame(first_fragment, 44), Ula(2));
  Bytes later_fragment = {kIcmpv6, 0, 0, 8, 0, 0, 0, 9};
  Append(&later_fragment, lie);
  CheckPasses(frame(later_fragment, 44));
  CheckRefused(Kind::kUnknown, frame(Extended(9, 0, lie), 60), {0x86, 0xdd});
  CheckRefused(Kind::kUnknown, frame(Extended(1, 40, lie), 60), {0x86, 0xdd});
  // Reaches the last byte of the head, but no further.
  CheckRefused(Kind::kUnknown, frame(Extended(1, 24, lie), 60), {0x86, 0xdd});
  // Other protocols in the same place are none of its business.
  CheckPasses(frame(Extended(2, 3, Bytes(8), 17), 60));
}

FACT("behind one or two VLAN tags everything is as without; behind three it cannot be judged") {
  const Bytes good = Ipv4(kOwnIp);
  const Bytes bad = Ipv4(kOtherIp);
  CheckPasses(Ethernet(0x0800, good, kOwn, {0x8100}));
  CheckPasses(Ethernet(0x0800, good, kOwn, {0x88a8, 0x8100}));
  CheckRefused(Kind::kIpv4, Ethernet(0x0800, bad, kOwn, {0x8100}), {10, 0, 0, 2});
  CheckRefused(Kind::kIpv4, Ethernet(0x0800, bad, kOwn, {0x88a8, 0x8100}), {10, 0, 0, 2});
  CheckRefused(Kind::kUnknown, Ethernet(0x0800, good, kOwn, {0x8100, 0x8100, 0x8100}), {0x81, 0});
}

FACT("a rule with addresses drops other protocols; one with MAC addresses alone does not care") {
  const SourceRule macs_only = {.macs = {kOwn}, .networks = {}};
  for (const uint16_t type : {uint16_t{0x88cc}, uint16_t{0x8847}, uint16_t{40}}) {
    const Bytes frame = Ethernet(type, Bytes(40));
    CheckRefused(Kind::kUnknown, frame,
                 {static_cast<uint8_t>(type >> 8), static_cast<uint8_t>(type)});
    CheckPasses(frame, macs_only);
  }
}

FACT("a frame that ends anywhere is judged within its bytes, and never passes cut short") {
  const Bytes frames[] = {Ethernet(0x0800, Ipv4(kOwnIp)), Arp(1, kOwn, kOwnIp),
                          Icmpv6Frame(Ula(1), Neighbour(136, Ula(1), kOwn)),
                          Ethernet(0x0800, Ipv4(kOwnIp), kOwn, {0x88a8, 0x8100})};
  // Where what is looked at ends: the IPv4 header, ARP, the option, and the IPv4 header again.
  const size_t needed[] = {34, 42, 86, 42};
  for (size_t i = 0; i < std::size(frames); ++i) {
    for (size_t bytes = kFrameBytesMin; bytes <= frames[i].size(); ++bytes) {
      const Bytes cut(frames[i].begin(), frames[i].begin() + static_cast<ptrdiff_t>(bytes));
      // An advertisement may leave its option out, as one does that ends in front of it.
      const bool without_option = i == 2 && bytes == 78;
      CHECK_EQ(Find(Bound(), cut).has_value(), bytes < needed[i] && !without_option);
    }
  }
}

FACT("random bytes are judged without a byte too many being read") {
  Random random(1);
  for (uint32_t number = 0; number < 20000; ++number) {
    const Case at(number);
    Bytes frame = random.Some(random.Between(kFrameBytesMin, 400));
    const Bytes start = Ethernet(random.OneIn(2) ? 0x86dd : 0x0806, {});
    std::copy(start.begin(), start.end(), frame.begin());
    if (frame.size() > 22) {
      frame[14] = 0x60;
      frame[20] = random.OneIn(2) ? kIcmpv6 : 60;
    }
    Find({.macs = {kOwn}, .networks = {}}, frame);
    Find(Bound(), frame);
  }
}

// --- on a bridge ---------------------------------------------------------------------------------

// Guest 0 is bound; guest 1 hears it.
struct BoundBridge : BridgeOfGuests {
  BoundBridge() {
    for (int i = 0; i < 2; ++i) Add(VIRTIO_F_VERSION_1).Post();
    auto sources = std::make_unique<Sources>(Bound());
    port(0).policies.Swap(sources);
    FindStages(port(0));
  }
};

Bytes Padded(Bytes frame) {
  frame.resize(std::max<size_t>(frame.size(), 60));
  return frame;
}

FACT("what a bound port may not send is dropped by reason, and each reason is reported once") {
  BoundBridge bridge;
  const Bytes good = Padded(Ethernet(0x0800, Ipv4(kOwnIp)));
  const Bytes bad_ip = Padded(Ethernet(0x0800, Ipv4(kOtherIp)));
  const Bytes bad_mac = Padded(Ethernet(0x0800, Ipv4(kOwnIp), kOther));
  for (const Bytes& frame : {bad_ip, good, bad_mac, bad_ip, bad_mac, good}) {
    CHECK(bridge.guest(0).Send(frame));
  }
  CHECK_EQ(bridge.Run(0), 6u);
  CHECK_EQ(bridge.guest(0).Sending(), 0u);
  const std::vector<FrameBytes> received = bridge.guest(1).Receive();
  CHECK_EQ(received.size(), 2u);
  for (const FrameBytes& frame : received) CHECK(frame == good);
  CHECK_EQ(bridge.FromGuest(0, kFrames), 6u);
  CHECK_EQ(bridge.Drops(0, Fate::kSpoofedAddress), 2u);
  CHECK_EQ(bridge.Drops(0, Fate::kSpoofedMac), 2u);
  const std::vector<Event> events = bridge.Events();
  CHECK_EQ(events.size(), 3u);
  CHECK_EQ(events[0].type, Event::Type::kSpoofed);
  CHECK_EQ(events[0].spoofed.kind, Kind::kIpv4);
  CHECK_EQ(events[1].spoofed.kind, Kind::kMac);
  CHECK_EQ(events[2].type, Event::Type::kMacLearned);
  CHECK_EQ(events[2].mac, kOwn);
}

FACT("a spoofed source is not learned, so no frame for its owner is led astray") {
  BoundBridge bridge;
  CHECK(bridge.guest(0).Send(Padded(Ethernet(0x0800, Ipv4(kOwnIp), kOther))));
  CHECK_EQ(bridge.Run(0), 1u);
  CHECK(bridge.fdb().Read(BridgeOfGuests::kSecond).empty());
}

FACT("frames in pieces of every size are judged alike and arrive whole") {
  for (uint32_t pieces = 1; pieces <= NetGuest::kPiecesMax; ++pieces) {
    for (const size_t bytes : {size_t{60}, size_t{255}, size_t{256}, size_t{257}, size_t{1500}}) {
      BoundBridge bridge;
      Bytes good = Ethernet(0x0800, Ipv4(kOwnIp));
      while (good.size() < bytes) good.push_back(static_cast<uint8_t>(good.size()));
      CHECK(bridge.guest(0).Send(Padded(Ethernet(0x0800, Ipv4(kOtherIp))), pieces));
      CHECK(bridge.guest(0).Send(good, pieces));
      CHECK_EQ(bridge.Run(0), 2u);
      const std::vector<FrameBytes> received = bridge.guest(1).Receive();
      CHECK_EQ(received.size(), 1u);
      CHECK(received[0] == good);
      CHECK_EQ(bridge.Drops(0, Fate::kSpoofedAddress), 1u);
    }
  }
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
