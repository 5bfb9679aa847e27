// One batch from one transmitq to wherever its frames go: the inner part of a worker's round.
//
// Stages, each a loop over the whole batch so that what one stage prefetches has time to land:
//   take     descriptors into private copies, checked and translated       (split_queue, packed_queue)
//   parse    virtio header and Ethernet addresses into private copies, offloads checked
//   guard    ports that are bound to sources: what comes from others ends here   (source_guard)
//   route    learn the source, look up the destination, put the frame on the list of its port
//   deliver  per destination: claim buffers, copy, publish once, call once                (deliver)
//   return   give the transmit buffers back, publish once, call once
//
// A port whose links are impaired (port.h) has them passed before route and before deliver (wire.h). What
// they hold back goes on from there in Release, when it is due.
//
// Does not: choose which queues are polled, sleep, or read clocks (worker.cc).
// Thread: the worker that owns the Forwarder.

#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "chain.h"
#include "deliver.h"
#include "events.h"
#include "frame.h"
#include "port.h"
#include "source_guard.h"
#include "wire.h"

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

  // Moves at most one batch; returns how many frames were taken.
  uint32_t Run(Queue& transmitq, uint32_t now_s);

  // Floods a frame as if the guest behind `from` had sent it; `frame` is ours and at least 14 bytes.
  void Inject(Port& from, uint8_t* frame, uint32_t bytes, uint32_t now_s);

  // Needed as soon as a port of any bridge has an impaired link; nullptr until then.
  void SetWire(std::unique_ptr<Wire> wire) { wire_ = std::move(wire); }
  Wire* wire() { return wire_.get(); }
  // Lets some of the frames go on that are due; returns how many. 0 if none is.
  uint32_t Release(uint32_t now_s);

 private:
  uint32_t Parse(Queue& from, uint32_t taken);
  // Gives the batch to the captures of its port.
  void RecordTaken(const Port& from, uint32_t frames);
  bool ParseChain(Queue& from, const Chain& chain, uint32_t header_bytes, Frame& frame);
  void Route(Queue& from, uint32_t frames, uint32_t now_s);
  void Drop(Queue& from, uint32_t frame, Counter reason);
  // `now` is the second with the FDB's revision, as in Queue::known_at.
  void Learn(Queue& from, uint64_t source, uint32_t now_s, uint64_t now);
  void Flood(Queue& from, uint32_t frame);
  void Post(uint16_t port, uint32_t frame);
  void DeliverPosted(Queue& from);
  void DeliverTo(Port& to, const FrameList& list);
  uint32_t Guard(Queue& from, uint32_t frames);
  uint32_t PassFromGuest(Queue& from, uint32_t frames);
  void PassToPort(Queue& from_queue, Port& to, FrameList* list);
  void PassToGuest(Queue* from, Port& to, FrameList* list);
  std::unique_lock<Spinlock> LockLinks(Port& port);
  void ReleaseBatch(const HeldFrame* batch, uint32_t count, uint32_t now_s);
  void Spread(Port& to, const FrameList& list);

  EventRing& events_;
  bool shared_;
  Deliverer deliverer_;
  std::unique_ptr<Wire> wire_;
  std::unique_ptr<SourceGuard> guard_;  // from the first frame that needs it on

  Chain chains_[kBatchFramesMax];
  Frame frames_[kBatchFramesMax];
  // Why frames of a port that is recorded were dropped; kFrames for the others, and between batches.
  Counter fates_[kBatchFramesMax] = {};
  PieceStore sources_;
  std::unique_ptr<FrameList[]> posted_{new FrameList[kPortsMax]};
  uint16_t posted_ports_[kPortsMax];  // ports whose list is not empty
  uint32_t posted_count_ = 0;
};

}  // namespace tsvswitch
