// See forward.h. The order of frames within a flow is the order of its transmitq: lists keep it,
// and all frames of a flow take the same way.

#include "core/forward/forward.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/frame/flow_hash.h"
#include "core/platform/checks.h"
#include "core/policy/capture.h"
#include "core/port/notify.h"

namespace tsvswitch {

namespace {

constexpr uint64_t kGroupBit = uint64_t{1} << 40;

}  // namespace

// The inner part of Run; returns how many of the chains are done with.
[[gnu::always_inline]] inline uint32_t Forwarder::Forward(Queue& transmitq, uint32_t taken,
                                                          uint32_t now_s) {
  transmitq.batch_frames = kBatchFramesMax;
  uint32_t frames = Parse(transmitq, &taken);
  if (transmitq.flooded_to != 0) [[unlikely]]
    return GoOnFlooding(transmitq);
  bool alone = false;
  if (MayBeWide(transmitq, frames)) [[unlikely]] {
    const uint32_t cut = CutFlood(transmitq, frames, now_s);
    alone = cut == 0;
    if (cut != frames) {
      frames = alone ? 1 : cut;
      CutParsed(frames, &taken);
    }
  }
  // Here, since nothing of it is put back any more.
  transmitq.counters->Add(kFrames, frames);
  transmitq.counters->Add(kBytes, parsed_bytes_);
  if (malformed_count_ != 0) [[unlikely]]
    CountMalformed(transmitq);
  if (transmitq.port->sources != nullptr) [[unlikely]]
    frames = Guard(transmitq, frames);
  if (transmitq.port->impairment != nullptr) [[unlikely]] {
    frames = PassFromGuest(transmitq, frames);
  }
  Route(transmitq, frames, now_s);
  if (!transmitq.port->captures.empty()) [[unlikely]]
    RecordTaken(*transmitq.port, frames);
  if (!alone) [[likely]] {
    DeliverPosted(transmitq);
    return taken;
  }
  transmitq.flooded_to = DeliverSome(transmitq);
  if (transmitq.flooded_to == 0) return taken;
  transmitq.batch_frames = 1;
  return taken - 1;
}

uint32_t Forwarder::Run(Queue& transmitq, uint32_t now_s) {
  BreakReason broken = BreakReason::kNone;
  sources_.Clear();
  const uint32_t taken = transmitq.ring->Take(*transmitq.port->memory, transmitq.batch_frames,
                                              chains_, sources_, &broken);
  uint32_t done = taken;
  if (taken != 0) {
    deliverer_.work += kQueueWork + taken * kFrameWork + transmitq.ring->walked() * kDescriptorWork;
    if (transmitq.enabled) [[likely]] {
      done = Forward(transmitq, taken, now_s);
    } else {
      transmitq.flooded_to = 0;
      transmitq.batch_frames = kBatchFramesMax;
      transmitq.counters->Add(kDropsDisabled, taken);
    }
    if (done != taken) [[unlikely]] {
      transmitq.ring->PutBack(chains_ + done, taken - done);
      // Faults behind them are found again in the next batch.
      broken = BreakReason::kNone;
    }
    if (done != 0) [[likely]] {
      transmitq.ring->Return(chains_, done);
      NotifyDriver(transmitq);
    }
  }
  // First: rings that read as zeros would otherwise be blamed on the guest.
  GiveUpIfLost(*transmitq.port, events_);
  if (broken != BreakReason::kNone) Break(transmitq, broken, events_);
  return std::max(done, std::min(taken, 1u));
}

void Forwarder::Inject(Port& from, uint8_t* frame, uint32_t bytes, uint32_t now_s) {
  sources_.Clear();
  sources_.Append(frame, bytes);
  frames_[0] = {.destination = LoadMac(frame),
                .source = LoadMac(frame + 6),
                .body = {sources_.at(0), 0, bytes},
                .offload = {},
                .verdict = 0};
  Queue& transmitq = from.queues[1];
  if (from.sources != nullptr && Guard(transmitq, 1) == 0) return;
  Learn(transmitq, frames_[0].source, now_s, 0);
  Flood(transmitq, 0);
  RecordTaken(from, 1);
  DeliverPosted(transmitq);
}

// Fills frames_ with the frames that are fit to be forwarded; returns how many. *taken ends at a
// chain that would make the batch cost too much.
uint32_t Forwarder::Parse(Queue& from, uint32_t* taken) {
  const uint32_t header_bytes = from.ring->header_bytes();
  const uint32_t chains = *taken;
  uint64_t bytes = 0;
  uint32_t frames = 0;
  malformed_count_ = 0;
  parsed_work_ = 0;
  for (uint32_t i = 0; i < chains; ++i) {
    Frame& frame = frames_[frames];
    if (!ParseChain(from, chains_[i], header_bytes, frame)) [[unlikely]] {
      if (!over_work_) continue;
      over_work_ = false;
      *taken = i;
      break;
    }
    bytes += frame.body.bytes;
    ++frames;
  }
  parsed_bytes_ = bytes;
  return frames;
}

// False if it is no frame, or one too many for the batch.
bool Forwarder::ParseChain(Queue& from, const Chain& chain, uint32_t header_bytes, Frame& frame) {
  const uint32_t start_bytes = header_bytes + kFrameBytesMin;
  if (!BoundsHold(chain.bytes >= start_bytes)) [[unlikely]] {
    return Malformed(chain, kDropsTooShort);
  }
  if (!BoundsHold(chain.bytes <= header_bytes + kFrameBytesMax)) [[unlikely]] {
    return Malformed(chain, kDropsTooLong);
  }
  const Piece* first = sources_.at(chain.first_piece);
  frame.body = {first, 0, chain.bytes};
  uint8_t gathered[sizeof(VirtioNetHdr) + kFrameBytesMin];
  const uint8_t* start = first->data;
  if (first->bytes >= start_bytes) [[likely]] {
    frame.body.skip = header_bytes;
    frame.body.bytes -= header_bytes;
  } else {
    Gather(frame.body, gathered, start_bytes);
    TakeFront(&frame.body, header_bytes);
    start = gathered;
  }
  frame.offload = {};
  frame.verdict = 0;
  // Judged in a register: a header put together in memory would be read back before its stores are
  // done.
  uint64_t front;
  std::memcpy(&front, start, sizeof(front));
  if (!IsPlain(front)) [[unlikely]] {
    if (!ParseOffload(from, chain, start, frame)) return false;
  }
  frame.destination = LoadMac(start + header_bytes);
  frame.source = LoadMac(start + header_bytes + 6);
  return true;
}

// The header at `start` and the frame behind it; false as ParseChain.
bool Forwarder::ParseOffload(const Queue& from, const Chain& chain, const uint8_t* start,
                             Frame& frame) {
  VirtioNetHdr header = {};
  constexpr size_t kFrontBytes = offsetof(VirtioNetHdr, csum_offset);
  std::memcpy(&header, start, kFrontBytes);
  std::memcpy(&header.csum_offset, start + kFrontBytes, sizeof(header.csum_offset));
  if (CheckOffload(header, from.port->features, frame.body, &frame.offload) !=
      OffloadVerdict::kOk) {
    return Malformed(chain, kDropsBadHeader);
  }
  const uint64_t work = SegmentsWork(frame.offload, frame.body.bytes);
  if (&frame != frames_ && parsed_work_ + work > batch_work_) {
    over_work_ = true;
    return false;
  }
  parsed_work_ += work;
  return true;
}

// Returns how many frames of the batch are left, in frames_.
uint32_t Forwarder::Guard(Queue& from, uint32_t frames) {
  if (guard_ == nullptr) guard_ = std::make_unique<SourceGuard>();
  return guard_->Admit(from, frames_, frames, events_);
}

void Forwarder::RecordTaken(const Port& from, uint32_t frames) {
  for (uint32_t i = 0; i < frames; ++i) {
    const uint32_t counted = frames_[i].verdict | CounterBit(std::exchange(fates_[i], kFrames));
    AddTo(from.captures, frames_[i].body, from.number, Capture::Direction::kFromGuest, counted);
  }
}

void Forwarder::Drop(Queue& from, uint32_t frame, Counter reason) {
  from.counters->Add(reason, 1);
  if (!from.port->captures.empty()) fates_[frame] = reason;
}

void Forwarder::Route(Queue& from, uint32_t frames, uint32_t now_s) {
  const Bridge& bridge = *from.port->bridge;
  uint64_t last_destination = 0;
  Destination to;
  const uint64_t now = uint64_t{now_s} << 32 | bridge.fdb.revision();
  for (uint32_t i = 0; i < frames; ++i) {
    const Frame& frame = frames_[i];
    if (frame.source != from.known_source || from.known_at != now) [[unlikely]] {
      if (frame.source == 0 || (frame.source & kGroupBit) != 0) {
        Drop(from, i, kDropsBadSource);
        continue;
      }
      Learn(from, frame.source, now_s, now);
    }
    if (frame.destination != last_destination) {
      last_destination = frame.destination;
      to = bridge.Find(frame.destination, 0, from.port->number, now_s);
    }
    if (to.kind == Destination::Kind::kPort) [[likely]] {
      Post(to.port, i);
    } else if (!to.floods()) {
      Drop(from, i, to.kind == Destination::Kind::kSelf ? kDropsHairpin : kDropsNoDestination);
    } else {
      Flood(from, i);
    }
  }
}

void Forwarder::Learn(Queue& from, uint64_t source, uint32_t now_s, uint64_t now) {
  uint16_t from_port = kNoPort;
  const uint16_t port = from.port->number;
  const uint32_t session = from.port->session;
  switch (from.port->bridge->fdb.Learn(Fdb::Key(source, 0), port, now_s, &from_port)) {
    case LearnResult::kLearned:
      events_.Push(
          {.type = Event::Type::kMacLearned, .session = session, .port = port, .mac = source});
      break;
    case LearnResult::kMoved: {
      const Port* const left = from.port->bridge->members[from_port];
      events_.Push({.type = Event::Type::kMacMoved,
                    .session = session,
                    .port = port,
                    .from_port = from_port,
                    .from_session = left == nullptr ? 0 : left->session,
                    .mac = source});
      break;
    }
    case LearnResult::kRefused: return;  // try again with the next frame
    case LearnResult::kKnown: break;
  }
  from.known_source = source;
  from.known_at = now;
}

void Forwarder::Flood(Queue& from, uint32_t frame) {
  if (PostToMembers(*from.port, frame, 0) == 0) {
    Drop(from, frame, kDropsNoDestination);
  } else {
    from.counters->Add(kFloodedFrames, 1);
  }
}

uint32_t Forwarder::PostToMembers(const Port& from, uint32_t frame, uint16_t first) {
  const std::vector<Port*>& members = from.bridge->members;
  uint32_t copies = 0;
  for (size_t number = first; number < members.size(); ++number) {
    const Port* const member = members[number];
    if (member == nullptr || member == &from) continue;
    Post(member->number, frame);
    ++copies;
  }
  return copies;
}

void Forwarder::Post(uint16_t port, uint32_t frame) {
  FrameList& list = posted_[port];
  if (list.count == 0) posted_ports_[posted_count_++] = port;
  list.frame[list.count++] = static_cast<uint8_t>(frame);
}

void Forwarder::DeliverPosted(Queue& from) {
  for (uint32_t i = 0; i < posted_count_; ++i) {
    Port& to = *from.port->bridge->members[posted_ports_[i]];
    FrameList& list = posted_[to.number];
    if (to.impairment != nullptr) [[unlikely]]
      PassToPort(from, to, &list);
    DeliverTo(to, list);
    list.count = 0;
  }
  posted_count_ = 0;
}

void Forwarder::DeliverTo(Port& to, const FrameList& list) {
  if (list.count == 0) [[unlikely]]
    return;
  if (to.receivers.size() > 1) {
    Spread(to, list);
  } else {
    // Without a receiver the frames are counted where a reader looks first.
    deliverer_.Deliver(to.receivers.empty() ? to.queues[0] : *to.receivers[0], frames_, list);
  }
  GiveUpIfLost(to, events_);
}

// Sends each frame to the receiveq of its flow: each queue once, every flow in order.
void Forwarder::Spread(Port& to, const FrameList& list) {
  constexpr uint8_t kDelivered = 0xff;
  static_assert(kQueuePairsMax < kDelivered);
  uint8_t chosen[kBatchFramesMax];
  for (uint32_t i = 0; i < list.count; ++i) {
    uint8_t start[kFlowBytesMax];
    const uint32_t bytes = Gather(frames_[list.frame[i]].body, start, kFlowBytesMax);
    chosen[i] = static_cast<uint8_t>(FlowHash(start, bytes) * uint64_t{to.receivers.size()} >> 32);
  }
  for (uint32_t first = 0; first < list.count; ++first) {
    const uint8_t queue = chosen[first];
    if (queue == kDelivered) continue;
    FrameList part;
    for (uint32_t i = first; i < list.count; ++i) {
      if (chosen[i] != queue) continue;
      part.frame[part.count++] = list.frame[i];
      chosen[i] = kDelivered;
    }
    deliverer_.Deliver(*to.receivers[queue], frames_, part);
  }
}

}  // namespace tsvswitch
