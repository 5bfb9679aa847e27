// A split virtqueue seen from the device: takes batches of chains, fills batches of receive buffers.
//
// Two verbs for each direction, so that forwarding needs to know nothing of rings:
//   transmitq: Take() chains the driver offers; Return() them all, in order, when they were copied.
//   receiveq:  Claim() buffers for a list of frames; Publish() them when they are filled.
// In between nothing is visible to the driver. Ring memory belongs to a hostile guest: every index
// and descriptor is read once into private memory and checked there; a violation is reported as a
// BreakReason and leaves the queue as it was before the offending chain.
//
// Invariants:
//   1. size_ is a power of two, 1..32768; desc_, avail_, used_ are mapped for that many entries.
//   2. next_avail_ - (used index published) = chains taken and not yet returned, at most size_.
//   3. every chain taken is returned exactly once; used entries are written before the used index.
//   4. every loop is bounded by size_ or by the batch.
//
// Thread: one worker at a time (transmitq: its owner; receiveq: whoever holds it). Control calls
// come between rounds. Sources: virtio 1.2 §2.7.

#pragma once

#include <cstdint>

#include "chain.h"
#include "guest_memory.h"
#include "virtio_spec.h"

namespace tsvswitch {

enum class Access { kDeviceReads, kDeviceWrites };

// Where one frame goes: a receive buffer, possibly merged from several chains.
struct Landing {
  uint8_t* data;         // the whole buffer where it is one piece, else nullptr:
  uint32_t first_piece;  // then its pieces are in the store
  uint32_t piece_count;
  uint16_t num_buffers;  // 0: the frame fits no buffer the driver may offer, drop it
};

class SplitQueue {
 public:
  struct Rings {
    uint8_t* desc;
    uint8_t* avail;
    uint8_t* used;
  };
  static uint64_t DescBytes(uint32_t size) { return sizeof(VirtqDesc) * uint64_t{size}; }
  static uint64_t AvailBytes(uint32_t size) { return 6 + 2 * uint64_t{size}; }
  static uint64_t UsedBytes(uint32_t size) { return 6 + sizeof(VirtqUsedElem) * uint64_t{size}; }

  // `base` is the next avail index to take and, nothing being in flight, the used index to write next.
  void Start(const Rings& rings, uint32_t size, uint16_t base, uint64_t features);
  // The same rings at another place: after memory or ring addresses changed.
  void Move(const Rings& rings);
  uint16_t next_avail() const { return next_avail_; }

  // How many chains the driver offers beyond those taken; reads the avail index only if fewer than
  // `wanted` are known. kAvailIndexJump shows in *broken.
  uint32_t Offered(uint32_t wanted, BreakReason* broken);

  // Takes up to `max` chains in the order of the avail ring. Stops early at a violation (*broken) or
  // when `pieces` might not hold another chain.
  uint32_t Take(const GuestMemory& memory, uint32_t max, Chain* chains, PieceStore& pieces,
                BreakReason* broken);
  // Hands the chains of one Take back.
  void Return(const Chain* chains, uint32_t count);

  // Finds buffers for up to `count` frames of bytes[i] (header included), in order, merging chains if
  // that was negotiated. Returns for how many landings[i] is decided: fewer than `count` if the driver
  // offers no more, `pieces` is full, or a violation shows in *broken.
  uint32_t Claim(const GuestMemory& memory, const uint32_t* bytes, uint32_t count,
                 Landing* landings, PieceStore& pieces, BreakReason* broken);
  // Hands all filled buffers back.
  void Publish();

  // After Return or Publish: whether the driver asked to be called for what was handed back.
  bool CallWanted();
  // Kicks are wanted only while the worker means to sleep.
  void EnableKicks();
  void DisableKicks();

  uint32_t header_bytes() const { return header_bytes_; }

 private:
  enum class ClaimResult { kDecided, kNoBuffer, kBroken };
  ClaimResult ClaimScattered(Translator& translate, uint32_t bytes, Landing& landing,
                             PieceStore& pieces, BreakReason* broken);
  BreakReason WalkChain(Translator& translate, const VirtqDesc& head, Access access,
                        PieceStore& pieces, uint32_t* bytes);
  void WriteUsed(uint16_t position, uint32_t id, uint32_t bytes);
  uint16_t* used_event() const { return &avail_->ring[size_]; }
  uint16_t* avail_event() const;

  VirtqDesc* desc_ = nullptr;
  VirtqAvail* avail_ = nullptr;
  VirtqUsed* used_ = nullptr;
  uint32_t size_ = 0;
  uint16_t mask_ = 0;
  uint16_t next_avail_ = 0;   // position in the avail ring to take next
  uint16_t seen_avail_ = 0;   // the driver's avail index as last read
  uint16_t next_used_ = 0;    // position in the used ring to write next
  uint16_t published_used_ = 0;
  uint16_t called_used_ = 0;  // used index when the driver was last asked about a call
  uint32_t header_bytes_ = 0;
  bool event_idx_ = false;
  bool indirect_ = false;
  bool mergeable_ = false;
};

}  // namespace tsvswitch
