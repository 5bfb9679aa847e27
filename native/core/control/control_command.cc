// See control_command.h.

#include "core/control/control_command.h"

#include <algorithm>
#include <cstring>

#include "core/frame/frame.h"
#include "core/ring/chain.h"
#include "core/ring/virtio_spec.h"

namespace tsvswitch {

namespace {

using Effect = ControlVerdict::Effect;

constexpr uint32_t kHeadBytes = 2;
constexpr uint32_t kMacBytes = 6;
constexpr uint16_t kVlanEnd = 4096;
constexpr uint64_t kGroupBit = uint64_t{1} << 40;
constexpr uint64_t kGuestOffloads = VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 |
                                    VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN |
                                    VIRTIO_NET_F_GUEST_UFO | VIRTIO_NET_F_GUEST_USO4 |
                                    VIRTIO_NET_F_GUEST_USO6;

// What follows class and command.
struct Data {
  const uint8_t* at;
  uint32_t bytes;

  template <class Word>
  bool IsOne(Word* word) const {
    if (bytes != sizeof(Word)) return false;
    std::memcpy(word, at, sizeof(Word));
    return true;
  }
};

ControlVerdict Accept(Effect effect = Effect::kNone, uint64_t value = 0) { return {effect, value}; }
ControlVerdict Refuse() { return {}; }

// Two lists, each a count and as many addresses, and nothing behind them.
bool IsMacTable(Data data) {
  for (int list = 0; list < 2; ++list) {
    uint32_t entries;
    if (data.bytes < sizeof(entries)) return false;
    std::memcpy(&entries, data.at, sizeof(entries));
    const uint64_t list_bytes = sizeof(entries) + uint64_t{entries} * kMacBytes;
    if (list_bytes > data.bytes) return false;
    data.at += list_bytes;
    data.bytes -= static_cast<uint32_t>(list_bytes);
  }
  return data.bytes == 0;
}

ControlVerdict JudgeMac(const Data& data, const ControlTerms& terms) {
  if (data.bytes != kMacBytes) return Refuse();
  uint8_t padded[sizeof(uint64_t)] = {};  // LoadMac() reads a word
  std::memcpy(padded, data.at, kMacBytes);
  const uint64_t mac = LoadMac(padded);
  if (mac == 0 || (mac & kGroupBit) != 0) return Refuse();
  if (terms.macs != nullptr && !terms.macs->empty() &&
      std::find(terms.macs->begin(), terms.macs->end(), mac) == terms.macs->end()) {
    return Refuse();
  }
  return Accept(Effect::kMac, mac);
}

ControlVerdict JudgeFilter(uint8_t of_class, uint8_t command, const Data& data, uint64_t features) {
  uint8_t on;
  uint16_t vlan;
  switch (of_class) {
    case VIRTIO_NET_CTRL_RX: {
      const uint64_t needed = command <= VIRTIO_NET_CTRL_RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX
                                                                     : VIRTIO_NET_F_CTRL_RX_EXTRA;
      const bool known = command <= VIRTIO_NET_CTRL_RX_NOBCAST && (features & needed) != 0;
      return known && data.IsOne(&on) && on <= 1 ? Accept() : Refuse();
    }
    case VIRTIO_NET_CTRL_VLAN: {
      const bool known =
          command <= VIRTIO_NET_CTRL_VLAN_DEL && (features & VIRTIO_NET_F_CTRL_VLAN) != 0;
      return known && data.IsOne(&vlan) && vlan < kVlanEnd ? Accept() : Refuse();
    }
    default: return Refuse();
  }
}

}  // namespace

uint8_t ControlVerdict::status() const {
  return effect == Effect::kRefused ? VIRTIO_NET_ERR : VIRTIO_NET_OK;
}

uint64_t GuestOffloads(uint64_t features) { return features & kGuestOffloads; }

ControlVerdict JudgeCommand(const uint8_t* data, uint32_t bytes, const ControlTerms& terms) {
  if (bytes < kHeadBytes || bytes > CommandChain::kBytesMax) return Refuse();
  const uint8_t of_class = data[0];
  const uint8_t command = data[1];
  const Data rest = {data + kHeadBytes, bytes - kHeadBytes};
  const auto has = [&](uint64_t feature) { return (terms.features & feature) != 0; };
  // Every class below has the command 0, and only MAC has another one.
  if (of_class >= VIRTIO_NET_CTRL_ANNOUNCE && command != 0) return Refuse();
  uint16_t pairs;
  uint64_t offloads;
  switch (of_class) {
    case VIRTIO_NET_CTRL_MAC:
      if (command == VIRTIO_NET_CTRL_MAC_TABLE_SET && has(VIRTIO_NET_F_CTRL_RX)) {
        return IsMacTable(rest) ? Accept() : Refuse();
      }
      return command == VIRTIO_NET_CTRL_MAC_ADDR_SET && has(VIRTIO_NET_F_CTRL_MAC_ADDR)
                 ? JudgeMac(rest, terms)
                 : Refuse();
    case VIRTIO_NET_CTRL_ANNOUNCE:
      return has(VIRTIO_NET_F_GUEST_ANNOUNCE) && rest.bytes == 0 ? Accept(Effect::kAnnounced)
                                                                 : Refuse();
    case VIRTIO_NET_CTRL_MQ:
      return has(VIRTIO_NET_F_MQ) && rest.IsOne(&pairs) && pairs >= 1 && pairs <= terms.pairs_max
                 ? Accept(Effect::kPairs, pairs)
                 : Refuse();
    case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
      return has(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) && rest.IsOne(&offloads) &&
                     (offloads & ~GuestOffloads(terms.features)) == 0
                 ? Accept(Effect::kOffloads, offloads)
                 : Refuse();
    default: return JudgeFilter(of_class, command, rest, terms.features);
  }
}

}  // namespace tsvswitch
