// Judges one command that a driver put on its control queue: in private memory, and what it means.
//
// A command is a class, a command of that class and data of exactly the length that goes with it.
// It is refused (VIRTIO_NET_ERR) if its feature was not negotiated or its value is none that the
// device has; a refused command changes nothing.
//
// Receive modes, the table of MAC addresses and that of VLANs are accepted and not acted upon. All
// three filters are best effort: "unwanted packets could still arrive" (§5.1.6.5.3), and a device
// may "silently switch to allmulti or promiscuous mode" (§5.1.6.5.2). The bridge sends a port what
// was learned behind it and what is flooded, and a filter per port would cost every frame of every
// other one a look.
//
// Does not: read guest memory, change anything (dataplane_control.cc). Thread: any; pure.
// Sources: virtio 1.2 §5.1.6.5.

#pragma once

#include <cstdint>
#include <vector>

namespace tsvswitch {

// What the judgement depends on.
struct ControlTerms {
  uint64_t features;  // as negotiated
  uint32_t pairs_max;
  // The addresses that the port is bound to; nullptr: any.
  const std::vector<uint64_t>* macs = nullptr;
};

struct ControlVerdict {
  enum class Effect : uint8_t { kRefused, kNone, kPairs, kOffloads, kMac, kAnnounced };
  Effect effect = Effect::kRefused;
  // kPairs: their number. kOffloads: the GUEST_* features that stay. kMac: the address, as
  // Frame::source.
  uint64_t value = 0;

  uint8_t status() const;
};

// The features that a driver may switch off and on while it runs (§5.1.6.5.6).
uint64_t GuestOffloads(uint64_t features);

// `data` has the first min(bytes, CommandChain::kBytesMax) bytes of the command.
ControlVerdict JudgeCommand(const uint8_t* data, uint32_t bytes, const ControlTerms& terms);

}  // namespace tsvswitch
