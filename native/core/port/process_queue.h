// A port of this process: frames in rings of bytes between control and a worker.
//
// To forwarding its two directions are a source and a sink like any other (endpoint.h): control
// fills the one (Send), which rounds empty, and empties the other (Receive). There is no guest to
// distrust; what control may not do is asserted.
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
#include "core/ring/endpoint.h"

namespace tsvswitch {

// What the two directions share. `End` is a FrameSource or a FrameSink.
template <class End>
class ProcessQueue : public End {
 public:
  ProcessQueue() { this->header_bytes_ = NetHeaderBytes(VIRTIO_F_VERSION_1); }

  // Control: one call is wanted as soon as the worker has moved something. Look again afterwards.
  void RequestCall() { call_wanted_.store(true, std::memory_order_seq_cst); }
  bool CallWanted() override { return call_wanted_.exchange(false, std::memory_order_seq_cst); }

 protected:
  static constexpr uint32_t kRingBytes = 1 << 20;
  FrameRing ring_{kRingBytes};

 private:
  std::atomic<bool> call_wanted_{false};
};

class ProcessTransmitq final : public ProcessQueue<FrameSource> {
 public:
  // Control: puts a frame in; false if there is no room. Publish what was put in with
  // PublishSent(), which returns whether the worker must be kicked.
  bool Send(const uint8_t* frame, uint32_t bytes);
  bool PublishSent();
  bool Drained() const { return ring_.Drained(); }

  uint32_t Offered(uint32_t, BreakReason*) override { return ring_.NextBytes() != 0 ? 1 : 0; }
  uint32_t Take(uint32_t max, Chain* chains, PieceStore& pieces, BreakReason* broken) override;
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

class ProcessReceiveq final : public ProcessQueue<FrameSink> {
 public:
  // Control: the length of the next frame, 0 if there is none; and that frame, which stays until
  // Release().
  uint32_t NextBytes();
  const uint8_t* Next();
  void Release() { ring_.Release(); }

  // In units of the smallest frame, so that a waiting worker sees every release.
  uint32_t Offered(uint32_t, BreakReason*) override { return ring_.RoomFrames(kFrameBytesMin); }
  uint32_t Claim(const uint32_t* bytes, uint32_t count, Landing* landings, PieceStore& pieces,
                 BreakReason* broken) override;
  void Publish() override { ring_.Publish(); }
};

struct ProcessQueues {
  ProcessReceiveq receiveq;
  ProcessTransmitq transmitq;
};

}  // namespace tsvswitch
