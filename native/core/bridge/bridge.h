// A bridge: its forwarding table, the ports on it and what records it.
//
// Thread: changed by control between rounds (worker.h), read by rounds; fdb.h is shared by workers.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/bridge/destination.h"
#include "core/bridge/fdb.h"

namespace tsvswitch {

class Capture;
struct Port;

struct Bridge {
  explicit Bridge(uint64_t fdb_seed = 0) : fdb(fdb_seed) {}

  Fdb fdb;
  // By port number; nullptr where there is none. A port is a member of one bridge.
  std::vector<Port*> members;
  uint32_t member_count = 0;
  std::vector<Capture*> captures;  // those of the whole bridge, for ports that join it

  // Where a frame to `mac` goes that came in from port `from`.
  Destination Find(uint64_t mac, uint16_t vlan, uint16_t from, uint32_t now_s) const {
    constexpr uint64_t kGroup = uint64_t{1} << 40;
    constexpr uint64_t kBroadcast = 0xffff'ffff'ffff;
    if ((mac & kGroup) != 0) {
      return {.kind = mac == kBroadcast ? Destination::Kind::kBroadcast
                                        : Destination::Kind::kMulticast};
    }
    Destination found = fdb.Lookup(Fdb::Key(mac, vlan), now_s);
    if (found.port == from && found.kind == Destination::Kind::kPort) [[unlikely]]
      found.kind = Destination::Kind::kSelf;
    return found;
  }
};
using Bridges = std::vector<std::unique_ptr<Bridge>>;

}  // namespace tsvswitch
