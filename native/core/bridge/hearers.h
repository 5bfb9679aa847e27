// Who hears a flooded frame: lists that control makes out of the members of a bridge, so that
// whatever decides it costs nothing when a frame is flooded.
//
// There is a list for each kind of destination that is flooded, and for each group of ingress ports
// whose frames the same others hear (Port::flood_group). A list has the port itself, too, which is
// passed over. It is in the order of the ports' numbers, and whoever is interrupted notes a number:
// so a flood goes on in a list that was exchanged meanwhile, and no port that is in both has the
// frame twice.
//
// Thread: made by control outside of rounds, exchanged between two (bridge.h), read by rounds.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/bridge/destination.h"

namespace tsvswitch {

class Hearers {
 public:
  using Kind = Destination::Kind;

  // Those for which `hears(group, kind, port)` is true, of `group_count` groups.
  template <class Hears>
  static std::unique_ptr<const Hearers> Of(uint32_t group_count, const Hears& hears) {
    auto made = std::make_unique<Hearers>();
    made->groups_.resize(group_count);
    for (uint32_t group = 0; group < group_count; ++group) {
      for (const Kind kind : {Kind::kUnknown, Kind::kMulticast, Kind::kBroadcast}) {
        auto& list = made->groups_[group][static_cast<uint32_t>(kind)];
        for (uint16_t port = 0; port < kPortsMax; ++port) {
          if (hears(group, kind, port)) list.push_back(port);
        }
      }
    }
    return made;
  }

  // Of a kind that floods: the numbers from `first` on.
  std::span<const uint16_t> From(uint32_t group, Kind kind, uint16_t first) const {
    const std::span<const uint16_t> all = groups_[group][static_cast<uint32_t>(kind)];
    if (first == 0) [[likely]]
      return all;
    return {std::lower_bound(all.begin(), all.end(), first), all.end()};
  }

 private:
  static constexpr uint32_t kKinds = static_cast<uint32_t>(Kind::kBroadcast) + 1;
  std::vector<std::array<std::vector<uint16_t>, kKinds>> groups_;
};

}  // namespace tsvswitch
