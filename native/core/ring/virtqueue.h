// A virtqueue as forwarding sees it: takes batches of chains from it, and claims batches of receive
// buffers.
//
// Two verbs for each kind of queue, so that nothing above needs to know the ring's format:
//   transmitq: Take() chains the driver offers; Return() them all, in order, when they were copied.
//   receiveq:  Claim() buffers for a list of frames; Publish() them when they are filled.
//   control:   TakeCommand() one chain; ReturnCommand() it with its status.
// In between nothing is visible to the driver. Ring memory belongs to a hostile guest: every index
// and descriptor is read once into private memory and checked there; a violation is reported as a
// BreakReason and leaves the queue as it was before the offending chain.
//
// Each verb is one virtual call for a whole batch; the loops are inside, in split_queue.cc and
// packed_queue.cc, so that a split guest and a packed guest meet here and nowhere else. What was
// negotiated is looked at per batch, or only where a chain is not of the plain kind.
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
#include "core/ring/virtio_spec.h"

namespace tsvswitch {

// Where one frame goes: a receive buffer, possibly merged from several chains.
struct Landing {
  uint8_t* data;         // the whole buffer where it is one piece, else nullptr:
  uint32_t first_piece;  // then its pieces are in the store
  uint32_t piece_count;
  uint16_t num_buffers;  // 0: the frame fits no buffer the driver may offer, drop it
};

// Why a Claim left frames undecided.
enum class ClaimEnd : uint8_t {
  kNothingOffered,  // or nothing left
  kFrameTooLarge,   // for all that is offered; smaller ones may fit
  kPaused,          // go on after Publish
};

class Virtqueue {
 public:
  // The three parts of a ring, mapped here. Of a packed ring `avail` is the Driver Area and `used`
  // the Device Area (§2.8); the vhost-user protocol names them so too.
  struct Rings {
    uint8_t* desc;
    uint8_t* avail;
    uint8_t* used;
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

  // How many chains the driver offers beyond those taken; may stop counting at `wanted`. A
  // violation shows in *broken, here or when the chain is taken.
  virtual uint32_t Offered(uint32_t wanted, BreakReason* broken) = 0;

  // Takes up to `max` chains in the order in which they were offered. Stops early at a violation
  // (*broken) or when `pieces` might not hold another chain.
  virtual uint32_t Take(const GuestMemory& memory, uint32_t max, Chain* chains, PieceStore& pieces,
                        BreakReason* broken) = 0;
  // Forgets the last `count` chains of a Take: the next one takes them again.
  virtual void PutBack(const Chain* chains, uint32_t count) = 0;
  // Hands the chains of one Take back.
  virtual void Return(const Chain* chains, uint32_t count) = 0;

  // Finds buffers for up to `count` frames of bytes[i] (header included), in order, merging chains
  // if that was negotiated. Returns for how many landings[i] is decided: fewer than `count` if the
  // driver offers no more (claim_end says how), `pieces` is full, or a violation shows in *broken.
  virtual uint32_t Claim(const GuestMemory& memory, const uint32_t* bytes, uint32_t count,
                         Landing* landings, PieceStore& pieces, BreakReason* broken) = 0;
  // Hands all filled buffers back.
  virtual void Publish() = 0;

  // Takes the next chain of a control queue; false if there is none or it is a violation (*broken).
  // Formats that no driver speaks have none.
  virtual bool TakeCommand(const GuestMemory&, CommandChain*, BreakReason*) { return false; }
  // Hands back the oldest chain that was taken, with `written` bytes in it.
  virtual void ReturnCommand(uint16_t, uint16_t, uint32_t) {}

  // The descriptors, of a format that hands buffers back in them; else nullptr.
  virtual const void* WrittenDescriptors() const { return nullptr; }

  // Whether what lies where the device looks next would be the driver's offer if the wrap counters
  // were the other way round. On a queue that has moved since, it may be left there from the lap
  // before.
  virtual bool OutOfStep() const { return false; }

  // After Return or Publish: whether the driver asked to be called for what was handed back.
  virtual bool CallWanted() = 0;
  // Kicks are wanted only while the worker means to sleep.
  virtual void EnableKicks() = 0;
  virtual void DisableKicks() = 0;

  uint32_t header_bytes() const { return header_bytes_; }

  // What the last Take or Claim walked of chains that are not one plain descriptor: their
  // descriptors, and the pieces found in them, of which a buffer over many regions has many. Both
  // begin no further chain beyond their bound, which honest drivers stay below: a chain of theirs
  // has 20.
  uint32_t walked() const { return walked_; }
  static constexpr uint32_t kWalkedPerTake = 4096;
  static constexpr uint32_t kWalkedPerClaim = 16384;
  // Of one frame's buffers: a descriptor for each byte, and as many empty ones as a ring has.
  static constexpr uint32_t kWalkedPerFrame = PieceStore::kPiecesPerChainMax + kQueueSizeMax;

  // After a Claim that left frames undecided: why, how many chains are offered that do not hold the
  // next one, and whether this queue has never held such a frame.
  ClaimEnd claim_end() const { return claim_end_; }
  uint32_t chains_short() const { return chains_short_; }
  bool NeverHeld(uint32_t bytes) const { return bytes > merged_bytes_max_; }

 protected:
  void Negotiate(uint64_t features) {
    merged_bytes_max_ = 0;
    header_bytes_ = NetHeaderBytes(features);
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

  uint32_t header_bytes_ = 0;
  bool event_idx_ = false;
  bool indirect_ = false;
  bool mergeable_ = false;
  bool in_order_ = false;
  ClaimEnd claim_end_ = ClaimEnd::kNothingOffered;
  uint32_t walked_ = 0;
  uint32_t chains_short_ = 0;
  // The longest frame that was claimed other than as one plain descriptor.
  uint32_t merged_bytes_max_ = 0;
};

}  // namespace tsvswitch
