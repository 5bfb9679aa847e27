// Fuzz target: frames of a guest that may use some sources only.
//
// A frame is ARP, neighbour discovery or an IP packet as a stack makes it, with bytes changed and
// maybe cut off, or nothing but bytes of the input; its head ends with its allocation. Of every
// frame that passes, the sources that a receiver would read are looked up here once more, the plain
// way: they must be allowed, or be none yet.

#include <algorithm>
#include <iterator>
#include <optional>

#include "core/frame/packet_headers.h"
#include "core/policy/source_rule.h"
#include "driver/packet.h"
#include "input.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kOwnMac = 0x5254'0000'0001;  // as packet.h has it
const Bytes kOwnMacBytes = {0x52, 0x54, 0, 0, 0, 1};

// Around the addresses that packet.h gives its packets: repetitions of one byte.
SourceRule TakeRule(Input& input) {
  SourceRule rule;
  const uint8_t choice = input.Byte();
  if ((choice & 1) != 0) rule.macs.push_back(kOwnMac);
  if ((choice & 2) != 0) rule.macs.push_back(input.Take<uint64_t>() & 0xffff'ffff'ffff);
  for (uint32_t networks = choice >> 2 & 3; networks > 0; --networks) {
    IpNetwork network = {};
    network.ipv6 = input.Flag();
    network.prefix_bits = static_cast<uint8_t>(input.Below(network.ipv6 ? 129 : 33));
    std::fill(std::begin(network.address), std::end(network.address), input.Byte());
    rule.networks.push_back(network);
  }
  return rule;
}

Bytes Ethernet(uint32_t type) {
  Bytes frame = {0x52, 0x54, 0, 0, 0, 2};
  Append(&frame, kOwnMacBytes);
  Append16(&frame, type);
  return frame;
}

Bytes TakeFrame(Input& input) {
  Bytes frame;
  const uint8_t address_byte = input.Byte();
  switch (input.Below(4)) {
    case 0: {
      frame = Ethernet(input.Flag() ? 0x0806 : 0x8035);
      Append(&frame, {0, 1, 8, 0, 6, 4, 0, static_cast<uint8_t>(1 + input.Below(4))});
      Append(&frame, kOwnMacBytes);
      Append(&frame, Bytes(14, address_byte));
      break;
    }
    case 1: {
      Packet packet;
      packet.ipv6 = true;
      packet.address_byte = address_byte;
      // Neighbour discovery or MLD, behind nothing or one extension header.
      Bytes message = {static_cast<uint8_t>(130 + input.Below(14)), 0, 0, 0, 0, 0, 0, 0};
      Append(&message, Bytes(16, address_byte));
      Append(&message, {static_cast<uint8_t>(1 + input.Below(2)), 1});
      Append(&message, kOwnMacBytes);
      if (input.Flag()) packet.extensions.push_back({0, {58, 0, 0, 0, 0, 0, 0, 0}});
      frame = packet.Ethernet();
      Append(&frame, packet.IpHeader(message.size(), false));
      frame[packet.extensions.empty() ? 20 : 54] = 58;
      Append(&frame, message);
      break;
    }
    case 2: {
      Random random(input.Take<uint16_t>());
      Packet packet = RandomPacket(random, input.Byte());
      packet.address_byte = address_byte;
      frame = packet.Frame(Checksum::kPartial);
      break;
    }
    default: frame = input.Bytes(512);
  }
  if (frame.size() < kFrameBytesMin) frame.resize(kFrameBytesMin);
  for (uint32_t changes = input.Below(8); changes > 0; --changes) {
    frame[input.Byte() % frame.size()] = input.Byte();
  }
  if (input.Below(8) == 7) {
    frame.resize(kFrameBytesMin +
                 input.Below(static_cast<uint32_t>(frame.size()) - kFrameBytesMin + 1));
  }
  return frame;
}

bool IsAllowed(const SourceRule& rule, bool ipv6, const uint8_t* address) {
  return std::any_of(rule.networks.begin(), rule.networks.end(), [&](const IpNetwork& network) {
    if (network.ipv6 != ipv6) return false;
    for (uint32_t bit = 0; bit < network.prefix_bits; ++bit) {
      const uint8_t mask = static_cast<uint8_t>(0x80u >> bit % 8);
      if (((network.address[bit / 8] ^ address[bit / 8]) & mask) != 0) return false;
    }
    return true;
  });
}

bool IsZero(const uint8_t* address, size_t bytes) {
  return std::all_of(address, address + bytes, [](uint8_t byte) { return byte == 0; });
}

// What a receiver would read of a frame that passed.
void MustBeHonest(const SourceRule& rule, const Bytes& frame) {
  const uint64_t mac = uint64_t{LoadNetwork16(&frame[6])} << 32 | LoadNetwork32(&frame[8]);
  MUST(rule.macs.empty() || std::count(rule.macs.begin(), rule.macs.end(), mac) != 0);
  size_t at = 12;
  for (int tags = 0; tags < 2 && IsVlanTag(LoadNetwork16(&frame[at])); ++tags) {
    at += 4;
    MUST(at + 2 <= frame.size());
  }
  const uint16_t type = LoadNetwork16(&frame[at]);
  const uint8_t* const network = frame.data() + at + 2;
  const size_t bytes = frame.size() - at - 2;
  const bool is_arp = type == 0x0806 || type == 0x8035;
  if (is_arp) MUST(bytes >= 28 && std::memcmp(network + 8, &frame[6], 6) == 0);
  if (rule.networks.empty()) return;
  if (is_arp) {
    MUST(IsAllowed(rule, false, network + 14) || IsZero(network + 14, 4));
  } else if (type == 0x0800) {
    MUST(bytes >= 20 && (IsAllowed(rule, false, network + 12) || IsZero(network + 12, 4)));
  } else {
    MUST(type == 0x86dd && bytes >= 40);
    const uint8_t* const source = network + 8;
    Bytes own = {0xfe,     0x80,     0,
                 0,        0,        0,
                 0,        0,        static_cast<uint8_t>(frame[6] ^ 2),
                 frame[7], frame[8], 0xff,
                 0xfe,     frame[9], frame[10],
                 frame[11]};
    MUST(IsAllowed(rule, true, source) || IsZero(source, 16) ||
         std::equal(own.begin(), own.end(), source));
  }
}

}  // namespace
}  // namespace tsvswitch

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  using namespace tsvswitch;
  Input input(data, bytes);
  const SourceRule rule = TakeRule(input);
  const Bytes frame = TakeFrame(input);
  const Bytes head(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(std::min<size_t>(
                                                      frame.size(), kPacketHeaderBytesMax)));
  const auto spoofed = FindSpoofedSource(rule, head.data(), static_cast<uint32_t>(frame.size()));
  if (!spoofed) MustBeHonest(rule, frame);
  return 0;
}
