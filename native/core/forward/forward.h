// One batch from one transmitq to wherever its frames go: the inner part of a worker's round.
//
// Stages, each a loop over the whole batch so that what one stage prefetches has time to land:
//   take     descriptors into private copies, checked and translated    (split_queue, packed_queue)
//   parse    virtio header and Ethernet addresses into private copies, offloads checked    (intake)
//   ingress  what policies do to frames of this port, if there are any              (policy/stages)
//   route    learn the source, look up the destination, list the frame for its port         (route)
//   deliver  per destination: egress stages, claim buffers, copy, publish and call once (dispatch,
//            deliver)
//   return   give the transmit buffers back, publish once, call once
//
// What a batch costs is counted (frame/work.h), and bounded: chains that would cost too much are
// put back before anything of them is judged or counted, and a frame whose flood alone costs too
// much is a batch of its own that goes to some receivers in each turn and back to its ring in
// between. One frame, or one receiver of one, always makes progress.
//
// A flood that is interrupted leaves nothing behind but a number in its queue: the frame goes back
// to the ring and is taken anew in the next turn. So a queue can be stopped, moved to another
// worker and asked for its base at any time, and no memory is made for what its guest does. A guest
// that changes the frame meanwhile changes what it sends to the rest; it is checked each time.
//
// What links of a port hold back goes on behind them in Release, when it is due.
//
// Does not: choose which queues are polled, sleep, or read clocks (worker.cc).
// Thread: the worker that owns the Forwarder.

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "core/forward/dispatch.h"
#include "core/forward/intake.h"
#include "core/frame/batch.h"
#include "core/frame/work.h"
#include "core/policy/wire.h"
#include "core/port/events.h"
#include "core/port/port.h"

namespace tsvswitch {

class Forwarder {
 public:
  // `shared`: other workers may fill the same receiveqs. `fragment_id`: as Segmenter's.
  Forwarder(EventRing& events, bool shared, uint32_t fragment_id)
      : events_(events), dispatcher_(events, shared, fragment_id) {}

  PairCounters& pairs() { return dispatcher_.pairs(); }

  // From now on others may. Between two rounds.
  void Share() { dispatcher_.Share(); }

  // Moves at most one batch; returns how many frames were taken, or 1 if a part of one was moved.
  uint32_t Run(Queue& transmitq, uint32_t now_s);

  // In front of all queues of a worker.
  void BeginRound() { dispatcher_.deliverer().BeginRound(); }
  // What each port may use up in a round.
  void SetTurnWork(uint64_t work) {
    intake_.work_max = std::min(work, kBatchWork);
    turn_work_ = work;
  }
  // In front of the queues of a port.
  void BeginTurn() { dispatcher_.deliverer().work = 0; }
  // Whether the port has used up what it may in this round.
  bool turn_is_over() const { return work() >= turn_work_; }
  uint64_t work() const { return dispatcher_.deliverer().work; }

  // Floods a frame as if the guest behind `from` had sent it; `frame` is ours and at least 14
  // bytes.
  void Inject(Port& from, uint8_t* frame, uint32_t bytes, uint32_t now_s);

  // Needed as soon as a port of any bridge has an impaired link; nullptr until then.
  void SetWire(std::unique_ptr<Wire> wire) {
    wire_ = std::move(wire);
    dispatcher_.context().wire = wire_.get();
  }
  Wire* wire() { return wire_.get(); }
  // Lets some of the frames go on that are due; returns how many. 0 if none is.
  uint32_t Release(uint32_t now_s);

 private:
  uint32_t Forward(Queue& transmitq, uint32_t taken, uint32_t now_s);
  uint32_t GoOnFlooding(Queue& transmitq);
  // What a batch may cost.
  uint64_t batch_work() const { return intake_.work_max; }
  // Behind route: counts and records what became of the frames at the port they came from.
  [[gnu::noinline]] void SettleTaken(Queue& from);
  uint32_t ReleaseBatch(HeldFrame* batch, uint32_t count, uint32_t now_s);
  uint32_t ReleaseFromGuest(HeldFrame* batch, uint32_t now_s);

  EventRing& events_;
  Intake intake_;
  Batch batch_;
  Dispatcher dispatcher_;
  std::unique_ptr<Wire> wire_;
  PieceStore held_pieces_;  // of frames that are released
  uint64_t turn_work_ = kTurnWork;
};

}  // namespace tsvswitch
