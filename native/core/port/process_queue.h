// A queue whose driver is this process: frames in a ring of bytes between control and a worker.
//
// To forwarding it is a virtqueue like any other, so that a port without a machine needs nothing
// else: its transmitq is filled by control (Send) and emptied by rounds, its receiveq the other way
// round (Receive). There is no guest to distrust; what control may not do is asserted.
//
// Every frame has a virtio header in front, of 12 bytes as VIRTIO_F_VERSION_1 has it.
//
// Before a side sleeps, it sets its flag (kick_wanted_ the worker, call_wanted_ control) and looks
// once more; the side that moved frames looks at the flag afterwards. All four accesses are
// sequentially consistent, so one of the two sees the other.
//
// Thread: one writer and one reader; one of them is the worker, the other is control.

#pragma once

#include <atomic>
#include <cstdint>

#include "core/port/frame_ring.h"
#include "core/ring/virtqueue.h"

namespace tsvswitch {

// What the two directions share; each has the verbs of one direction only (virtqueue.h).
class ProcessQueue : public Virtqueue {
 public:
  ProcessQueue() { Negotiate(VIRTIO_F_VERSION_1); }

  // Control: one call is wanted as soon as the worker has moved something. Look again afterwards.
  void RequestCall() { call_wanted_.store(true, std::memory_order_seq_cst); }
  bool CallWanted() override { return call_wanted_.exchange(false, std::memory_order_seq_cst); }

  // There is nothing to translate, to start or to go on from.
  Layout LayoutOf(uint32_t) const override { return {0, 0, 0, 1}; }
  bool Accepts(uint32_t, uint32_t) const override { return true; }
  void Start(const Rings&, uint32_t, uint32_t, uint64_t) override {}
  void Move(const Rings&) override {}
  uint32_t base() const override { return 0; }

  uint32_t Take(const GuestMemory&, uint32_t, Chain*, PieceStore&, BreakReason*) override {
    return 0;
  }
  void PutBack(const Chain*, uint32_t) override {}
  void Return(const Chain*, uint32_t) override {}
  uint32_t Claim(const GuestMemory&, const uint32_t*, uint32_t, Landing*, PieceStore&,
                 BreakReason*) override {
    return 0;
  }
  void Publish() override {}
  void EnableKicks() override {}
  void DisableKicks() override {}

 protected:
  static constexpr uint32_t kRingBytes = 1 << 20;
  FrameRing ring_{kRingBytes};

 private:
  std::atomic<bool> call_wanted_{false};
};

class ProcessTransmitq : public ProcessQueue {
 public:
  // Control: puts a frame in; false if there is no room. Publish what was put in with
  // PublishSent(), which returns whether the worker must be kicked.
  bool Send(const uint8_t* frame, uint32_t bytes);
  bool PublishSent();
  bool Drained() const { return ring_.Drained(); }

  uint32_t Offered(uint32_t, BreakReason*) override { return ring_.NextBytes() != 0 ? 1 : 0; }
  uint32_t Take(const GuestMemory& memory, uint32_t max, Chain* chains, PieceStore& pieces,
                BreakReason* broken) override;
  void PutBack(const Chain*, uint32_t count) override {
    ring_.TakeAgainFrom(places_[taken_ - count]);
    taken_ -= count;
  }
  void Return(const Chain*, uint32_t) override { ring_.Release(); }
  void EnableKicks() override { kick_wanted_.store(true, std::memory_order_seq_cst); }
  void DisableKicks() override { kick_wanted_.store(false, std::memory_order_seq_cst); }

 private:
  std::atomic<bool> kick_wanted_{true};  // the worker may sleep when the queue is made
  // Of the last Take: how many frames, and where each lies.
  uint32_t taken_ = 0;
  uint64_t places_[kBatchFramesMax] = {};
};

class ProcessReceiveq : public ProcessQueue {
 public:
  // Control: the length of the next frame, 0 if there is none; and that frame, which stays until
  // Release().
  uint32_t NextBytes();
  const uint8_t* Next();
  void Release() { ring_.Release(); }

  // In units of the smallest frame, so that a waiting worker sees every release.
  uint32_t Offered(uint32_t, BreakReason*) override { return ring_.RoomFrames(kFrameBytesMin); }
  uint32_t Claim(const GuestMemory& memory, const uint32_t* bytes, uint32_t count,
                 Landing* landings, PieceStore& pieces, BreakReason* broken) override;
  void Publish() override { ring_.Publish(); }
};

}  // namespace tsvswitch
