// The impaired links of a port, and the side of a partition it is on.
//
// Does not: pass frames over them (forward_links.cc). Thread: see below.

#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "core/policy/link.h"

namespace tsvswitch {

// What is between a port and the others besides the bridge. A link's state is what Judge makes of
// it: it changes during rounds, with several workers under the lock of the port's receiveq 0.
struct Impairment {
  std::unique_ptr<Link> from_guest;  // nullptr: frames pass
  std::unique_ptr<Link> to_guest;
  // to this guest, by number of the sender's port
  std::map<uint16_t, std::unique_ptr<Link>> from_port;
  // of a partition: frames pass between ports of one side; 0: of none, they pass
  uint16_t side = 0;
};

}  // namespace tsvswitch
