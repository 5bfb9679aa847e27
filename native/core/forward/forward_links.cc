// See forward.h: passes batches over impaired links, and forwards held frames that are due.

#include "core/forward/forward.h"

#include "core/policy/capture.h"
#include "core/policy/impairment.h"

namespace tsvswitch {

namespace {

// A batch of each of some queues: held frames must not keep a worker from its transmitqs.
constexpr uint32_t kReleasedPerRoundMax = 4 * kBatchFramesMax;
// A frame that is judged, held and released costs up to eight times what another one does: so many
// of them at a time, and transmitqs without impaired links are visited as often as if there were
// none.
constexpr uint32_t kLinkBatchFrames = kBatchFramesMax / 8;
constexpr uint32_t kReleaseBatchFrames = kBatchFramesMax / 4;

}  // namespace

// With several workers, frames of one link are judged one after the other.
std::unique_lock<Spinlock> Forwarder::LockLinks(Port& port) {
  std::unique_lock<Spinlock> lock(port.queues[0].lock, std::defer_lock);
  if (shared_) lock.lock();
  return lock;
}

// Returns how many frames of the batch are left, in frames_.
uint32_t Forwarder::PassFromGuest(Queue& from, uint32_t frames) {
  Link* const link = from.port->impairment->from_guest.get();
  if (link == nullptr) return frames;
  from.batch_frames = kLinkBatchFrames;
  FrameList list;
  for (uint32_t i = 0; i < frames; ++i) list.frame[list.count++] = static_cast<uint8_t>(i);
  deliverer_.work += ListWork(list);
  {
    const auto lock = LockLinks(*from.port);
    const Hop hop = {.stage = Hop::Stage::kFromGuest, .from = &from, .to = nullptr};
    wire_->Enter(*link, frames_, &list, hop, *from.counters);
  }
  uint32_t i = 0;
  // Those in front of the first that stays behind.
  while (i < list.count && list.frame[i] == i) ++i;
  for (; i < list.count; ++i) frames_[i] = frames_[list.frame[i]];
  return list.count;
}

// Leaves in *list the frames that go on to `to` at once.
void Forwarder::PassToPort(Queue& from_queue, Port& to, FrameList* list) {
  const Port& from = *from_queue.port;
  from_queue.batch_frames = kLinkBatchFrames;
  const auto lock = LockLinks(to);
  const Impairment& impairment = *to.impairment;
  QueueCounters& counters = *to.queues[0].counters;
  const uint16_t side = from.impairment == nullptr ? 0 : from.impairment->side;
  if (side != 0 && impairment.side != 0 && side != impairment.side) {
    counters.Add(kDropsPartitioned, list->count);
    for (uint32_t i = 0; i < list->count; ++i) {
      const Frame& frame = frames_[list->frame[i]];
      AddTo(to.captures, frame.body, to.number, Capture::Direction::kToGuest,
            frame.verdict | CounterBit(kDropsPartitioned));
    }
    list->count = 0;
    return;
  }
  const auto between = impairment.from_port.find(from.number);
  if (between != impairment.from_port.end()) {
    deliverer_.work += ListWork(*list);
    const Hop hop = {.stage = Hop::Stage::kBetween, .from = &from_queue, .to = &to};
    wire_->Enter(*between->second, frames_, list, hop, counters);
  }
  PassToGuest(&from_queue, to, list);
}

// Under the lock of the links of `to`.
void Forwarder::PassToGuest(Queue* from, Port& to, FrameList* list) {
  if (to.impairment == nullptr || to.impairment->to_guest == nullptr) return;
  deliverer_.work += ListWork(*list);
  const Hop hop = {.stage = Hop::Stage::kToGuest, .from = from, .to = &to};
  wire_->Enter(*to.impairment->to_guest, frames_, list, hop, *to.queues[0].counters);
}

uint32_t Forwarder::Release(uint32_t now_s) {
  if (wire_->held().count() == 0) return 0;
  HeldFrame batch[kReleaseBatchFrames];
  uint32_t released = 0;
  BeginTurn();
  while (released < kReleasedPerRoundMax && !turn_is_over()) {
    const uint32_t count = wire_->TakeDue(batch, kReleaseBatchFrames);
    if (count == 0) break;
    const uint32_t done = ReleaseBatch(batch, count, now_s);
    for (uint32_t i = 0; i < done; ++i) wire_->held().Free(batch[i]);
    for (uint32_t i = done; i < count; ++i) wire_->PutBack(batch[i]);
    released += done;
    if (done == 0) return released + 1;  // a part of a frame
  }
  return released;
}

// Returns how many of the frames are done with.
uint32_t Forwarder::ReleaseBatch(HeldFrame* batch, uint32_t count, uint32_t now_s) {
  sources_.Clear();
  FrameList list;
  for (uint32_t i = 0; i < count; ++i) {
    const Slice body = wire_->held().Body(batch[i], sources_);
    frames_[i] = {.destination = LoadMac(body.piece->data),
                  .source = LoadMac(body.piece->data + 6),
                  .body = body,
                  .offload = {},
                  .verdict = batch[i].verdict};
    list.frame[list.count++] = static_cast<uint8_t>(i);
  }
  const Hop& hop = batch[0].hop;
  switch (hop.stage) {
    case Hop::Stage::kFromGuest: return ReleaseFromGuest(batch, count, now_s);
    case Hop::Stage::kBetween: {
      const auto lock = LockLinks(*hop.to);
      PassToGuest(hop.from, *hop.to, &list);
    }
      [[fallthrough]];
    case Hop::Stage::kToGuest: DeliverTo(*hop.to, list); break;
  }
  return count;
}

// Floods are bounded as those of Forward are. What they have reached is noted in the held frame.
uint32_t Forwarder::ReleaseFromGuest(HeldFrame* batch, uint32_t count, uint32_t now_s) {
  Queue& from = *batch[0].hop.from;
  uint16_t& flooded_to = batch[0].flooded_to;
  if (flooded_to != 0) {
    PostToMembers(*from.port, 0, flooded_to);
    flooded_to = DeliverSome(from);
    return flooded_to == 0 ? 1 : 0;
  }
  parsed_bytes_ = parsed_work_ = 0;
  for (uint32_t i = 0; i < count; ++i) parsed_bytes_ += frames_[i].body.bytes;
  bool alone = false;
  if (MayBeWide(from, count)) {
    const uint32_t cut = CutFlood(from, count, now_s);
    alone = cut == 0;
    count = alone ? 1 : cut;
  }
  Route(from, count, now_s);
  if (!from.port->captures.empty()) [[unlikely]]
    RecordTaken(*from.port, count);
  if (!alone) {
    DeliverPosted(from);
    return count;
  }
  flooded_to = DeliverSome(from);
  return flooded_to == 0 ? 1 : 0;
}

}  // namespace tsvswitch
