// The impaired links of a port, and the side of a partition it is on: the stages FromGuestLink,
// Partition, BetweenLink and ToGuestLink.
//
// What links keep back goes on from the stage behind theirs when it is due (Hop in held_frames.h,
// Forwarder::Release).
//
// Thread: see below.

#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "core/platform/spinlock.h"
#include "core/policy/link.h"
#include "core/policy/slots.h"

namespace tsvswitch {

// The links between a port and its bridge.
struct Impairment : PolicyState {
  static constexpr PolicySlot kSlot = kImpairmentSlot;

  std::unique_ptr<Link> from_guest;  // nullptr: frames pass
  std::unique_ptr<Link> to_guest;
  // To this guest, by number of the sender's port.
  using FromPort = std::map<uint16_t, std::unique_ptr<Link>>;
  FromPort from_port;
  // Of a partition: frames pass between ports of one side. 0: it is on none, and all frames pass.
  uint16_t side = 0;
  // For several workers: Link::Judge changes a link, so frames are judged one after the other.
  Spinlock lock;
};

}  // namespace tsvswitch
