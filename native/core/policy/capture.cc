// See capture.h.

#include "core/policy/capture.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "core/platform/copy.h"

namespace tsvswitch {

namespace {

// What the clock showed in 1970. A capture lasts minutes, so that steps of the time of day do not
// count.
uint64_t EpochOf(const Clock& clock) {
  if (clock.manual()) return 0;
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<uint64_t>(now.tv_nsec) -
         clock.NowNs();
}

uint32_t BlockBytes(uint32_t captured_bytes, size_t end_bytes) {
  return static_cast<uint32_t>(sizeof(PacketBlockHead) + end_bytes) + PaddedToWord(captured_bytes);
}

// Returns 0 or an errno.
int WriteAll(int fd, const uint8_t* from, size_t bytes) {
  while (bytes > 0) {
    const ssize_t written = write(fd, from, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    from += written;
    bytes -= static_cast<size_t>(written);
  }
  return 0;
}

// The block of a frame up to its options, in `block`. Returns where they go.
[[gnu::always_inline]] inline uint8_t* WriteFrame(const Slice& frame, const PacketBlockHead& head,
                                                  uint8_t* block) {
  uint8_t* const data = block + sizeof(head);
  uint8_t* const options = data + PaddedToWord(head.captured_bytes);
  // What fills the frame up are zeros: the ring has bytes of other frames.
  std::memset(options - sizeof(uint32_t), 0, sizeof(uint32_t));
  std::memcpy(block, &head, sizeof(head));
  // What is no frame may have no bytes, and no piece then.
  if (head.captured_bytes != 0 && frame.piece->bytes - frame.skip >= head.captured_bytes)
      [[likely]] {
    CopyBytes(data, frame.piece->data + frame.skip, head.captured_bytes);
  } else {
    Gather(frame, data, head.captured_bytes);
  }
  return options;
}

}  // namespace

Capture::Capture(const Clock& clock, uint32_t snap_bytes, int call_fd)
    : clock_(clock), epoch_ns_(EpochOf(clock)), snap_bytes_(snap_bytes), call_fd_(call_fd) {
  ForgetInterfaces();
}

Capture::Adding::Adding(Capture& capture, uint16_t port, Direction direction)
    : capture_(capture),
      guard_(capture.writing_),
      time_ns_(capture.epoch_ns_ + capture.clock_.NowNs()),
      port_(port),
      direction_(direction) {
  capture.ring_.Begin();
}

PacketBlockHead Capture::Adding::HeadOf(uint32_t block_bytes, uint32_t captured_bytes,
                                        uint32_t frame_bytes) const {
  return {.type = kPacketBlockType,
          .block_bytes = block_bytes,
          .interface = port_,
          .time_high = static_cast<uint32_t>(time_ns_ >> 32),
          .time_low = static_cast<uint32_t>(time_ns_),
          .captured_bytes = captured_bytes,
          .frame_bytes = frame_bytes};
}

// The loop has all it needs in locals: what it writes could be anything that is read again.
uint64_t Capture::Adding::Add(const Frame* frames, const FrameList& list,
                              const Outcomes& outcomes) {
  PacketRing& ring = capture_.ring_;
  const uint32_t snap_bytes = capture_.snap_bytes_;
  const PlainPacketEnd plain = {.flags_header = OptionHeader(kOptionFlags, sizeof(uint32_t)),
                                .flags = DirectionFlags(direction_),
                                .end_of_options = 0,
                                .block_bytes = 0};
  uint32_t untold = capture_.CountUntold();
  PacketRing::Room room = ring.room();
  uint64_t bytes = 0;
  const uint32_t count = list.count;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t number = list.frame[i];
    const Slice& frame = frames[number].body;
    const Fate fate = outcomes.fate[number];
    if (fate == Fate::kHeld) continue;
    bytes += frame.bytes;
    const uint32_t captured_bytes = std::min(frame.bytes, snap_bytes);
    const uint32_t block_bytes = BlockBytes(captured_bytes, sizeof(PlainPacketEnd));
    if (block_bytes > room.bytes || IsDrop(fate) || outcomes.marks[number] != 0 || untold != 0)
        [[unlikely]] {
      ring.Use(room);
      Add(frame, fate, outcomes.marks[number]);
      room = ring.room();
      untold = capture_.CountUntold();
      continue;
    }
    const PacketBlockHead head = HeadOf(block_bytes, captured_bytes, frame.bytes);
    uint8_t* const options = WriteFrame(frame, head, room.at);
    PlainPacketEnd end = plain;
    end.block_bytes = block_bytes;
    std::memcpy(options, &end, sizeof(end));
    room.at += block_bytes;
    room.bytes -= block_bytes;
  }
  ring.Use(room);
  return bytes;
}

void Capture::Adding::Add(const Slice& frame, Fate fate, Marks marks) {
  Capture& to = capture_;
  const uint32_t captured_bytes = std::min(frame.bytes, to.snap_bytes_);
  uint8_t options[kPacketOptionsMax];
  const uint32_t bytes = WritePacketOptions(options, fate, marks, direction_, to.CountUntold());
  const uint32_t block_bytes = BlockBytes(captured_bytes, bytes + sizeof(uint32_t));
  uint8_t* const block = to.ring_.Reserve(block_bytes);
  if (block == nullptr) {
    to.lost_.store(to.lost() + 1, std::memory_order_relaxed);
    return;
  }
  to.lost_told_ = to.lost();
  uint8_t* const end = WriteFrame(frame, HeadOf(block_bytes, captured_bytes, frame.bytes), block);
  std::memcpy(end, options, bytes);
  std::memcpy(end + bytes, &block_bytes, sizeof(block_bytes));
}

Capture::Adding::~Adding() {
  Capture& to = capture_;
  to.ring_.Publish();
  // Either this sees that a call is wanted, or the reader that wants one sees the packets.
  if (to.call_wanted_.load(std::memory_order_seq_cst) &&
      to.call_wanted_.exchange(false, std::memory_order_seq_cst)) {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(to.call_fd_, &one, sizeof(one));
  }
}

size_t Capture::Read(uint8_t* to, size_t room) {
  size_t used = 0;
  for (;;) {
    const PacketRing::Run run = ring_.Next();
    const uint32_t bytes = PutInterfaces(run, room - used);
    if (bytes == 0) return used;
    CopyBytes(to + used, run.at, bytes);
    used += bytes;
    ring_.Release(bytes);
  }
}

int Capture::WriteTo(int fd) {
  for (;;) {
    const PacketRing::Run run = ring_.Next();
    const uint32_t bytes = PutInterfaces(run, run.bytes);
    if (bytes == 0) return 0;
    const int error = WriteAll(fd, run.at, bytes);
    if (error != 0) return error;
    ring_.Release(bytes);
  }
}

// In place of the port's number, in blocks of at most `room` bytes. Returns how many bytes they
// have.
uint32_t Capture::PutInterfaces(const PacketRing::Run& run, size_t room) {
  uint32_t bytes = 0;
  while (bytes < run.bytes) {
    uint8_t* const block = run.at + bytes;
    PacketBlockHead head;
    std::memcpy(&head, block, sizeof(head));
    if (head.type != kPacketBlockType || head.block_bytes > room - bytes) break;
    const uint32_t interface = interfaces_[head.interface];
    if (interface == kNoInterface) break;
    std::memcpy(block + offsetof(PacketBlockHead, interface), &interface, sizeof(interface));
    bytes += head.block_bytes;
  }
  return bytes;
}

uint16_t Capture::PortWithoutInterface() {
  const PacketRing::Run run = ring_.Next();
  if (run.bytes == 0) return kNoPort;
  PacketBlockHead head;
  std::memcpy(&head, run.at, sizeof(head));
  return interfaces_[head.interface] == kNoInterface ? static_cast<uint16_t>(head.interface)
                                                     : kNoPort;
}

}  // namespace tsvswitch
