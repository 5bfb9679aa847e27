// The second half of forwarding: frames of a batch into the receive buffers of one queue.
//
// Claim buffers for the whole list, copy, publish once, call once. A frame is copied exactly once,
// from the sender's buffer into the receiver's. Where every frame can be passed as it is, which one
// comparison of feature bits for the whole list tells, that is all. Otherwise each frame becomes
// parcels, as offload.h and segmenter.h make them, and these are delivered in the same way, 64 at a
// time.
//
// A receiver without buffers makes the worker wait a bounded moment once; until it takes frames
// again it gets only what it has room for at once. What does not fit is dropped and counted at the
// receiver; a frame larger than all that is offered does not take smaller ones behind it along.
//
// Receivers choose what their buffers cost: in one round those of a port are walked for at most
// kWalkedPerRound descriptors and one frame, whoever sends to it, and what comes then finds no
// buffer.
//
// Thread: the worker that owns the Deliverer; with several workers, under the receiveq's lock.
// Sources: virtio 1.2 §5.1.6.3.1, §5.1.6.4.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/frame/fate.h"
#include "core/frame/frame.h"
#include "core/frame/segmenter.h"
#include "core/frame/work.h"
#include "core/port/events.h"
#include "core/port/port.h"

namespace tsvswitch {

class Deliverer {
 public:
  // `shared`: other workers may fill the same receiveqs. `fragment_id`: as Segmenter's.
  Deliverer(EventRing& events, bool shared, uint32_t fragment_id);
  // From now on others may. Between two batches.
  void Share() { shared_ = true; }

  // Delivers or counts every frame of the list. `fates`, by number of the frame, says of each what
  // became of it; nullptr: nobody wants to know.
  void Deliver(Queue& to, const Frame* frames, const FrameList& list, Fate* fates);

  // A new round of the worker: every receiver may be walked again.
  void BeginRound() {
    if (!walked_ports_.empty()) [[unlikely]]
      ForgetWalked();
  }
  static constexpr uint32_t kWalkedPerRound = 1 << 16;
  // What deliveries have cost since it was set to 0 (work.h).
  uint64_t work = 0;
  // What was delivered since these were set to 0, as it counts at the receivers.
  uint64_t delivered_frames = 0;
  uint64_t delivered_bytes = 0;

 private:
  void DeliverBatch(Queue& to, const Frame* frames, const FrameList& list);
  void DeliverParcels(Queue& to, const Frame* frames, const FrameList& list);
  void Segment(Queue& to, const Frame& frame, uint8_t number);
  Parcel& NextParcel(Queue& to, uint8_t frame);
  void FlushParcels(Queue& to);
  // Lands landing_bytes_[0..count) and counts; copy(i, landing) writes the i-th.
  // False if the receiver had no room for some.
  template <class Copy>
  bool Land(Queue& to, uint32_t count, Copy copy);
  template <class Copy>
  uint32_t Fill(Queue& to, uint32_t count, Copy copy);
  // Out of line: rare code in Fill would cost its loop registers.
  enum class Next { kClaimAgain, kPassOver, kGiveUp };
  [[gnu::noinline]] Next AfterShortClaim(Queue& to, uint32_t claimed, uint32_t landing,
                                         uint32_t* spins);
  // Landings that come to nothing, and those of the last Claim that were too small.
  [[gnu::noinline]] void End(Queue& to, uint32_t first, uint32_t count, Fate why);
  [[gnu::noinline]] void EndTooSmall(Queue& to, uint32_t first, uint32_t claimed);
  // Packets of a frame that come to nothing before they are landings.
  void EndPackets(Queue& to, uint8_t frame, uint32_t count, Fate why);
  void NoteFate(uint8_t frame, Fate fate);
  void NoteDelivered(uint32_t landings);
  bool WaitForMore(Queue& to, uint32_t* spins);
  bool MayWalk(const Port& to) const {
    return walked_ports_.empty() || walked_for_[to.number] < kWalkedPerRound;
  }
  [[gnu::noinline]] void CountWalked(const Port& to, uint32_t descriptors);
  void ForgetWalked();
  void LogLandings(const Port& to, uint32_t claimed, const uint32_t* bytes);

  EventRing& events_;
  bool shared_;
  Segmenter segmenter_;

  PieceStore landing_pieces_;
  Landing landings_[kBatchFramesMax] = {};
  uint32_t landing_bytes_[kBatchFramesMax];
  // If somebody wants to know what becomes of frames: where that goes, the frame of each landing,
  // and which landings have come to nothing, a bit each.
  Fate* fates_ = nullptr;
  const uint8_t* landing_frames_ = nullptr;
  uint64_t ended_landings_ = 0;
  static_assert(kBatchFramesMax <= 64);
  // Only for receivers that lack features.
  std::unique_ptr<Parcel[]> parcels_{new Parcel[kBatchFramesMax]};
  uint8_t parcel_frames_[kBatchFramesMax];
  uint32_t parcel_count_ = 0;
  bool room_left_ = true;  // whether the receiver took all parcels of the present list so far

  // By port: descriptors of its buffers that were walked in this round; and the ports with any.
  std::unique_ptr<uint32_t[]> walked_for_{new uint32_t[kPortsMax]()};
  std::vector<uint16_t> walked_ports_;
};

}  // namespace tsvswitch
