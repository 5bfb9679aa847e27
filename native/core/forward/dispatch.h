// From the bridge to the ports: the frames of a batch, listed by the port they go to, and each list
// on its way there.
//
// A list meets the egress stages of its port (policy/stages.h) and is then delivered. What a stage
// held goes on behind it, in GoOn. A port without stages gets its list at once. One with several
// receiveqs gets the frames of each flow on one of them.
//
// The order of frames within a flow is the order of its transmitq: lists keep it, and all frames of
// a flow take the same way.
//
// Thread: the worker that owns it.

#pragma once

#include <cstdint>
#include <memory>

#include "core/forward/deliver.h"
#include "core/frame/batch.h"
#include "core/policy/stages.h"
#include "core/port/pair_counters.h"
#include "core/port/port.h"

namespace tsvswitch {

class Dispatcher {
 public:
  // `fragment_id`: as Segmenter's.
  Dispatcher(EventRing& events, bool shared, uint32_t fragment_id)
      : deliverer_(events, shared, fragment_id),
        context_{events, shared, deliverer_.work, nullptr} {}

  // What stages on this worker work with.
  StageContext& context() { return context_; }
  Deliverer& deliverer() { return deliverer_; }
  const Deliverer& deliverer() const { return deliverer_; }
  void Share() {
    context_.shared = true;
    deliverer_.Share();
  }

  PairCounters& pairs() { return pairs_; }

  // Says of a frame that is about to be posted that it is flooded.
  void NoteFlooded(uint32_t frame) { flooded_ |= uint64_t{1} << frame; }
  // Lists a frame for a port of the bridge that it came from.
  void Post(uint16_t port, uint32_t frame) {
    FrameList& list = posted_[port];
    if (list.count == 0) posted_ports_[posted_count_++] = port;
    list.Append(frame);
  }
  // Delivers all that was posted.
  void DeliverPosted(Queue& from, const Batch& batch);
  // The same with a frame that is alone in its batch, to one receiver at least, and to others until
  // they have cost `work_max`. Returns the first port that has not got it, or 0 if all have.
  uint16_t DeliverSome(Queue& from, const Batch& batch, uint64_t work_max);
  // All of the batch was held by an egress stage of `to`, and goes on behind it.
  void GoOn(const Batch& batch, Queue* from, Port& to, uint32_t stage);

 private:
  // Counts for the pair what was delivered since the last call.
  [[gnu::noinline]] void CountPair(const Port& from, const Port& to, const Batch& batch,
                                   const FrameList& list);
  [[gnu::cold, gnu::noinline]] void CountFirst(const Port& from, const Port& to, const Batch& batch,
                                               const FrameList& list, uint64_t frames,
                                               uint64_t bytes);
  void Dispatch(Queue& from, Port& to, const Batch& batch, const FrameList& list);
  [[gnu::noinline]] void RunStagesAndDeliver(uint32_t stages, const Batch& batch,
                                             Delivery& delivery);
  void Give(Port& to, const Frame* frames, const FrameList& list, Fate* fates);
  void Spread(Port& to, const Frame* frames, const FrameList& list, Fate* fates);

  Deliverer deliverer_;
  StageContext context_;
  std::unique_ptr<FrameList[]> posted_{new FrameList[kPortsMax]};
  uint16_t posted_ports_[kPortsMax];  // ports whose list is not empty
  uint32_t posted_count_ = 0;
  uint64_t flooded_ = 0;  // of the frames that are posted, a bit each
  static_assert(kBatchFramesMax <= 64);
  PairCounters pairs_;
};

}  // namespace tsvswitch
