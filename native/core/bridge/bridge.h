// A bridge: its forwarding table, the ports on it and what records it.
//
// Thread: changed by control between rounds (worker.h), read by rounds; fdb.h is shared by workers.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/bridge/fdb.h"

namespace tsvswitch {

class Capture;
struct Port;

struct Bridge {
  Fdb fdb;
  // By port number; nullptr where there is none. A port is a member of one bridge.
  std::vector<Port*> members;
  uint32_t member_count = 0;
  std::vector<Capture*> captures;  // those of the whole bridge, for ports that join it
};
using Bridges = std::vector<std::unique_ptr<Bridge>>;

}  // namespace tsvswitch
