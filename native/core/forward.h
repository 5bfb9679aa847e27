// One batch from one transmitq to wherever its frames go: the inner part of a worker's round.
//
// Stages, each a loop over the whole batch so that what one stage prefetches has time to land:
//   take     descriptors into private copies, checked and translated       (split_queue.cc)
//   parse    virtio header and Ethernet addresses into private copies
//   route    learn the source, look up the destination, put the frame into outboxes
//   deliver  per destination: claim buffers, copy, publish once, call once
//   return   give the transmit buffers back, publish once, call once
// A frame is copied exactly once, from the sender's buffer into the receiver's.
//
// A receiver without buffers makes the worker wait a bounded moment once; until it takes frames again
// it gets only what it has room for at once. What does not fit is dropped and counted at the receiver.
//
// Does not: choose which queues are polled, sleep, or read clocks (worker.cc).
// Thread: the worker that owns the Forwarder.

#pragma once

#include <cstdint>
#include <memory>

#include "chain.h"
#include "events.h"
#include "port.h"

namespace tsvswitch {

class Forwarder {
 public:
  // `shared`: other workers may fill the same receiveqs.
  Forwarder(EventRing& events, bool shared) : events_(events), shared_(shared) {}

  // Moves at most one batch; returns how many frames were taken.
  uint32_t Run(Queue& transmitq, uint32_t now_s);

  // Floods a frame as if the guest behind `from` had sent it; `frame` is ours and at least 14 bytes.
  void Inject(Port& from, uint8_t* frame, uint32_t bytes, uint32_t now_s);

 private:
  struct Frame {
    uint64_t destination;  // 48-bit numbers, first byte on the wire highest
    uint64_t source;
    uint32_t bytes;  // without the virtio header
    uint32_t first_piece;
    uint32_t piece_count;
  };
  // The frames for one port, in the order they were taken.
  struct Outbox {
    uint32_t count = 0;
    uint8_t frame[kBatchFramesMax];
  };

  uint32_t Parse(Queue& from, uint32_t taken);
  void Gather(const Chain& chain, uint32_t header_bytes, Frame& frame, uint8_t* gathered);
  void Route(Queue& from, uint32_t frames, uint32_t now_s);
  // `now` is the second with the FDB's revision, as in Queue::known_at.
  void Learn(Queue& from, uint64_t source, uint32_t now_s, uint64_t now);
  void Flood(Queue& from, uint32_t frame);
  void Post(uint16_t port, uint32_t frame);
  void DeliverPosted(const Bridge& bridge);
  void Deliver(Port& to);
  void Spread(Port& to, const Outbox& outbox);
  uint32_t HashOf(const Frame& frame) const;
  void DeliverTo(Queue& queue, const Outbox& outbox);
  uint32_t Fill(Queue& to, const Outbox& outbox);
  bool WaitForBuffer(Queue& to);
  void CopyFrame(const Frame& frame, const Landing& landing, uint32_t header_bytes);
  void CopyScattered(const Frame& frame, const Landing& landing, const VirtioNetHdr& header,
                     uint32_t header_bytes);
  void LogLandings(const Port& to, uint32_t claimed, const uint32_t* bytes);
  void LogUsed(const Queue& queue);
  void Call(Queue& queue);
  void Break(Queue& queue, BreakReason reason);
  void HandleLostMemory(Port& port);

  EventRing& events_;
  const bool shared_;

  Chain chains_[kBatchFramesMax];
  Frame frames_[kBatchFramesMax];
  PieceStore sources_;
  PieceStore landing_pieces_;
  Landing landings_[kBatchFramesMax];
  uint32_t landing_bytes_[kBatchFramesMax];
  std::unique_ptr<Outbox[]> outboxes_{new Outbox[kPortsMax]};
  uint16_t posted_[kPortsMax];  // ports whose outbox is not empty
  uint32_t posted_count_ = 0;
  Outbox spread_;  // the part of an outbox that goes to one of several receiveqs
};

}  // namespace tsvswitch
