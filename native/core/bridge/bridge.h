// A bridge: its forwarding table, the ports on it, who hears what is flooded, and what records it.
//
// Thread: changed by control between rounds (worker.h), read by rounds; fdb.h is shared by workers.

#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/bridge/destination.h"
#include "core/bridge/fdb.h"
#include "core/bridge/hearers.h"

namespace tsvswitch {

class Capture;
struct Port;

struct Bridge {
  explicit Bridge(uint64_t fdb_seed = 0) : fdb(fdb_seed) {}

  Fdb fdb;
  // By port number; nullptr where there is none. A port is a member of one bridge.
  std::array<Port*, kPortsMax> members = {};
  uint32_t member_count = 0;
  std::unique_ptr<const Hearers> hearers = ListHearers(kNoPort, kNoPort);
  std::vector<Capture*> captures;  // those of the whole bridge, for ports that join it

  // Lists for the members as they are, but for one that joins and one that leaves: made before a
  // pause, to be exchanged in it. Every member hears everything.
  std::unique_ptr<const Hearers> ListHearers(uint16_t joining, uint16_t leaving) const {
    return Hearers::Of(1, [&](uint32_t, Destination::Kind, uint16_t port) {
      return port == joining || (members[port] != nullptr && port != leaving);
    });
  }

  // What a frame to `mac` is before anybody is asked where that is.
  static Destination::Kind KindOf(uint64_t mac) {
    constexpr uint64_t kGroup = uint64_t{1} << 40;
    constexpr uint64_t kBroadcast = 0xffff'ffff'ffff;
    if ((mac & kGroup) == 0) [[likely]]
      return Destination::Kind::kUnknown;
    return mac == kBroadcast ? Destination::Kind::kBroadcast : Destination::Kind::kMulticast;
  }
  // Where a frame to `mac` goes that came in from port `from`.
  Destination Find(uint64_t mac, uint16_t vlan, uint16_t from, uint32_t now_s) const {
    if (const Destination::Kind kind = KindOf(mac); kind != Destination::Kind::kUnknown) {
      return {.kind = kind};
    }
    Destination found = fdb.Lookup(Fdb::Key(mac, vlan), now_s);
    if (found.port == from && found.kind == Destination::Kind::kPort) [[unlikely]]
      found.kind = Destination::Kind::kSelf;
    return found;
  }
};
using Bridges = std::vector<std::unique_ptr<Bridge>>;

}  // namespace tsvswitch
