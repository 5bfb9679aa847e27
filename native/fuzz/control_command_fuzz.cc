// Fuzz target: commands of a control queue.
//
// A command is one of the specification with bytes changed, cut or added, or nothing but bytes of
// the input; its memory ends with its allocation. What is accepted must have been negotiated and be
// in range, as looked up here by its class alone, and judged again it must be judged the same.

#include <algorithm>
#include <vector>

#include "core/control/control_command.h"
#include "core/ring/chain.h"
#include "core/ring/virtio_spec.h"
#include "input.h"

namespace tsvswitch {
namespace {

using Bytes = std::vector<uint8_t>;
using Effect = ControlVerdict::Effect;

// By class; a table of addresses is not among them.
constexpr uint32_t kDataBytes[] = {1, 6, 2, 0, 2, 8};

Bytes TakeCommand(Input& input) {
  if (input.Flag()) return input.Bytes(input.Take<uint16_t>());
  const auto of_class = static_cast<uint8_t>(input.Below(7));
  Bytes bytes = {of_class, static_cast<uint8_t>(input.Below(3))};
  uint32_t data_bytes = of_class < 6 ? kDataBytes[of_class] : input.Byte();
  if (of_class == VIRTIO_NET_CTRL_MAC && bytes[1] == VIRTIO_NET_CTRL_MAC_TABLE_SET) {
    for (int list = 0; list < 2; ++list) {
      const uint8_t entries = input.Byte();
      bytes.insert(bytes.end(), {entries, 0, 0, 0});
      const Bytes macs = input.Bytes(size_t{entries} * 6);
      bytes.insert(bytes.end(), macs.begin(), macs.end());
    }
    data_bytes = 0;
  }
  const Bytes data = input.Bytes(data_bytes);
  bytes.insert(bytes.end(), data.begin(), data.end());
  if (input.Flag()) bytes.resize(input.Take<uint16_t>());
  return bytes;
}

}  // namespace
}  // namespace tsvswitch

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  using namespace tsvswitch;
  Input input(data, bytes);
  const auto features = input.Take<uint64_t>();
  const uint32_t pairs_max = 1 + input.Below(128);
  const std::vector<uint64_t> macs(input.Below(3), 0x5254'0000'0001);
  const Bytes command = TakeCommand(input);
  // No more than a CommandChain keeps is there to be read.
  const Bytes kept(command.begin(),
                   command.begin() + static_cast<ptrdiff_t>(std::min<size_t>(
                                         command.size(), CommandChain::kBytesMax)));
  const ControlTerms terms = {.features = features, .pairs_max = pairs_max, .macs = &macs};
  const auto total = static_cast<uint32_t>(command.size());
  const ControlVerdict verdict = JudgeCommand(kept.data(), total, terms);
  const ControlVerdict again = JudgeCommand(kept.data(), total, terms);
  MUST(again.effect == verdict.effect && again.value == verdict.value);
  MUST((verdict.status() == VIRTIO_NET_ERR) == (verdict.effect == Effect::kRefused));
  if (verdict.effect == Effect::kRefused) return 0;
  MUST(command.size() >= 2 && command.size() <= CommandChain::kBytesMax);
  switch (verdict.effect) {
    case Effect::kPairs:
      MUST((features & VIRTIO_NET_F_MQ) != 0 && verdict.value >= 1 && verdict.value <= pairs_max);
      break;
    case Effect::kOffloads: MUST((verdict.value & ~features) == 0); break;
    case Effect::kMac:
      MUST(verdict.value != 0 && (verdict.value >> 40 & 1) == 0 && verdict.value >> 48 == 0);
      MUST(macs.empty() || verdict.value == macs.front());
      break;
    case Effect::kAnnounced: MUST(command.size() == 2); break;
    case Effect::kNone:
    case Effect::kRefused: MUST(command[0] <= VIRTIO_NET_CTRL_VLAN); break;
  }
  return 0;
}
