// Packets as a pcapng file has them: enhanced packet blocks.
//
//   head | frame, filled up to a multiple of 4 | options | length again
//
// Numbers are in this machine's byte order, as src/capture/pcapng.ts says in the section's header.
//
// Source: draft-ietf-opsawg-pcapng §3.5, §4.3.

#pragma once

#include <cstdint>

#include "core/frame/fate.h"

namespace tsvswitch {

// Seen from the switch.
enum class Direction : uint8_t { kFromGuest, kToGuest };

struct PacketBlockHead {
  uint32_t type;
  uint32_t block_bytes;
  uint32_t interface;
  uint32_t time_high;  // of nanoseconds, as all interfaces say
  uint32_t time_low;
  uint32_t captured_bytes;
  uint32_t frame_bytes;
};
static_assert(sizeof(PacketBlockHead) == 28);
inline constexpr uint32_t kPacketBlockType = 6;

// The options of a frame of which there is nothing to say but its direction, and the block's end.
struct PlainPacketEnd {
  uint32_t flags_header;
  uint32_t flags;
  uint32_t end_of_options;
  uint32_t block_bytes;
};
inline constexpr uint32_t kOptionComment = 1;
inline constexpr uint32_t kOptionFlags = 2;
inline constexpr uint32_t kOptionDropCount = 4;
constexpr uint32_t OptionHeader(uint32_t code, uint32_t value_bytes) {
  return code | value_bytes << 16;
}
constexpr uint32_t DirectionFlags(Direction direction) {
  return direction == Direction::kFromGuest ? 1 : 2;
}

constexpr uint32_t PaddedToWord(uint32_t bytes) { return (bytes + 3) & ~3u; }

// More than the longest options have, and all else of a block but the frame.
inline constexpr uint32_t kPacketOptionsMax = 256;
inline constexpr uint32_t kPacketBlockRestMax =
    sizeof(PacketBlockHead) + kPacketOptionsMax + sizeof(uint32_t);

// Writes all options of a packet, with their end: why it was dropped and what links did to it as
// comments, its direction, and how many frames were lost in front of it. Returns how many bytes.
uint32_t WritePacketOptions(uint8_t (&to)[kPacketOptionsMax], Fate fate, Marks marks,
                            Direction direction, uint32_t lost);

}  // namespace tsvswitch
