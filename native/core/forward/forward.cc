// See forward.h.

#include "core/forward/forward.h"

#include "core/forward/route.h"
#include "core/policy/stages.h"
#include "core/port/notify.h"

namespace tsvswitch {

namespace {

// Held frames must not keep a worker from its transmitqs: a batch of each of some queues, and no
// large ones, since such a frame costs several times what another one does.
constexpr uint32_t kReleasedPerRoundMax = 4 * kBatchFramesMax;
constexpr uint32_t kReleaseBatchFrames = kBatchFramesMax / 4;

}  // namespace

// The inner part of Run; returns how many of the chains are done with.
[[gnu::always_inline]] inline uint32_t Forwarder::Forward(Queue& transmitq, uint32_t taken,
                                                          uint32_t now_s) {
  transmitq.batch_frames = kBatchFramesMax;
  batch_.Begin();
  taken = intake_.Parse(transmitq, taken, batch_);
  if (transmitq.flooded_to != 0) [[unlikely]]
    return GoOnFlooding(transmitq);
  Port& port = *transmitq.port;
  bool alone = false;
  if (MayBeWide(*port.bridge, batch_, intake_.bytes, intake_.work, batch_work())) [[unlikely]] {
    const uint32_t cut = CutFlood(port, batch_, now_s, batch_work());
    alone = cut == 0;
    if (cut != batch_.count) taken = intake_.CutTo(alone ? 1 : cut, batch_);
  }
  // Here, since nothing of it is put back any more.
  transmitq.counters->Add(kFrames, batch_.count);
  transmitq.counters->Add(kBytes, intake_.bytes);
  if (intake_.any_malformed()) [[unlikely]]
    intake_.CountMalformed(transmitq);
  if (port.ingress != 0) [[unlikely]]
    RunStages(port.ingress & ~kBehindRoute, dispatcher_.context(), transmitq, batch_);
  Route(transmitq, batch_, dispatcher_, now_s);
  if (port.ingress != 0 || batch_.outcomes.touched) [[unlikely]]
    SettleTaken(transmitq);
  if (!alone) [[likely]] {
    dispatcher_.DeliverPosted(transmitq, batch_);
    return taken;
  }
  transmitq.flooded_to = dispatcher_.DeliverSome(transmitq, batch_, batch_work());
  if (transmitq.flooded_to == 0) return taken;
  transmitq.batch_frames = 1;
  return taken - 1;
}

uint32_t Forwarder::Run(Queue& transmitq, uint32_t now_s) {
  BreakReason broken = BreakReason::kNone;
  const uint32_t taken = intake_.Take(transmitq, &broken);
  uint32_t done = taken;
  if (taken != 0) {
    dispatcher_.deliverer().work +=
        kQueueWork + taken * kFrameWork + transmitq.source->walked() * kDescriptorWork;
    if (transmitq.enabled) [[likely]] {
      done = Forward(transmitq, taken, now_s);
    } else {
      transmitq.flooded_to = 0;
      transmitq.batch_frames = kBatchFramesMax;
      transmitq.port->fates->Add(Fate::kDisabled, taken);
    }
    if (done != taken) [[unlikely]] {
      transmitq.source->PutBack(intake_.chains + done, taken - done);
      // Faults behind them are found again in the next batch.
      broken = BreakReason::kNone;
    }
    if (done != 0) [[likely]] {
      transmitq.source->Return(intake_.chains, done);
      NotifyDriver(transmitq);
    }
  }
  // First: rings that read as zeros would otherwise be blamed on the guest.
  GiveUpIfLost(*transmitq.port, events_);
  if (broken != BreakReason::kNone) Break(transmitq, broken, events_);
  return std::max(done, std::min(taken, 1u));
}

void Forwarder::SettleTaken(Queue& from) {
  if (batch_.outcomes.touched) CountDrops(*from.port->fates, batch_.outcomes, batch_.All());
  RunStages(from.port->ingress & kBehindRoute, dispatcher_.context(), from, batch_);
}

// The frame at the head of a queue whose flood was interrupted: to those who do not have it yet.
uint32_t Forwarder::GoOnFlooding(Queue& transmitq) {
  const uint16_t first = std::exchange(transmitq.flooded_to, uint16_t{0});
  // It was counted when its flood began, whatever its guest has made of it since.
  if (intake_.first_is_malformed()) return 1;
  batch_.count = 1;
  const Port& port = *transmitq.port;
  if ((port.ingress & kJudgeContent) != 0) {
    RunStages(port.ingress & kJudgeContent, dispatcher_.context(), transmitq, batch_);
    if (!batch_.outcomes.IsUnderWay(0)) {
      SettleTaken(transmitq);
      return 1;
    }
  }
  if (!CanBeSource(batch_.frames[0].source)) return 1;
  PostToHearers(port, 0, Bridge::KindOf(batch_.frames[0].destination), first, dispatcher_);
  transmitq.flooded_to = dispatcher_.DeliverSome(transmitq, batch_, batch_work());
  if (transmitq.flooded_to == 0) return 1;
  transmitq.batch_frames = 1;
  return 0;
}

void Forwarder::Inject(Port& from, uint8_t* frame, uint32_t bytes, uint32_t now_s) {
  Queue& transmitq = from.queues[1];
  batch_.Begin();
  intake_.Put(frame, bytes, batch_);
  RunStages(from.ingress & kJudgeContent, dispatcher_.context(), transmitq, batch_);
  if (batch_.outcomes.IsUnderWay(0)) RouteToAll(transmitq, batch_, dispatcher_, now_s);
  SettleTaken(transmitq);
  dispatcher_.DeliverPosted(transmitq, batch_);
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
  held_pieces_.Clear();
  batch_.Begin();
  batch_.count = count;
  for (uint32_t i = 0; i < count; ++i) {
    const Slice body = wire_->held().Body(batch[i], held_pieces_);
    batch_.frames[i] = {.destination = LoadMac(body.piece->data),
                        .source = LoadMac(body.piece->data + 6),
                        .body = body,
                        .offload = {}};
    batch_.outcomes.Mark(i, batch[i].marks);
  }
  const Hop& hop = batch[0].hop;
  if (!hop.IsSwitched()) return ReleaseFromGuest(batch, now_s);
  dispatcher_.GoOn(batch_, hop.from, *hop.to, hop.stage);
  return count;
}

// Floods are bounded as those of Forward are. What they have reached is noted in the held frame.
uint32_t Forwarder::ReleaseFromGuest(HeldFrame* batch, uint32_t now_s) {
  const Hop& hop = batch[0].hop;
  Queue& from = *hop.from;
  uint16_t& flooded_to = batch[0].flooded_to;
  if (flooded_to != 0) {
    const Destination::Kind kind = Bridge::KindOf(batch_.frames[0].destination);
    PostToHearers(*from.port, 0, kind, flooded_to, dispatcher_);
    flooded_to = dispatcher_.DeliverSome(from, batch_, batch_work());
    return flooded_to == 0 ? 1 : 0;
  }
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < batch_.count; ++i) bytes += batch_.frames[i].body.bytes;
  bool alone = false;
  if (MayBeWide(*from.port->bridge, batch_, bytes, 0, batch_work())) {
    const uint32_t cut = CutFlood(*from.port, batch_, now_s, batch_work());
    alone = cut == 0;
    batch_.count = alone ? 1 : cut;
  }
  const uint32_t left = from.port->ingress & Behind(hop.stage) & ~kBehindRoute;
  RunStages(left, dispatcher_.context(), from, batch_);
  Route(from, batch_, dispatcher_, now_s);
  SettleTaken(from);
  if (!alone) {
    dispatcher_.DeliverPosted(from, batch_);
    return batch_.count;
  }
  flooded_to = dispatcher_.DeliverSome(from, batch_, batch_work());
  return flooded_to == 0 ? 1 : 0;
}

}  // namespace tsvswitch
