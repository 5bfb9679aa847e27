// The impaired links of a port, and the side of a partition it is on.
//
// Does not: pass frames over them (forward_links.cc). Thread: see below.

#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "core/policy/link.h"

namespace tsvswitch {

// The links between a port and its bridge. Link::Judge changes their state during rounds; with
// several workers that is under the lock of the port's receiveq 0.
struct Impairment {
  std::unique_ptr<Link> from_guest;  // nullptr: frames pass
  std::unique_ptr<Link> to_guest;
  // To this guest, by number of the sender's port.
  std::map<uint16_t, std::unique_ptr<Link>> from_port;
  // Of a partition: frames pass between ports of one side. 0: it is on none, and all frames pass.
  uint16_t side = 0;
};

}  // namespace tsvswitch
