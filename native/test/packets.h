// Reads what a capture gives: packet blocks of a pcapng file, each checked to be whole.

#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "core/policy/capture.h"
#include "test/check.h"

namespace tsvswitch {

struct CapturedPacket {
  uint32_t interface;
  uint64_t time_ns;
  uint32_t bytes;
  std::vector<uint8_t> data;
  Fate fate;  // of one that was not dropped: what the direction says
  Marks marks;
  Direction direction;
  uint32_t lost;
};

namespace packets {

inline uint32_t WordAt(const uint8_t* at) {
  uint32_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

inline Fate DropNamed(std::string_view said) {
  constexpr std::string_view kNames[] = {
#define X(name, text) text,
      TSVSWITCH_FATES(X)
#undef X
  };
  for (uint32_t fate = static_cast<uint32_t>(kFirstDrop); fate < kFates; ++fate) {
    if (said == kNames[fate]) return static_cast<Fate>(fate);
  }
  const bool is_known = false;
  CHECK(is_known);
  return Fate::kUnderWay;
}

inline Marks MarksNamed(std::string_view said) {
  constexpr std::string_view kNames[] = {
#define X(name, text) text,
      TSVSWITCH_MARKS(X)
#undef X
  };
  Marks marks = 0;
  std::string again;
  for (uint32_t mark = 0; mark < kMarks; ++mark) {
    if (said.find(kNames[mark]) == std::string_view::npos) continue;
    marks = static_cast<Marks>(marks | 1u << mark);
    again += (again.empty() ? "" : ", ") + std::string(kNames[mark]);
  }
  CHECK(said == again);
  return marks;
}

inline void ReadComment(std::string_view comment, CapturedPacket* packet) {
  constexpr std::string_view kDropped = "dropped: ", kImpairment = "impairment: ";
  if (comment.starts_with(kDropped)) {
    packet->fate = DropNamed(comment.substr(kDropped.size()));
  } else {
    CHECK(comment.starts_with(kImpairment));
    packet->marks = MarksNamed(comment.substr(kImpairment.size()));
  }
}

// The options at `at`, which go up to `end`.
inline void ReadOptions(const uint8_t* at, const uint8_t* end, CapturedPacket* packet) {
  std::vector<std::string> comments;
  bool has_flags = false;
  for (;;) {
    CHECK(at + 4 <= end);
    const uint32_t header = WordAt(at);
    const uint32_t code = header & 0xffff, bytes = header >> 16;
    const uint8_t* const value = at + 4;
    at = value + PaddedToWord(bytes);
    if (code == 0) break;
    CHECK(at <= end);
    for (const uint8_t* filling = value + bytes; filling < at; ++filling) CHECK_EQ(*filling, 0);
    if (code == kOptionComment) {
      comments.emplace_back(reinterpret_cast<const char*>(value), bytes);
    } else if (code == kOptionFlags) {
      const uint32_t flags = WordAt(value);
      CHECK(bytes == 4 && (flags == 1 || flags == 2));
      packet->direction = flags == 1 ? Direction::kFromGuest : Direction::kToGuest;
      has_flags = true;
    } else {
      CHECK(code == kOptionDropCount && bytes == 8 && WordAt(value + 4) == 0);
      packet->lost = WordAt(value);
      CHECK(packet->lost != 0);
    }
  }
  CHECK(has_flags && at == end);
  packet->fate = packet->direction == Direction::kFromGuest ? Fate::kUnderWay : Fate::kDelivered;
  for (const std::string& comment : comments) ReadComment(comment, packet);
}

}  // namespace packets

// The packet at `block`, of which there are at most `room` bytes; adds its length to *used.
inline CapturedPacket ReadPacket(const uint8_t* block, size_t room, size_t* used) {
  PacketBlockHead head;
  CHECK(room >= sizeof(head));
  std::memcpy(&head, block, sizeof(head));
  CHECK_EQ(head.type, kPacketBlockType);
  CHECK(head.block_bytes <= room && head.block_bytes % 4 == 0);
  const uint8_t* const data = block + sizeof(head);
  const uint8_t* const end = block + head.block_bytes - 4;
  const uint8_t* const options = data + PaddedToWord(head.captured_bytes);
  CHECK(options <= end);
  CHECK_EQ(packets::WordAt(end), head.block_bytes);
  for (const uint8_t* filling = data + head.captured_bytes; filling < options; ++filling) {
    CHECK_EQ(*filling, 0);
  }
  CapturedPacket packet = {.interface = head.interface,
                           .time_ns = uint64_t{head.time_high} << 32 | head.time_low,
                           .bytes = head.frame_bytes,
                           .data = {data, data + head.captured_bytes},
                           .fate = Fate::kUnderWay,
                           .marks = 0,
                           .direction = Direction::kFromGuest,
                           .lost = 0};
  packets::ReadOptions(options, end, &packet);
  *used += head.block_bytes;
  return packet;
}

// Calls see(packet) for everything that is there, in buffers of `room` bytes; returns how many that
// were. Ports have the interface of their own number.
template <class See>
uint32_t ReadPackets(Capture& capture, size_t room, See see) {
  std::vector<uint8_t> buffer(room);
  uint32_t count = 0;
  for (;;) {
    const size_t bytes = capture.Read(buffer.data(), buffer.size());
    for (size_t at = 0; at < bytes; ++count) see(ReadPacket(&buffer[at], bytes - at, &at));
    const uint16_t port = capture.PortWithoutInterface();
    if (port != kNoPort) {
      capture.SetInterface(port, port);
    } else if (bytes == 0) {
      return count;
    }
  }
}

}  // namespace tsvswitch
