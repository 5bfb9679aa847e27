// One batch from one transmitq to wherever its frames go: the inner part of a worker's round.
//
// Stages, each a loop over the whole batch so that what one stage prefetches has time to land:
//   take     descriptors into private copies, checked and translated    (split_queue, packed_queue)
//   parse    virtio header and Ethernet addresses into private copies, offloads checked
//   guard    ports that are bound to sources: what comes from others ends here   (source_guard)
//   route    learn the source, look up the destination, put the frame on the list of its port
//   deliver  per destination: claim buffers, copy, publish once, call once                (deliver)
//   return   give the transmit buffers back, publish once, call once
//
// What a batch costs is counted (work.h), and bounded: chains that would cost too much are put back
// before anything of them is judged or counted, and a frame whose flood alone costs too much is a
// batch of its own that goes to some receivers in each turn and back to its ring in between. One
// frame, or one receiver of one, always makes progress (forward_work.cc).
//
// A port whose links are impaired (port.h) has them passed before route and before deliver
// (wire.h). What they hold back goes on from there in Release, when it is due.
//
// Does not: choose which queues are polled, sleep, or read clocks (worker.cc).
// Thread: the worker that owns the Forwarder.

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "core/forward/deliver.h"
#include "core/forward/work.h"
#include "core/frame/frame.h"
#include "core/policy/source_guard.h"
#include "core/policy/wire.h"
#include "core/port/events.h"
#include "core/port/port.h"
#include "core/ring/chain.h"

namespace tsvswitch {

class Forwarder {
 public:
  // `shared`: other workers may fill the same receiveqs. `fragment_id`: as Segmenter's.
  Forwarder(EventRing& events, bool shared, uint32_t fragment_id)
      : events_(events), shared_(shared), deliverer_(events, shared, fragment_id) {}

  // From now on others may. Between two rounds.
  void Share() {
    shared_ = true;
    deliverer_.Share();
  }

  // Moves at most one batch; returns how many frames were taken, or 1 if a part of one was moved.
  uint32_t Run(Queue& transmitq, uint32_t now_s);

  // In front of all queues of a worker.
  void BeginRound() { deliverer_.BeginRound(); }
  // What each port may use up in a round.
  void SetTurnWork(uint64_t work) {
    batch_work_ = std::min(work, kBatchWork);
    turn_work_ = work;
  }
  // In front of the queues of a port.
  void BeginTurn() { deliverer_.work = 0; }
  // Whether the port has used up what it may in this round.
  bool turn_is_over() const { return deliverer_.work >= turn_work_; }
  uint64_t work() const { return deliverer_.work; }

  // Floods a frame as if the guest behind `from` had sent it; `frame` is ours and at least 14
  // bytes.
  void Inject(Port& from, uint8_t* frame, uint32_t bytes, uint32_t now_s);

  // Needed as soon as a port of any bridge has an impaired link; nullptr until then.
  void SetWire(std::unique_ptr<Wire> wire) { wire_ = std::move(wire); }
  Wire* wire() { return wire_.get(); }
  // Lets some of the frames go on that are due; returns how many. 0 if none is.
  uint32_t Release(uint32_t now_s);

 private:
  uint32_t Forward(Queue& transmitq, uint32_t taken, uint32_t now_s);
  uint32_t GoOnFlooding(Queue& transmitq);
  // Out of line: its loop needs all registers.
  [[gnu::noinline]] uint32_t Parse(Queue& from, uint32_t* taken);
  void CountMalformed(Queue& from);
  // Whether the batch would cost too much if all of it were flooded.
  bool MayBeWide(const Queue& from, uint32_t frames) const {
    const uint64_t each_way = frames * kFrameWork + BytesWork(parsed_bytes_);
    return (each_way + parsed_work_) * from.port->bridge->member_count > batch_work_;
  }
  uint32_t CutFlood(const Queue& from, uint32_t frames, uint32_t now_s);
  void CutParsed(uint32_t frames, uint32_t* taken);
  uint64_t ListWork(const FrameList& list) const;
  // Gives the batch to the captures of its port.
  void RecordTaken(const Port& from, uint32_t frames);
  bool ParseChain(Queue& from, const Chain& chain, uint32_t header_bytes, Frame& frame);
  // Both out of line, too: they are rare.
  [[gnu::noinline]] bool ParseOffload(const Queue& from, const Chain& chain, const uint8_t* start,
                                      Frame& frame);
  // Notes a chain that is no frame; false.
  [[gnu::noinline]] bool Malformed(const Chain& chain, Counter reason);
  void Route(Queue& from, uint32_t frames, uint32_t now_s);
  void Drop(Queue& from, uint32_t frame, Counter reason);
  // `now` is the second with the FDB's revision, as in Queue::known_at.
  void Learn(Queue& from, uint64_t source, uint32_t now_s, uint64_t now);
  void Flood(Queue& from, uint32_t frame);
  // To the members from this number on; returns to how many.
  uint32_t PostToMembers(const Port& from, uint32_t frame, uint16_t first);
  void Post(uint16_t port, uint32_t frame);
  void DeliverPosted(Queue& from);
  uint16_t DeliverSome(Queue& from);
  void DeliverTo(Port& to, const FrameList& list);
  uint32_t Guard(Queue& from, uint32_t frames);
  uint32_t PassFromGuest(Queue& from, uint32_t frames);
  void PassToPort(Queue& from_queue, Port& to, FrameList* list);
  void PassToGuest(Queue* from, Port& to, FrameList* list);
  std::unique_lock<Spinlock> LockLinks(Port& port);
  uint32_t ReleaseBatch(HeldFrame* batch, uint32_t count, uint32_t now_s);
  uint32_t ReleaseFromGuest(HeldFrame* batch, uint32_t count, uint32_t now_s);
  void Spread(Port& to, const FrameList& list);

  EventRing& events_;
  bool shared_;
  Deliverer deliverer_;
  std::unique_ptr<Wire> wire_;
  std::unique_ptr<SourceGuard> guard_;  // from the first frame that needs it on

  Chain chains_[kBatchFramesMax];
  Frame frames_[kBatchFramesMax];
  uint64_t turn_work_ = kTurnWork;
  uint64_t batch_work_ = kBatchWork;
  // Of the frames parsed last: their bytes, and what else they cost each receiver.
  uint64_t parsed_bytes_ = 0;
  uint64_t parsed_work_ = 0;
  bool over_work_ = false;  // the frame parsed last is one too many
  // Chains of the batch that are no frames, in order.
  struct MalformedChain {
    const Chain* chain;
    Counter reason;
  };
  MalformedChain malformed_[kBatchFramesMax];
  uint32_t malformed_count_ = 0;
  // Why frames of a port that is recorded were dropped; kFrames for the others, and between
  // batches.
  Counter fates_[kBatchFramesMax] = {};
  PieceStore sources_;
  std::unique_ptr<FrameList[]> posted_{new FrameList[kPortsMax]};
  uint16_t posted_ports_[kPortsMax];  // ports whose list is not empty
  uint32_t posted_count_ = 0;
};

}  // namespace tsvswitch
