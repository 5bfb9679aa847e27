// A batch: the frames that were taken at once, and what became of each.
//
// Nothing is written for a frame that just goes on, so a batch that nobody judges costs nothing
// here: `touched` says whether anything was.
//
// What a guest sends lies in its own memory, which it may change between a judgement and the
// delivery. So before anybody judges what frames say, Shield() copies their heads into private
// memory, once for all that judge; from there on a frame consists of this copy and of what follows
// it in guest memory. The bytes judged are those routed and delivered. That costs a second copy of
// at most kPacketHeaderBytesMax bytes a frame.
//
// Thread: the worker that owns it.

#pragma once

#include <cstdint>
#include <memory>

#include "core/frame/fate.h"
#include "core/frame/frame.h"
#include "core/frame/packet_headers.h"

namespace tsvswitch {

// What became of the frames of a batch at one port, by their numbers.
struct Outcomes {
  Fate fate[kBatchFramesMax] = {};
  Marks marks[kBatchFramesMax] = {};
  bool touched = false;  // whether there is anything but zeros

  bool IsUnderWay(uint32_t frame) const { return fate[frame] == Fate::kUnderWay; }
  void End(uint32_t frame, Fate why) {
    fate[frame] = why;
    touched = true;
  }
  void Mark(uint32_t frame, Marks added) {
    marks[frame] = static_cast<Marks>(marks[frame] | added);
    touched = true;
  }
};

class Batch {
 public:
  // The next one. Its frames are written by the caller.
  void Begin() {
    if (outcomes.touched) [[unlikely]]
      outcomes = {};
    shielded_ = false;
  }

  void End(uint32_t frame, Fate why) { outcomes.End(frame, why); }
  FrameList All() const;
  // Those that nothing has ended.
  FrameList UnderWay() const;

  // Gives every frame that is under way a private head, unless it has one.
  void Shield();
  // Of a shielded frame: its first kPacketHeaderBytesMax bytes, or all if it has fewer.
  const uint8_t* head(uint32_t frame) const { return heads_->bytes[frame]; }

  Frame frames[kBatchFramesMax];
  uint32_t count = 0;
  Outcomes outcomes;

 private:
  struct Heads {
    uint8_t bytes[kBatchFramesMax][kPacketHeaderBytesMax];
    // A frame has at most one piece more than its sender gave it.
    Piece pieces[PieceStore::kCapacity + kBatchFramesMax];
  };
  // From the first batch on that needs them; uninitialised, so that unused pages are not touched.
  std::unique_ptr<Heads> heads_;
  bool shielded_ = false;
};

}  // namespace tsvswitch
