// Frames that links hold back: private copies in a bounded pool, handed out when they are due.
//
// Bytes lie in chunks of 2 KiB, linked where a frame is longer; a heap orders frames by when they
// are due, and those due at the same time by when they came. Everything is allocated when the pool
// is made, and pages are only there once they are written. What finds no room is the caller's to
// count.
//
// Thread: the worker that owns it; control between rounds.

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "core/frame/fate.h"
#include "core/frame/offload.h"
#include "core/frame/slice.h"

namespace tsvswitch {

struct Port;
struct Queue;

// Where a held frame is on its way: it goes on behind the stage that holds it.
struct Hop {
  uint32_t stage;  // its bit: of an egress stage of `to`, or of an ingress stage without `to`
  // Its transmitq, by which GiveTo finds it. Only while its frame is not switched it is certain to
  // be there.
  Queue* from;
  Port* to;

  bool IsSwitched() const { return to != nullptr; }
  bool operator==(const Hop&) const = default;
};

struct HeldFrame {
  uint64_t due_ns;
  uint64_t number;  // counts up
  uint32_t chunk;   // the first
  uint32_t bytes;
  Hop hop;
  Marks marks;              // what links have done to it so far
  uint16_t flooded_to = 0;  // as Queue's, of a flood that is interrupted
};

class HeldFrames {
 public:
  static constexpr uint32_t kFramesMax = 16384;
  static constexpr uint32_t kChunkBytes = 2048;

  explicit HeldFrames(uint32_t frames_max = kFramesMax);

  // Takes a copy of a parcel, with one bit inverted unless `corrupted_bit` is kNoBit; false if it
  // has no room.
  static constexpr uint32_t kNoBit = ~0u;
  bool Hold(const Parcel& parcel, uint32_t corrupted_bit, uint64_t due_ns, const Hop& hop,
            Marks marks = 0, uint16_t flooded_to = 0);

  uint32_t count() const { return count_; }
  // When the next frame is due; kNever if there is none.
  static constexpr uint64_t kNever = ~uint64_t{0};
  uint64_t next_due_ns() const { return count_ == 0 ? kNever : heap_[0].due_ns; }

  // The frame that is due next and was held for `now_ns` or earlier; its bytes stay until Free.
  bool TakeDue(uint64_t now_ns, HeldFrame* frame);
  // The hop of the next frame, if one is due.
  const Hop* NextDueHop(uint64_t now_ns) const {
    return next_due_ns() <= now_ns ? &heap_[0].hop : nullptr;
  }
  // The bytes of a taken frame, as pieces appended to `pieces`.
  Slice Body(const HeldFrame& frame, PieceStore& pieces);
  void Free(const HeldFrame& frame);
  // A frame that was taken and not freed, where it was.
  void PutBack(const HeldFrame& frame) {
    heap_[count_++] = frame;
    std::push_heap(&heap_[0], &heap_[count_], Later);
  }

  // Forgets the frames that go to a port, and those of its guest that are not switched yet.
  void Forget(const Port& port);
  // Hands over the frames that came from a transmitq; returns how many `other` had no room for.
  uint32_t GiveTo(HeldFrames& other, const Queue* transmitq);

 private:
  struct Unmap {
    size_t bytes;
    void operator()(uint8_t* data) const;
  };
  static bool Later(const HeldFrame& a, const HeldFrame& b) {
    return a.due_ns != b.due_ns ? a.due_ns > b.due_ns : a.number > b.number;
  }
  uint8_t* Chunk(uint32_t chunk) const { return &bytes_.get()[size_t{chunk} * kChunkBytes]; }
  // A chain of free chunks for so many bytes, or false.
  bool Allocate(uint32_t bytes, uint32_t* first);
  void Push(HeldFrame frame);
  template <class Unwanted>
  void Remove(Unwanted unwanted);

  const std::unique_ptr<uint8_t[], Unmap> bytes_;
  const std::unique_ptr<uint32_t[]> next_chunk_;  // of a frame's chain, or of the free ones
  const std::unique_ptr<HeldFrame[]> heap_;
  uint32_t count_ = 0;
  uint32_t free_chunk_ = 0;
  uint32_t free_chunks_;
  uint64_t numbers_ = 0;
};

}  // namespace tsvswitch
