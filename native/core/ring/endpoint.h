// Where frames come out of a port, and where they go into it: all that forwarding knows of either.
//
//   FrameSource: Take() chains; Return() them all, in order, when their frames were copied.
//   FrameSink:   Claim() places for a list of frames; Publish() them when they are filled.
//
// In between nothing is visible to the other side. Each verb is one virtual call for a whole batch;
// the loops are inside. What is at the other side, a ring of a guest's driver or memory of this
// process, how it is started and where it is, is known to those who made it.
//
// A frame has a virtio header in front, as long as header_bytes() says.
//
// Thread: one worker at a time (a source: its owner; a sink: the holder of its queue's lock).

#pragma once

#include <cstdint>

#include "core/ring/chain.h"

namespace tsvswitch {

// Where one frame goes: a receive buffer, possibly merged from several chains.
struct Landing {
  uint8_t* data;         // the whole buffer where it is one piece, else nullptr:
  uint32_t first_piece;  // then its pieces are in the store
  uint32_t piece_count;
  uint16_t num_buffers;  // 0: the frame fits no buffer that may be offered, drop it
};

// Why a Claim left frames undecided.
enum class ClaimEnd : uint8_t {
  kNothingOffered,  // or nothing left
  kFrameTooLarge,   // for all that is offered; smaller ones may fit
  kPaused,          // go on after Publish
};

// What both have.
class FrameEnd {
 public:
  virtual ~FrameEnd() = default;

  // How many chains are offered beyond those taken; may stop counting at `wanted`. A violation
  // shows in *broken, here or when the chain is taken.
  virtual uint32_t Offered(uint32_t wanted, BreakReason* broken) = 0;
  // After Return or Publish: whether the other side asked to be called for what was handed back.
  virtual bool CallWanted() = 0;
};

class FrameSource : public FrameEnd {
 public:
  // Takes up to `max` chains in the order in which they were offered. Stops early at a violation
  // (*broken) or when `pieces` might not hold another chain.
  virtual uint32_t Take(uint32_t max, Chain* chains, PieceStore& pieces, BreakReason* broken) = 0;
  // Forgets the last `count` chains of a Take: the next one takes them again.
  virtual void PutBack(const Chain* chains, uint32_t count) = 0;
  // Hands the chains of one Take back.
  virtual void Return(const Chain* chains, uint32_t count) = 0;

  // Kicks are wanted only while the worker means to sleep.
  virtual void EnableKicks() = 0;
  virtual void DisableKicks() = 0;

  uint32_t header_bytes() const { return header_bytes_; }
  // What the last Take walked of chains that are not one plain descriptor: their descriptors, and
  // the pieces found in them, of which a buffer over many regions has many.
  uint32_t walked() const { return walked_; }

 protected:
  uint32_t header_bytes_ = 0;
  uint32_t walked_ = 0;
};

class FrameSink : public FrameEnd {
 public:
  // Finds buffers for up to `count` frames of bytes[i] (header included), in order. Returns for how
  // many landings[i] is decided: fewer than `count` if no more is offered (claim_end says how),
  // `pieces` is full, or a violation shows in *broken.
  virtual uint32_t Claim(const uint32_t* bytes, uint32_t count, Landing* landings,
                         PieceStore& pieces, BreakReason* broken) = 0;
  // Hands all filled buffers back.
  virtual void Publish() = 0;

  // After a Claim that left frames undecided: why, how many chains are offered that do not hold the
  // next one, and whether there was never room for such a frame.
  ClaimEnd claim_end() const { return claim_end_; }
  uint32_t chains_short() const { return chains_short_; }
  bool NeverHeld(uint32_t bytes) const { return bytes > merged_bytes_max_; }

  uint32_t header_bytes() const { return header_bytes_; }
  // As a source's, of the last Claim.
  uint32_t walked() const { return walked_; }

 protected:
  uint32_t header_bytes_ = 0;
  uint32_t walked_ = 0;
  ClaimEnd claim_end_ = ClaimEnd::kNothingOffered;
  uint32_t chains_short_ = 0;
  // The longest frame that was claimed other than as one plain descriptor.
  uint32_t merged_bytes_max_ = 0;
};

}  // namespace tsvswitch
