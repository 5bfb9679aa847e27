#include "forward.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "copy.h"
#include "flow_hash.h"
#include "prefetch.h"

namespace tsvswitch {

namespace {

// About a microsecond: long enough for a driver that is just refilling, short enough that a stuck
// one costs the others nothing they would notice.
constexpr uint32_t kBufferWaitSpins = 32;

constexpr uint64_t kGroupBit = uint64_t{1} << 40;

uint64_t LoadMac(const uint8_t* at) {
  // Eight bytes are there: an Ethernet header is 14 and addresses begin at 0 and 6.
  uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return __builtin_bswap64(word) >> 16;
}

void SignalEventfd(int fd) {
  const uint64_t one = 1;
  // EAGAIN means a full counter, which is a pending signal; anything else is the guest's own loss.
  [[maybe_unused]] const ssize_t written = write(fd, &one, sizeof(one));
}

}  // namespace

uint32_t Forwarder::Run(Queue& transmitq, uint32_t now_s) {
  BreakReason broken = BreakReason::kNone;
  sources_.Clear();
  const uint32_t taken =
      transmitq.ring->Take(*transmitq.port->memory, kBatchFramesMax, chains_, sources_, &broken);
  if (taken != 0) {
    Route(transmitq, Parse(transmitq, taken), now_s);
    DeliverPosted(*transmitq.port->bridge);
    transmitq.ring->Return(chains_, taken);
    if (transmitq.port->Logs()) [[unlikely]] LogUsed(transmitq);
    Call(transmitq);
  }
  // First: rings that read as zeros would otherwise be blamed on the guest.
  HandleLostMemory(*transmitq.port);
  if (broken != BreakReason::kNone) Break(transmitq, broken);
  return taken;
}

void Forwarder::Inject(Port& from, uint8_t* frame, uint32_t bytes, uint32_t now_s) {
  sources_.Clear();
  sources_.Append(frame, bytes);
  frames_[0] = {.destination = LoadMac(frame),
                .source = LoadMac(frame + 6),
                .bytes = bytes,
                .first_piece = 0,
                .piece_count = 1};
  Queue& transmitq = from.queues[1];
  Learn(transmitq, frames_[0].source, now_s, 0);
  Flood(transmitq, 0);
  DeliverPosted(*from.bridge);
}

void Forwarder::DeliverPosted(const Bridge& bridge) {
  for (uint32_t i = 0; i < posted_count_; ++i) Deliver(*bridge.members[posted_[i]]);
  posted_count_ = 0;
}

// Fills frames_ with the frames that are fit to be forwarded; returns how many.
uint32_t Forwarder::Parse(Queue& from, uint32_t taken) {
  const uint32_t header_bytes = from.ring->header_bytes();
  uint64_t bytes = 0;
  uint32_t frames = 0;
  for (uint32_t i = 0; i < taken; ++i) {
    const Chain& chain = chains_[i];
    if (chain.bytes < header_bytes + kFrameBytesMin) [[unlikely]] {
      from.counters->Add(kDropsTooShort, 1);
      continue;
    }
    if (chain.bytes > header_bytes + kFrameBytesMax) [[unlikely]] {
      from.counters->Add(kDropsTooLong, 1);
      continue;
    }
    Frame& frame = frames_[frames];
    frame.bytes = chain.bytes - header_bytes;
    frame.first_piece = chain.first_piece;
    frame.piece_count = chain.piece_count;
    Piece& first = *sources_.at(chain.first_piece);
    uint8_t gathered[sizeof(VirtioNetHdr) + kFrameBytesMin];
    const uint8_t* start = first.data;
    if (first.bytes >= header_bytes + kFrameBytesMin) [[likely]] {
      first.data += header_bytes;
      first.bytes -= header_bytes;
    } else {
      Gather(chain, header_bytes, frame, gathered);
      start = gathered;
    }
    // No offload is offered yet, so the first two bytes, flags and gso_type, must be zero.
    uint16_t offload;
    std::memcpy(&offload, start, sizeof(offload));
    if (offload != 0) [[unlikely]] {
      from.counters->Add(kDropsBadHeader, 1);
      continue;
    }
    frame.destination = LoadMac(start + header_bytes);
    frame.source = LoadMac(start + header_bytes + 6);
    bytes += frame.bytes;
    ++frames;
  }
  from.counters->Add(kFrames, frames);
  from.counters->Add(kBytes, bytes);
  return frames;
}

// A header in several pieces: copies it and the Ethernet header into `gathered` and moves the frame's
// pieces past the virtio header.
void Forwarder::Gather(const Chain& chain, uint32_t header_bytes, Frame& frame,
                       uint8_t* gathered) {
  const uint32_t wanted = header_bytes + kFrameBytesMin;
  uint32_t got = 0;
  for (uint32_t i = 0; i < chain.piece_count && got < wanted; ++i) {
    const Piece& piece = *sources_.at(chain.first_piece + i);
    const uint32_t part = std::min(piece.bytes, wanted - got);
    std::memcpy(gathered + got, piece.data, part);
    got += part;
  }
  uint32_t skip = header_bytes;
  while (skip >= sources_.at(frame.first_piece)->bytes) {
    // Ends before the last piece: the chain holds more than the header.
    skip -= sources_.at(frame.first_piece)->bytes;
    ++frame.first_piece;
    --frame.piece_count;
  }
  Piece& first = *sources_.at(frame.first_piece);
  first.data += skip;
  first.bytes -= skip;
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
        from.counters->Add(kDropsBadSource, 1);
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
      from.counters->Add(kDropsHairpin, 1);
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
  from.counters->Add(copies == 0 ? kDropsNoDestination : kFloodedFrames, 1);
}

void Forwarder::Post(uint16_t port, uint32_t frame) {
  Outbox& outbox = outboxes_[port];
  if (outbox.count == 0) posted_[posted_count_++] = port;
  outbox.frame[outbox.count++] = static_cast<uint8_t>(frame);
}

void Forwarder::Deliver(Port& to) {
  Outbox& outbox = outboxes_[to.number];
  switch (to.receivers.size()) {
    case 0:
      // Counted where a reader looks first; several workers may do so at once.
      DeliverTo(to.queues[0], outbox);
      break;
    case 1:
      DeliverTo(*to.receivers[0], outbox);
      break;
    default:
      Spread(to, outbox);
  }
  outbox.count = 0;
  HandleLostMemory(to);
}

// Sends each frame to the receiveq of its flow, each queue once and every flow in order.
void Forwarder::Spread(Port& to, const Outbox& outbox) {
  uint8_t chosen[kBatchFramesMax];
  for (uint32_t i = 0; i < outbox.count; ++i) {
    const uint64_t hash = HashOf(frames_[outbox.frame[i]]);
    chosen[i] = static_cast<uint8_t>(hash * to.receivers.size() >> 32);
  }
  constexpr uint8_t kDelivered = 0xff;
  static_assert(kQueuePairsMax < kDelivered);
  for (uint32_t first = 0; first < outbox.count; ++first) {
    const uint8_t queue = chosen[first];
    if (queue == kDelivered) continue;
    spread_.count = 0;
    for (uint32_t i = first; i < outbox.count; ++i) {
      if (chosen[i] != queue) continue;
      spread_.frame[spread_.count++] = outbox.frame[i];
      chosen[i] = kDelivered;
    }
    DeliverTo(*to.receivers[queue], spread_);
  }
}

uint32_t Forwarder::HashOf(const Frame& frame) const {
  uint8_t start[kFlowBytesMax];
  uint32_t got = 0;
  for (uint32_t i = 0; i < frame.piece_count && got < kFlowBytesMax; ++i) {
    const Piece& piece = *sources_.at(frame.first_piece + i);
    const uint32_t part = std::min(piece.bytes, kFlowBytesMax - got);
    std::memcpy(start + got, piece.data, part);
    got += part;
  }
  return FlowHash(start, got);
}

void Forwarder::DeliverTo(Queue& queue, const Outbox& outbox) {
  std::unique_lock<Spinlock> guard(queue.lock, std::defer_lock);
  if (shared_) guard.lock();
  const uint32_t done = queue.Runs() ? Fill(queue, outbox) : 0;
  if (done < outbox.count) {
    queue.counters->Add(queue.Runs() ? kDropsNoBuffer : kDropsNotReady, outbox.count - done);
  }
}

// Delivers frames from the front of the outbox; returns how many were delivered or counted.
uint32_t Forwarder::Fill(Queue& to, const Outbox& outbox) {
  const uint32_t header_bytes = to.ring->header_bytes();
  for (uint32_t i = 0; i < outbox.count; ++i) {
    landing_bytes_[i] = header_bytes + frames_[outbox.frame[i]].bytes;
  }
  uint32_t done = 0;
  // Every turn after a wait decides at least one frame or is the last: outbox.count bounds the loop.
  for (bool waited = false;; waited = true) {
    BreakReason broken = BreakReason::kNone;
    landing_pieces_.Clear();
    const uint32_t claimed = to.ring->Claim(*to.port->memory, &landing_bytes_[done],
                                           outbox.count - done, landings_, landing_pieces_, &broken);
    uint64_t frames = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < claimed; ++i) {
      if (landings_[i].num_buffers == 0) [[unlikely]] continue;
      const Frame& frame = frames_[outbox.frame[done + i]];
      CopyFrame(frame, landings_[i], header_bytes);
      frames += 1;
      bytes += frame.bytes;
    }
    const bool logs = to.port->Logs();
    if (logs) [[unlikely]] LogLandings(*to.port, claimed, &landing_bytes_[done]);
    done += claimed;
    if (frames != 0) {
      to.ring->Publish();
      if (logs) [[unlikely]] LogUsed(to);
      Call(to);
      to.counters->Add(kFrames, frames);
      to.counters->Add(kBytes, bytes);
    }
    if (frames != claimed) to.counters->Add(kDropsBufferTooSmall, claimed - frames);
    if (broken != BreakReason::kNone) {
      HandleLostMemory(*to.port);
      Break(to, broken);
      return done;
    }
    if (done == outbox.count || (waited && claimed == 0) || !WaitForBuffer(to)) return done;
  }
}

// Whether a buffer is there or comes within a bounded moment.
bool Forwarder::WaitForBuffer(Queue& to) {
  BreakReason broken = BreakReason::kNone;
  const uint32_t spins = to.stalled ? 1 : kBufferWaitSpins;
  for (uint32_t i = 0; i < spins; ++i) {
    // A violation is left for Claim to find again and report.
    if (to.ring->Offered(1, &broken) != 0 || broken != BreakReason::kNone) {
      to.stalled = false;
      return true;
    }
    CpuRelax();
  }
  to.stalled = true;
  return false;
}

void Forwarder::CopyFrame(const Frame& frame, const Landing& landing, uint32_t header_bytes) {
  VirtioNetHdr header = {};
  header.num_buffers = landing.num_buffers;
  if (landing.data == nullptr || frame.piece_count != 1) [[unlikely]] {
    CopyScattered(frame, landing, header, header_bytes);
    return;
  }
  // Always the 12-byte form: where the driver's is 10, the frame, at least 14 bytes, covers the rest.
  std::memcpy(landing.data, &header, sizeof(header));
  CopyBytes(landing.data + header_bytes, sources_.at(frame.first_piece)->data, frame.bytes);
}

// Any pieces into any pieces: the header goes first as a piece of its own.
void Forwarder::CopyScattered(const Frame& frame, const Landing& landing,
                              const VirtioNetHdr& header, uint32_t header_bytes) {
  Piece whole = {landing.data, header_bytes + frame.bytes};
  const Piece* to = landing.data != nullptr ? &whole : landing_pieces_.at(landing.first_piece);
  uint32_t to_used = 0;
  uint32_t left = header_bytes + frame.bytes;
  // The pieces of a landing hold `left` bytes in all, and none is empty: the loop ends with them.
  auto put = [&](const uint8_t* from, uint32_t bytes) {
    bytes = std::min(bytes, left);
    left -= bytes;
    while (bytes > 0) {
      const uint32_t part = std::min(bytes, to->bytes - to_used);
      CopyBytes(to->data + to_used, from, part);
      from += part;
      bytes -= part;
      to_used += part;
      if (to_used == to->bytes) {
        ++to;
        to_used = 0;
      }
    }
  };
  put(reinterpret_cast<const uint8_t*>(&header), header_bytes);
  for (uint32_t i = 0; i < frame.piece_count; ++i) {
    const Piece& piece = *sources_.at(frame.first_piece + i);
    put(piece.data, piece.bytes);
  }
}

void Forwarder::LogLandings(const Port& to, uint32_t claimed, const uint32_t* bytes) {
  const auto mark = [&](const uint8_t* data, uint32_t written) {
    to.dirty_log->Mark(to.memory->GuestAddressOf(data), written);
  };
  for (uint32_t i = 0; i < claimed; ++i) {
    const Landing& landing = landings_[i];
    if (landing.num_buffers == 0) continue;
    if (landing.data != nullptr) {
      mark(landing.data, bytes[i]);
      continue;
    }
    uint32_t left = bytes[i];
    for (uint32_t k = 0; k < landing.piece_count && left > 0; ++k) {
      const Piece& piece = *landing_pieces_.at(landing.first_piece + k);
      const uint32_t written = std::min(piece.bytes, left);
      mark(piece.data, written);
      left -= written;
    }
  }
}

// The whole used ring of a queue that handed something back: a few pages, whatever was written in it.
void Forwarder::LogUsed(const Queue& queue) {
  if (queue.addresses.used_log == GuestMemory::kNoGuestAddress) return;
  queue.port->dirty_log->Mark(queue.addresses.used_log,
                              queue.ring->LayoutOf(queue.size).written_bytes);
}

void Forwarder::Call(Queue& queue) {
  if (queue.call_fd < 0 || !queue.ring->CallWanted()) return;
  SignalEventfd(queue.call_fd);
  queue.counters->Add(kNotifications, 1);
}

void Forwarder::Break(Queue& queue, BreakReason reason) {
  BreakReason whole = BreakReason::kNone;
  if (!queue.broken.compare_exchange_strong(whole, reason, std::memory_order_relaxed)) return;
  if (queue.err_fd >= 0) SignalEventfd(queue.err_fd);
  events_.Push({.type = Event::Type::kQueueBroken,
                .reason = reason,
                .port = queue.port->number,
                .queue = queue.index});
}

void Forwarder::HandleLostMemory(Port& port) {
  const uint32_t lost = port.lost.load(std::memory_order_acquire);
  if (port.lost_handled.load(std::memory_order_relaxed) == lost) [[likely]] return;
  if (port.lost_handled.exchange(lost, std::memory_order_relaxed) == lost) return;
  for (Queue& queue : port.queues) Break(queue, BreakReason::kMemoryLost);
  events_.Push({.type = Event::Type::kMemoryLost, .port = port.number});
}

}  // namespace tsvswitch
