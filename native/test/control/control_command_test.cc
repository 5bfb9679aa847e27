// Facts about core/control/control_command: which commands a driver may say, byte by byte.

#include "core/control/control_command.h"

#include <vector>

#include "core/ring/chain.h"
#include "core/ring/virtio_spec.h"
#include "test/check.h"

namespace tsvswitch {
namespace {

using Bytes = std::vector<uint8_t>;
using Effect = ControlVerdict::Effect;

constexpr uint64_t kAll = VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_CTRL_RX_EXTRA |
                          VIRTIO_NET_F_CTRL_VLAN | VIRTIO_NET_F_GUEST_ANNOUNCE | VIRTIO_NET_F_MQ |
                          VIRTIO_NET_F_CTRL_MAC_ADDR | VIRTIO_NET_F_CTRL_GUEST_OFFLOADS |
                          VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4;
constexpr uint64_t kMac = 0x5254'0000'0001;

ControlVerdict Judge(const Bytes& bytes, uint64_t features = kAll,
                     const std::vector<uint64_t>* macs = nullptr) {
  return JudgeCommand(bytes.data(), static_cast<uint32_t>(bytes.size()),
                      {.features = features, .pairs_max = 4, .macs = macs});
}

// Each with the feature without which it is refused.
struct Known {
  Bytes bytes;
  uint64_t feature;
  Effect effect;
  uint64_t value;
};

const std::vector<Known>& Commands() {
  static const std::vector<Known> known = {
      {{0, 0, 1}, VIRTIO_NET_F_CTRL_RX, Effect::kNone, 0},
      {{0, 1, 0}, VIRTIO_NET_F_CTRL_RX, Effect::kNone, 0},
      {{0, 2, 1}, VIRTIO_NET_F_CTRL_RX_EXTRA, Effect::kNone, 0},
      {{0, 5, 1}, VIRTIO_NET_F_CTRL_RX_EXTRA, Effect::kNone, 0},
      {{1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0}, VIRTIO_NET_F_CTRL_RX, Effect::kNone, 0},
      {{1, 1, 0x52, 0x54, 0, 0, 0, 1}, VIRTIO_NET_F_CTRL_MAC_ADDR, Effect::kMac, kMac},
      {{2, 0, 0xff, 0x0f}, VIRTIO_NET_F_CTRL_VLAN, Effect::kNone, 0},
      {{2, 1, 0, 0}, VIRTIO_NET_F_CTRL_VLAN, Effect::kNone, 0},
      {{3, 0}, VIRTIO_NET_F_GUEST_ANNOUNCE, Effect::kAnnounced, 0},
      {{4, 0, 1, 0}, VIRTIO_NET_F_MQ, Effect::kPairs, 1},
      {{4, 0, 4, 0}, VIRTIO_NET_F_MQ, Effect::kPairs, 4},
      {{5, 0, 2, 0, 0, 0, 0, 0, 0, 0},
       VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
       Effect::kOffloads,
       VIRTIO_NET_F_GUEST_CSUM},
      {{5, 0, 0, 0, 0, 0, 0, 0, 0, 0}, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, Effect::kOffloads, 0},
  };
  return known;
}

FACT("virtio 1.2 §5.1.6.5: every command is taken with its feature, and refused without") {
  for (const Known& known : Commands()) {
    const ControlVerdict verdict = Judge(known.bytes);
    CHECK(verdict.effect == known.effect);
    CHECK_EQ(verdict.value, known.value);
    CHECK_EQ(verdict.status(), VIRTIO_NET_OK);
    CHECK_EQ(Judge(known.bytes, kAll & ~known.feature).status(), VIRTIO_NET_ERR);
  }
}

FACT("a command that is a byte shorter or longer is refused") {
  for (const Known& known : Commands()) {
    Bytes bytes = known.bytes;
    bytes.push_back(0);
    CHECK_EQ(Judge(bytes).status(), VIRTIO_NET_ERR);
    bytes.resize(known.bytes.size() - 1);
    CHECK_EQ(Judge(bytes).status(), VIRTIO_NET_ERR);
  }
  CHECK_EQ(Judge({}).status(), VIRTIO_NET_ERR);
}

FACT("values that the device does not have are refused") {
  const Bytes refused[] = {
      {0, 0, 2},                 // neither on nor off
      {0, 6, 1},                 // no such mode
      {1, 1, 0, 0, 0, 0, 0, 0},  // no address
      {1, 1, 1, 0, 0, 0, 0, 1},  // a group's
      {1, 2, 0, 0, 0, 0, 0, 1},  // no such command
      {2, 0, 0, 0x10},           // VLAN 4096
      {2, 2, 0, 0},
      {3, 1},
      {4, 0, 0, 0},                    // no pair
      {4, 0, 5, 0},                    // one too many
      {4, 1, 1, 0},                    // RSS
      {5, 0, 0, 1, 0, 0, 0, 0, 0, 0},  // TSO6 was not negotiated
      {5, 1, 0, 0, 0, 0, 0, 0, 0, 0},
      {6, 0, 0, 0},
      {255, 255},
  };
  for (const Bytes& bytes : refused) CHECK_EQ(Judge(bytes).status(), VIRTIO_NET_ERR);
}

FACT("a table of addresses is as long as its two counts say, whatever these are") {
  CHECK_EQ(Judge({1, 0, 0, 0, 0, 0, 0, 0, 0, 0}).status(), VIRTIO_NET_OK);
  CHECK_EQ(Judge({1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}).status(), VIRTIO_NET_ERR);
  CHECK_EQ(Judge({1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}).status(), VIRTIO_NET_ERR);
  // 6 n wraps.
  CHECK_EQ(Judge({1, 0, 0xab, 0xaa, 0xaa, 0xaa, 0, 0, 0, 0}).status(), VIRTIO_NET_ERR);
  Bytes longest(CommandChain::kBytesMax + 1);
  longest[0] = 1;
  CHECK_EQ(Judge(longest).status(), VIRTIO_NET_ERR);
}

FACT("a port that is bound to addresses lets its driver choose among these") {
  const std::vector<uint64_t> macs = {kMac};
  CHECK_EQ(Judge({1, 1, 0x52, 0x54, 0, 0, 0, 1}, kAll, &macs).status(), VIRTIO_NET_OK);
  CHECK_EQ(Judge({1, 1, 0x52, 0x54, 0, 0, 0, 2}, kAll, &macs).status(), VIRTIO_NET_ERR);
  const std::vector<uint64_t> none;
  CHECK_EQ(Judge({1, 1, 0x52, 0x54, 0, 0, 0, 2}, kAll, &none).status(), VIRTIO_NET_OK);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
