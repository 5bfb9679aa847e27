// Which sources the guest of a port may use, and whether a frame keeps to them.
//
// A rule has MAC addresses, IP networks, or both; an empty list allows any. What a frame says about
// its source is in several places, and all of them are looked at: Ethernet's source, that of IPv4
// or IPv6, the sender of ARP and RARP, and in neighbour discovery the address announced and the
// link-layer options. Behind up to two VLAN tags it is the same.
//
// What a guest must say before it has an address, or to get one, is let through: DHCP and IGMP
// reports from 0.0.0.0, ARP probes, and from :: the search for duplicates, router solicitations and
// MLD reports. The link-local address made from the frame's own MAC address needs no mention.
//
// What cannot be judged may not pass: headers that are damaged or go on behind
// kPacketHeaderBytesMax bytes, where receivers may find what this does not, and for a rule with
// networks other protocols than these. Later fragments are judged by their source: receivers take
// no neighbour discovery from them.
//
// Does not: keep DHCP servers or routers from advertising themselves.
// Pure functions over private bytes. Sources: RFC 826, 903, 5227 (ARP); RFC 4861 §4, 4862 §5.4
// (neighbour discovery); RFC 2131 §4.1; RFC 3376 §4.2.13; RFC 3590 (MLD); RFC 4291 §2.5.6; RFC
// 6980, 7113 (evasion).

#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/port/events.h"

namespace tsvswitch {

struct IpNetwork {
  bool ipv6;
  uint8_t prefix_bits;
  uint8_t address[16];  // network order; an IPv4 address has four bytes
};

struct SourceRule {
  static constexpr uint32_t kEntriesMax = 64;  // of each list

  std::vector<uint64_t> macs;  // as Frame::source
  std::vector<IpNetwork> networks;
};

// `head` holds the first min(frame_bytes, kPacketHeaderBytesMax) bytes of a frame of at least
// kFrameBytesMin. Nothing if the frame may pass.
std::optional<SpoofedSource> FindSpoofedSource(const SourceRule& rule, const uint8_t* head,
                                               uint32_t frame_bytes);

}  // namespace tsvswitch
