// See forward.h: counts malformed chains, cuts batches that would cost too much, and continues
// floods that take more than a turn.
//
// A flood that is interrupted leaves nothing behind but a number in its queue: the frame goes back
// to the ring and is taken anew in the next turn. So a queue can be stopped, moved to another
// worker and asked for its base at any time, and no memory is made for what its guest does. A guest
// that changes the frame meanwhile changes what it sends to the rest; it is checked each time.

#include "core/forward/forward.h"

#include "core/policy/capture.h"

namespace tsvswitch {

namespace {

constexpr uint64_t kGroupBit = uint64_t{1} << 40;

bool CanBeSource(uint64_t mac) { return mac != 0 && (mac & kGroupBit) == 0; }

}  // namespace

bool Forwarder::Malformed(const Chain& chain, Counter reason) {
  malformed_[malformed_count_++] = {&chain, reason};
  return false;
}

void Forwarder::CountMalformed(Queue& from) {
  const uint32_t header_bytes = from.ring->header_bytes();
  for (uint32_t i = 0; i < malformed_count_; ++i) {
    const Chain& chain = *malformed_[i].chain;
    from.counters->Add(malformed_[i].reason, 1);
    Slice rest = {sources_.at(chain.first_piece), 0, chain.bytes};
    TakeFront(&rest, std::min(header_bytes, chain.bytes));
    AddTo(from.port->captures, rest, from.port->number, Capture::Direction::kFromGuest,
          CounterBit(malformed_[i].reason));
  }
}

// How many of the frames may be forwarded together; 0 if the first is flooded and too much alone.
uint32_t Forwarder::CutFlood(const Queue& from, uint32_t frames, uint32_t now_s) {
  const Bridge& bridge = *from.port->bridge;
  uint64_t work = bridge.member_count * kQueueWork;
  uint64_t last_destination = 0;
  bool floods = false;
  for (uint32_t i = 0; i < frames; ++i) {
    const Frame& frame = frames_[i];
    if (frame.destination != last_destination) {
      last_destination = frame.destination;
      floods = bridge.Find(frame.destination, 0, from.port->number, now_s).floods();
    }
    if (!floods) continue;
    const uint64_t each =
        kFrameWork + BytesWork(frame.body.bytes) + SegmentsWork(frame.offload, frame.body.bytes);
    work += each * bridge.member_count;
    if (work > batch_work_) return i;
  }
  return frames;
}

// Leaves the first `frames` frames, and the chains up to the last of them.
void Forwarder::CutParsed(uint32_t frames, uint32_t* taken) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < frames; ++i) bytes += frames_[i].body.bytes;
  parsed_bytes_ = bytes;
  // Chains and frames are in one order, with malformed chains between them.
  uint32_t chains = frames;
  uint32_t malformed = 0;
  while (malformed < malformed_count_ && malformed_[malformed].chain < chains_ + chains) {
    ++malformed;
    ++chains;
  }
  malformed_count_ = malformed;
  *taken = chains;
}

// The frame at the head of a queue whose flood was interrupted: to those who do not have it yet.
uint32_t Forwarder::GoOnFlooding(Queue& transmitq) {
  const uint16_t first = std::exchange(transmitq.flooded_to, uint16_t{0});
  // It was counted when its flood began, whatever its guest has made of it since.
  if (malformed_count_ != 0 && malformed_[0].chain == chains_) return 1;
  if (transmitq.port->sources != nullptr && Guard(transmitq, 1) == 0) return 1;
  if (!CanBeSource(frames_[0].source)) return 1;
  PostToMembers(*transmitq.port, 0, first);
  transmitq.flooded_to = DeliverSome(transmitq);
  if (transmitq.flooded_to == 0) return 1;
  transmitq.batch_frames = 1;
  return 0;
}

// Of a frame that is alone in its batch. Delivers it to one receiver at least, and to others until
// the batch has cost too much; returns the first port that has not got it, or 0 if all have.
uint16_t Forwarder::DeliverSome(Queue& from) {
  const uint64_t end = deliverer_.work + batch_work_;
  uint32_t delivered = 0;
  for (; delivered < posted_count_; ++delivered) {
    if (delivered != 0 && deliverer_.work >= end) [[unlikely]]
      break;
    Port& to = *from.port->bridge->members[posted_ports_[delivered]];
    FrameList& list = posted_[to.number];
    if (to.impairment != nullptr) [[unlikely]]
      PassToPort(from, to, &list);
    DeliverTo(to, list);
    list.count = 0;
  }
  const uint16_t next = delivered == posted_count_ ? uint16_t{0} : posted_ports_[delivered];
  for (; delivered < posted_count_; ++delivered) posted_[posted_ports_[delivered]].count = 0;
  posted_count_ = 0;
  return next;
}

uint64_t Forwarder::ListWork(const FrameList& list) const {
  uint64_t work = 0;
  for (uint32_t i = 0; i < list.count; ++i) {
    const Frame& frame = frames_[list.frame[i]];
    work +=
        kFrameWork + BytesWork(frame.body.bytes) + SegmentsWork(frame.offload, frame.body.bytes);
  }
  return work;
}

}  // namespace tsvswitch
