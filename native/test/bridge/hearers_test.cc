// Who hears what is flooded: lists by kind and by group, in order, and where an interrupted flood
// goes on in them.

#include "core/bridge/hearers.h"

#include <vector>

#include "core/bridge/bridge.h"
#include "test/check.h"

namespace tsvswitch {
namespace {

using Kind = Destination::Kind;

std::vector<uint16_t> From(const Hearers& hearers, uint32_t group, Kind kind, uint16_t first) {
  const std::span<const uint16_t> list = hearers.From(group, kind, first);
  return {list.begin(), list.end()};
}
using Ports = std::vector<uint16_t>;

FACT("each group has a list for each kind") {
  const auto hearers = Hearers::Of(2, [](uint32_t group, Kind kind, uint16_t port) {
    if (port >= 6) return false;
    if (kind == Kind::kUnknown) return port == 3;
    return kind == Kind::kBroadcast || port % 2 == group;
  });
  for (const uint32_t group : {0u, 1u}) {
    CHECK(From(*hearers, group, Kind::kUnknown, 0) == Ports{3});
    CHECK(From(*hearers, group, Kind::kBroadcast, 0) == (Ports{0, 1, 2, 3, 4, 5}));
  }
  CHECK(From(*hearers, 0, Kind::kMulticast, 0) == (Ports{0, 2, 4}));
  CHECK(From(*hearers, 1, Kind::kMulticast, 0) == (Ports{1, 3, 5}));
}

FACT("a flood goes on with the port that it stopped at, or the one behind where that has left") {
  const auto hearers = Hearers::Of(
      1, [](uint32_t, Kind, uint16_t port) { return port == 2 || port == 7 || port == 1023; });
  const auto from = [&hearers](uint16_t first) {
    return From(*hearers, 0, Kind::kBroadcast, first);
  };
  CHECK(from(2) == (Ports{2, 7, 1023}));
  CHECK(from(3) == (Ports{7, 1023}));
  CHECK(from(7) == (Ports{7, 1023}));
  CHECK(from(1023) == Ports{1023});
  CHECK(Hearers::Of(1, [](uint32_t, Kind, uint16_t) { return false; })
            ->From(0, Kind::kUnknown, 0)
            .empty());
}

FACT("on a bridge all members hear all kinds, and who joins or leaves is listed before it does") {
  Bridge bridge;
  CHECK(From(*bridge.hearers, 0, Kind::kBroadcast, 0).empty());
  // Never looked into.
  Port* const someone = reinterpret_cast<Port*>(&bridge);
  for (const uint32_t port : {1u, 5u, 9u}) bridge.members[port] = someone;
  const auto changed = bridge.ListHearers(3, 5);
  for (const Kind kind : {Kind::kUnknown, Kind::kMulticast, Kind::kBroadcast}) {
    CHECK(From(*changed, 0, kind, 0) == (Ports{1, 3, 9}));
  }
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
