// What comes from a transmitq: chains, and the frames that they are.
//
// Take gets descriptors as private copies, checked and translated (split_queue, packed_queue);
// Parse makes frames of them: virtio header and Ethernet addresses in private memory, offloads
// checked. Chains that are no frames are put on a list, and counted once it is certain that none of
// the batch is put back.
//
// Thread: the worker that owns it.

#pragma once

#include <cstdint>

#include "core/frame/batch.h"
#include "core/frame/work.h"
#include "core/port/port.h"
#include "core/ring/chain.h"

namespace tsvswitch {

class Intake {
 public:
  // Fills `chains`; how many there are.
  uint32_t Take(Queue& transmitq, BreakReason* broken) {
    pieces_.Clear();
    return transmitq.source->Take(transmitq.batch_frames, chains, pieces_, broken);
  }
  // Fills the batch with the frames that are fit to be forwarded. Returns how many of the chains
  // were looked at: fewer than `taken` if the next one would make the batch cost too much. Out of
  // line: its loop needs all registers.
  [[gnu::noinline]] uint32_t Parse(const Queue& from, uint32_t taken, Batch& batch);
  // Leaves the first `frames` frames. Returns how many chains are left: those up to the last of
  // them.
  uint32_t CutTo(uint32_t frames, Batch& batch);
  // Of the chains that are left: counts and records those that are no frames.
  bool any_malformed() const { return malformed_count_ != 0; }
  bool first_is_malformed() const { return any_malformed() && malformed_[0].chain == chains; }
  void CountMalformed(Queue& from);

  // A batch of one frame that is not from a ring.
  void Put(uint8_t* frame, uint32_t bytes, Batch& batch);

  Chain chains[kBatchFramesMax];
  // Of the frames parsed last: their bytes, and what else they cost each receiver.
  uint64_t bytes = 0;
  uint64_t work = 0;
  // What a batch may have of the latter.
  uint64_t work_max = kBatchWork;

 private:
  bool ParseChain(const Queue& from, const Chain& chain, uint32_t header_bytes, bool first,
                  Frame& frame);
  // Both out of line, too: they are rare.
  [[gnu::noinline]] bool ParseOffload(const Queue& from, const Chain& chain, const uint8_t* start,
                                      bool first, Frame& frame);
  // Notes a chain that is no frame; false.
  [[gnu::noinline]] bool Malformed(const Chain& chain, Fate why);

  PieceStore pieces_;
  bool over_work_ = false;  // the frame parsed last is one too many
  // In order.
  struct MalformedChain {
    const Chain* chain;
    Fate why;
  };
  MalformedChain malformed_[kBatchFramesMax];
  uint32_t malformed_count_ = 0;
};

}  // namespace tsvswitch
