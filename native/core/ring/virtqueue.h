// A virtqueue: a ring of a guest's driver as a source and as a sink of frames (endpoint.h), and
// what control does with a ring beside: start it, move it, ask for its base, serve its commands.
//
// A transmitq is used as a source and a receiveq as a sink. Of a control queue control takes one
// chain (TakeCommand) and returns it with its status (ReturnCommand). So nothing above needs to
// know the ring's format. Ring memory belongs to a hostile guest: every index and descriptor is
// read once into private memory and checked there; a violation is reported as a BreakReason and
// leaves the queue as it was before the offending chain.
//
// The loops are in split_queue.cc and packed_queue.cc, so that a split guest and a packed guest
// meet here and nowhere else. What was negotiated is looked at per batch, or only where a chain is
// not of the plain kind.
//
// Invariants, of both formats:
//   1. every chain taken or claimed is handed back exactly once, in the order of the ring.
//   2. descriptors are read after the word that makes them available; used elements, and the frames
//      they speak of, are written before the word that makes them used.
//   3. every loop is bounded by the queue size or by the batch.
//   4. Take and Claim walk at most so many descriptors as their bounds below and one chain have.
//
// Thread: one worker at a time (transmitq: its owner; receiveq: the holder of its lock), for a
// control queue the control thread. Control calls come between rounds. Sources: virtio 1.2 §2.7,
// §2.8; vhost-user "Vring descriptor index for split virtqueues", "Vring descriptor indices for
// packed virtqueues".

#pragma once

#include <cstdint>

#include "core/memory/guest_memory.h"
#include "core/ring/chain.h"
#include "core/ring/endpoint.h"
#include "core/ring/virtio_spec.h"

namespace tsvswitch {

class Virtqueue : public FrameSource, public FrameSink {
 public:
  // The three parts of a ring, mapped here. Of a packed ring `avail` is the Driver Area and `used`
  // the Device Area (§2.8); the vhost-user protocol names them so too.
  struct Rings {
    uint8_t* desc;
    uint8_t* avail;
    uint8_t* used;
    // Where buffers are: outlives the ring, or its next Move.
    const GuestMemory* memory = nullptr;
  };
  // How large the parts are, and how `avail` is aligned; `desc` is to 16 bytes and `used` to 4.
  struct Layout {
    uint64_t desc_bytes;
    uint64_t avail_bytes;
    uint64_t used_bytes;
    uint32_t avail_alignment;
  };

  virtual ~Virtqueue() = default;

  virtual Layout LayoutOf(uint32_t size) const = 0;
  // Whether a ring of this format can have this size and begin at `base`. Start() takes no other.
  virtual bool Accepts(uint32_t size, uint32_t base) const = 0;

  // `base` is the payload of SET_VRING_BASE: where to take next and, of a packed ring, to use next.
  virtual void Start(const Rings& rings, uint32_t size, uint32_t base, uint64_t features) = 0;
  // The same rings at another place: after memory or ring addresses changed.
  virtual void Move(const Rings& rings) = 0;
  // What GET_VRING_BASE answers; exact between rounds.
  virtual uint32_t base() const = 0;

  // Takes the next chain of a control queue; false if there is none or it is a violation (*broken).
  virtual bool TakeCommand(CommandChain* command, BreakReason* broken) = 0;
  // Hands back the oldest chain that was taken, with `written` bytes in it.
  virtual void ReturnCommand(uint16_t id, uint16_t descriptors, uint32_t written) = 0;

  // The descriptors, of a format that hands buffers back in them; else nullptr.
  virtual const void* WrittenDescriptors() const { return nullptr; }

  // Whether what lies where the device looks next would be the driver's offer if the wrap counters
  // were the other way round. On a queue that has moved since, it may be left there from the lap
  // before.
  virtual bool OutOfStep() const { return false; }

  // Both are overridden once, for either end.
  uint32_t Offered(uint32_t wanted, BreakReason* broken) override = 0;
  bool CallWanted() override = 0;
  using FrameSink::header_bytes;
  using FrameSink::walked;

  // Take and Claim begin no further chain beyond so much that was walked, which honest drivers stay
  // below: a chain of theirs has 20.
  static constexpr uint32_t kWalkedPerTake = 4096;
  static constexpr uint32_t kWalkedPerClaim = 16384;
  // Of one frame's buffers: a descriptor for each byte, and as many empty ones as a ring has.
  static constexpr uint32_t kWalkedPerFrame = PieceStore::kPiecesPerChainMax + kQueueSizeMax;

 protected:
  void Negotiate(uint64_t features) {
    merged_bytes_max_ = 0;
    header_bytes_ = FrameSource::header_bytes_ = NetHeaderBytes(features);
    event_idx_ = (features & VIRTIO_F_EVENT_IDX) != 0;
    indirect_ = (features & VIRTIO_F_INDIRECT_DESC) != 0;
    mergeable_ = (features & VIRTIO_NET_F_MRG_RXBUF) != 0;
    in_order_ = (features & VIRTIO_F_IN_ORDER) != 0;
  }

  enum class ClaimResult { kDecided, kNoBuffer, kBroken };

  // Of a frame that finds no place: `chains` are offered, and do not hold it.
  ClaimResult Short(uint32_t chains) {
    claim_end_ = chains == 0 ? ClaimEnd::kNothingOffered : ClaimEnd::kFrameTooLarge;
    chains_short_ = chains;
    return ClaimResult::kNoBuffer;
  }
  ClaimResult PauseClaim() {
    claim_end_ = ClaimEnd::kPaused;
    return ClaimResult::kNoBuffer;
  }

  // Of both ends; Take tells its own what it has walked.
  using FrameSink::header_bytes_;
  using FrameSink::walked_;

  // Set by Start and Move.
  const GuestMemory* memory_ = nullptr;
  bool event_idx_ = false;
  bool indirect_ = false;
  bool mergeable_ = false;
  bool in_order_ = false;
};

}  // namespace tsvswitch
