// Where a frame goes, as its destination address and the forwarding table say.
//
// Unknown unicast, multicast and broadcast are different values: all three are flooded, each to
// those who hear its kind. Nothing here says who does. Thread: a value.
// Sources: IEEE 802.1Q 8.8.

#pragma once

#include <cstdint>

namespace tsvswitch {

inline constexpr uint32_t kPortsMax = 1024;
inline constexpr uint16_t kNoPort = 0xffff;

struct Destination {
  enum class Kind : uint8_t {
    kUnknown,    // a unicast address that nobody was seen with
    kMulticast,  // a group, but not all
    kBroadcast,
    kPort,  // behind `port`, at its remote end `via`
    kSelf,  // behind the port that the frame comes from
    kDrop,  // frames to this address end
  };

  Kind kind = Kind::kUnknown;
  uint16_t port = kNoPort;  // kPort, kSelf
  uint16_t via = 0;         // which remote end of a port that has several

  bool floods() const { return kind <= Kind::kBroadcast; }
  friend bool operator==(const Destination&, const Destination&) = default;
};

}  // namespace tsvswitch
