// A capture: records frames of ports, cut to a snap length, on their way from the workers to
// control.
//
// A worker copies a batch of frames into a ring and goes on. If the ring is full, a frame is not
// recorded, and the next record says how many were not. So a capture never makes a worker wait.
// Frames are recorded as the switch carries them: large packets whole, and checksums that their
// guest left to the device not yet there. The bytes are read apart from the copy that a receiver
// gets: a guest that changes a frame while it is under way may make them differ.
//
// Control reads the records from the ring (Read) and is called through an eventfd when it wants to
// wait.
//
// Does not: know which ports it records (port_captures.h).
// Thread: Adding on any worker, one after the other under a lock of theirs; Read and RequestCall on
// the control thread.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/frame/fate.h"
#include "core/frame/slice.h"
#include "core/platform/clock.h"
#include "core/platform/copy.h"
#include "core/platform/spinlock.h"
#include "core/port/frame_ring.h"

namespace tsvswitch {

class Capture {
 public:
  // Seen from the switch.
  enum class Direction : uint8_t { kFromGuest, kToGuest };

  // In front of each frame's bytes, which are followed by up to 7 that fill them up to a multiple
  // of 8. TypeScript reads it (src/capture/packet-blocks.ts).
  struct Record {
    uint64_t time_ns;  // since 1970, or of a manual clock
    uint32_t bytes;    // of the frame
    uint32_t captured_bytes;
    uint32_t lost;  // frames that found no room since the last record
    Fate fate;
    Marks marks;
    uint8_t no_marks[2];
    uint16_t port;
    Direction direction;
    uint8_t padding[5];
  };

  Capture(const Clock& clock, uint32_t snap_bytes, int call_fd);

  // Frames of one batch at one port: one turn of the lock, one look at the clock, and one word to
  // the reader when it ends.
  class Adding {
   public:
    Adding(Capture& capture, uint16_t port, Direction direction);
    ~Adding();
    Adding(const Adding&) = delete;
    Adding& operator=(const Adding&) = delete;

    void Add(const Slice& frame, Fate fate, Marks marks) {
      const uint32_t captured_bytes = std::min(frame.bytes, capture_.snap_bytes_);
      uint8_t* const place =
          capture_.ring_.Reserve(static_cast<uint32_t>(sizeof(Record)) + captured_bytes);
      if (place == nullptr) [[unlikely]] {
        capture_.Lose();
        return;
      }
      const Record record = {.time_ns = time_ns_,
                             .bytes = frame.bytes,
                             .captured_bytes = captured_bytes,
                             .lost = capture_.TakeLost(),
                             .fate = fate,
                             .marks = marks,
                             .no_marks = {},
                             .port = port_,
                             .direction = direction_,
                             .padding = {}};
      std::memcpy(place, &record, sizeof(record));
      uint8_t* const data = place + sizeof(record);
      if (frame.piece->bytes - frame.skip >= captured_bytes) [[likely]] {
        CopyBytes(data, frame.piece->data + frame.skip, captured_bytes);
      } else {
        Gather(frame, data, captured_bytes);
      }
    }

   private:
    Capture& capture_;
    const std::lock_guard<Spinlock> guard_;
    const uint64_t time_ns_;
    const uint16_t port_;
    const Direction direction_;
  };

  // Moves records into `to`, as many as fit; returns how many bytes they take up.
  size_t Read(uint8_t* to, size_t room);
  // One write to the eventfd is wanted as soon as there is a record. Read again afterwards.
  void RequestCall() { call_wanted_.store(true, std::memory_order_seq_cst); }
  // Frames that found no room, ever.
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

  static constexpr uint32_t kRingBytes = 1 << 23;

 private:
  void Lose() { lost_.store(lost() + 1, std::memory_order_relaxed); }
  // How many frames were lost since it was asked last.
  uint32_t TakeLost() {
    return static_cast<uint32_t>(lost() - std::exchange(lost_reported_, lost()));
  }

  const Clock& clock_;
  const uint64_t epoch_ns_;  // of the clock
  const uint32_t snap_bytes_;
  const int call_fd_;

  Spinlock writing_;
  FrameRing ring_{kRingBytes};
  std::atomic<uint64_t> lost_{0};
  uint64_t lost_reported_ = 0;
  std::atomic<bool> call_wanted_{false};
};

}  // namespace tsvswitch
