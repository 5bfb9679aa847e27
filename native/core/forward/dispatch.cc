// See dispatch.h.

#include "core/forward/dispatch.h"

#include <utility>

#include "core/frame/flow_hash.h"
#include "core/port/notify.h"

namespace tsvswitch {

namespace {

// Of an address that is a group's (IEEE 802).
constexpr uint64_t kGroupBit = uint64_t{1} << 40;

}  // namespace

void Dispatcher::DeliverPosted(Queue& from, const Batch& batch) {
  for (uint32_t i = 0; i < posted_count_; ++i) {
    Port& to = *from.port->bridge->members[posted_ports_[i]];
    FrameList& list = posted_[to.number];
    Dispatch(from, to, batch, list);
    CountPair(*from.port, to, batch, list);
    list.count = 0;
  }
  posted_count_ = 0;
  flooded_ = 0;
}

uint16_t Dispatcher::DeliverSome(Queue& from, const Batch& batch, uint64_t work_max) {
  const uint64_t end = deliverer_.work + work_max;
  uint32_t delivered = 0;
  for (; delivered < posted_count_; ++delivered) {
    if (delivered != 0 && deliverer_.work >= end) [[unlikely]]
      break;
    Port& to = *from.port->bridge->members[posted_ports_[delivered]];
    Dispatch(from, to, batch, posted_[to.number]);
    CountPair(*from.port, to, batch, posted_[to.number]);
    posted_[to.number].count = 0;
  }
  const uint16_t next = delivered == posted_count_ ? uint16_t{0} : posted_ports_[delivered];
  for (; delivered < posted_count_; ++delivered) posted_[posted_ports_[delivered]].count = 0;
  posted_count_ = 0;
  flooded_ = 0;
  return next;
}

void Dispatcher::CountPair(const Port& from, const Port& to, const Batch& batch,
                           const FrameList& list) {
  const uint64_t frames = std::exchange(deliverer_.delivered_frames, 0);
  const uint64_t bytes = std::exchange(deliverer_.delivered_bytes, 0);
  if (frames == 0) return;
  if (pairs_.Add(from.number, to.number, frames, bytes)) [[likely]]
    return;
  CountFirst(from, to, batch, list, frames, bytes);
}

void Dispatcher::CountFirst(const Port& from, const Port& to, const Batch& batch,
                            const FrameList& list, uint64_t frames, uint64_t bytes) {
  bool meant = false;
  for (uint32_t i = 0; i < list.count; ++i) {
    const uint8_t frame = list.frame[i];
    // What was held knows not that it was flooded, but may still say so itself.
    const bool to_group = (batch.frames[frame].destination & kGroupBit) != 0;
    meant |= (flooded_ >> frame & 1) == 0 && !to_group;
  }
  pairs_.AddFirst(from.number, to.number, frames, bytes, meant);
}

inline void Dispatcher::Dispatch(Queue& from, Port& to, const Batch& batch, const FrameList& list) {
  if (to.egress != 0) [[unlikely]] {
    Delivery delivery = {.from = &from,
                         .held = false,
                         .to = to,
                         .frames = batch.frames,
                         .all = list,
                         .list = list,
                         .outcomes = {}};
    RunStagesAndDeliver(to.egress, batch, delivery);
  } else {
    Give(to, batch.frames, list, nullptr);
  }
  GiveUpIfLost(to, context_.events);
}

void Dispatcher::GoOn(const Batch& batch, Queue* from, Port& to, uint32_t stage) {
  const FrameList list = batch.UnderWay();
  Delivery delivery = {.from = from,
                       .held = true,
                       .to = to,
                       .frames = batch.frames,
                       .all = list,
                       .list = list,
                       .outcomes = {}};
  RunStagesAndDeliver(to.egress & Behind(stage), batch, delivery);
  if (from != nullptr) {
    CountPair(*from->port, to, batch, list);
  } else {
    // Its port is gone.
    deliverer_.delivered_frames = deliverer_.delivered_bytes = 0;
  }
  GiveUpIfLost(to, context_.events);
}

void Dispatcher::RunStagesAndDeliver(uint32_t stages, const Batch& batch, Delivery& delivery) {
  const FrameList& all = delivery.all;
  Outcomes& outcomes = delivery.outcomes;
  if (batch.outcomes.touched) {
    for (uint32_t i = 0; i < all.count; ++i) {
      outcomes.Mark(all.frame[i], batch.outcomes.marks[all.frame[i]]);
    }
  }
  RunStages(stages & ~kBehindDelivery, context_, delivery);
  if (outcomes.touched) CountDrops(*delivery.to.fates, outcomes, all);
  if (delivery.list.count != 0) {
    Fate* const fates = (stages & kBehindDelivery) != 0 ? outcomes.fate : nullptr;
    Give(delivery.to, delivery.frames, delivery.list, fates);
  }
  RunStages(stages & kBehindDelivery, context_, delivery);
}

inline void Dispatcher::Give(Port& to, const Frame* frames, const FrameList& list, Fate* fates) {
  if (to.receivers.size() > 1) {
    Spread(to, frames, list, fates);
  } else {
    // Without a receiver there is one that is not ready.
    deliverer_.Deliver(to.receivers.empty() ? to.queues[0] : *to.receivers[0], frames, list, fates);
  }
}

// Sends each frame to the receiveq of its flow: each queue once, every flow in order.
void Dispatcher::Spread(Port& to, const Frame* frames, const FrameList& list, Fate* fates) {
  constexpr uint8_t kDelivered = 0xff;
  static_assert(kQueuePairsMax < kDelivered);
  uint8_t chosen[kBatchFramesMax];
  for (uint32_t i = 0; i < list.count; ++i) {
    uint8_t start[kFlowBytesMax];
    const uint32_t bytes = Gather(frames[list.frame[i]].body, start, kFlowBytesMax);
    chosen[i] = static_cast<uint8_t>(FlowHash(start, bytes) * uint64_t{to.receivers.size()} >> 32);
  }
  for (uint32_t first = 0; first < list.count; ++first) {
    const uint8_t queue = chosen[first];
    if (queue == kDelivered) continue;
    FrameList part;
    for (uint32_t i = first; i < list.count; ++i) {
      if (chosen[i] != queue) continue;
      part.Append(list.frame[i]);
      chosen[i] = kDelivered;
    }
    deliverer_.Deliver(*to.receivers[queue], frames, part, fates);
  }
}

}  // namespace tsvswitch
