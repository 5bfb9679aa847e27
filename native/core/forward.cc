// See forward.h. The order of frames within a flow is the order of its transmitq: lists keep it, and
// all frames of a flow take the same way.

#include "forward.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "checks.h"
#include "flow_hash.h"
#include "notify.h"

namespace tsvswitch {

namespace {

constexpr uint64_t kGroupBit = uint64_t{1} << 40;

}  // namespace

uint32_t Forwarder::Run(Queue& transmitq, uint32_t now_s) {
  BreakReason broken = BreakReason::kNone;
  sources_.Clear();
  const uint32_t taken =
      transmitq.ring->Take(*transmitq.port->memory, transmitq.batch_frames, chains_, sources_, &broken);
  if (taken != 0) {
    if (transmitq.enabled) [[likely]] {
      transmitq.batch_frames = kBatchFramesMax;
      uint32_t frames = Parse(transmitq, taken);
      if (transmitq.port->sources != nullptr) [[unlikely]] frames = Guard(transmitq, frames);
      if (transmitq.port->impairment != nullptr) [[unlikely]] {
        frames = PassFromGuest(transmitq, frames);
      }
      Route(transmitq, frames, now_s);
      if (!transmitq.port->captures.empty()) [[unlikely]] RecordTaken(*transmitq.port, frames);
      DeliverPosted(transmitq);
    } else {
      transmitq.counters->Add(kDropsDisabled, taken);
    }
    transmitq.ring->Return(chains_, taken);
    HandedBack(transmitq);
  }
  // First: rings that read as zeros would otherwise be blamed on the guest.
  GiveUpIfLost(*transmitq.port, events_);
  if (broken != BreakReason::kNone) Break(transmitq, broken, events_);
  return taken;
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

// Fills frames_ with the frames that are fit to be forwarded; returns how many.
uint32_t Forwarder::Parse(Queue& from, uint32_t taken) {
  const uint32_t header_bytes = from.ring->header_bytes();
  uint64_t bytes = 0;
  uint32_t frames = 0;
  for (uint32_t i = 0; i < taken; ++i) {
    Frame& frame = frames_[frames];
    if (!ParseChain(from, chains_[i], header_bytes, frame)) [[unlikely]] continue;
    bytes += frame.body.bytes;
    ++frames;
  }
  from.counters->Add(kFrames, frames);
  from.counters->Add(kBytes, bytes);
  return frames;
}

// False if the frame was dropped and counted.
bool Forwarder::ParseChain(Queue& from, const Chain& chain, uint32_t header_bytes, Frame& frame) {
  const auto drop = [&](Counter reason) {
    from.counters->Add(reason, 1);
    Slice rest = {sources_.at(chain.first_piece), 0, chain.bytes};
    TakeFront(&rest, std::min(header_bytes, chain.bytes));
    AddTo(from.port->captures, rest, from.port->number, Capture::Direction::kFromGuest,
          CounterBit(reason));
    return false;
  };
  const uint32_t start_bytes = header_bytes + kFrameBytesMin;
  if (!Holds(chain.bytes >= start_bytes)) [[unlikely]] return drop(kDropsTooShort);
  if (!Holds(chain.bytes <= header_bytes + kFrameBytesMax)) [[unlikely]] return drop(kDropsTooLong);
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
  // Judged in a register: a header put together in memory would be read back before its stores are done.
  uint64_t front;
  std::memcpy(&front, start, sizeof(front));
  if (!IsPlain(front)) [[unlikely]] {
    VirtioNetHdr header = {};
    std::memcpy(&header, &front, sizeof(front));
    std::memcpy(&header.csum_offset, start + sizeof(front), sizeof(header.csum_offset));
    if (CheckOffload(header, from.port->features, frame.body, &frame.offload) !=
        OffloadVerdict::kOk) {
      return drop(kDropsBadHeader);
    }
  }
  frame.destination = LoadMac(start + header_bytes);
  frame.source = LoadMac(start + header_bytes + 6);
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
  uint16_t last_port = kNoPort;
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
      last_port = (frame.destination & kGroupBit) != 0
                      ? kNoPort
                      : bridge.fdb.Lookup(Fdb::Key(frame.destination, 0), now_s);
    }
    if (last_port == from.port->number) [[unlikely]] {
      Drop(from, i, kDropsHairpin);
    } else if (last_port != kNoPort) [[likely]] {
      Post(last_port, i);
    } else {
      Flood(from, i);
    }
  }
}

void Forwarder::Learn(Queue& from, uint64_t source, uint32_t now_s, uint64_t now) {
  uint16_t from_port = kNoPort;
  const uint16_t port = from.port->number;
  switch (from.port->bridge->fdb.Learn(Fdb::Key(source, 0), port, now_s, &from_port)) {
    case LearnResult::kLearned:
      events_.Push({.type = Event::Type::kMacLearned, .port = port, .mac = source});
      break;
    case LearnResult::kMoved:
      events_.Push(
          {.type = Event::Type::kMacMoved, .port = port, .from_port = from_port, .mac = source});
      break;
    case LearnResult::kRefused:
      return;  // try again with the next frame
    case LearnResult::kKnown:
      break;
  }
  from.known_source = source;
  from.known_at = now;
}

void Forwarder::Flood(Queue& from, uint32_t frame) {
  uint32_t copies = 0;
  for (const Port* member : from.port->bridge->members) {
    if (member == nullptr || member == from.port) continue;
    Post(member->number, frame);
    ++copies;
  }
  if (copies == 0) {
    Drop(from, frame, kDropsNoDestination);
  } else {
    from.counters->Add(kFloodedFrames, 1);
  }
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
    if (to.impairment != nullptr) [[unlikely]] PassToPort(from, to, &list);
    DeliverTo(to, list);
    list.count = 0;
  }
  posted_count_ = 0;
}

void Forwarder::DeliverTo(Port& to, const FrameList& list) {
  if (list.count == 0) [[unlikely]] return;
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
