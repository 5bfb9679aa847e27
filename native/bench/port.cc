// Sending and receiving, batch by batch. See port.h.

#include "port.h"

#include <algorithm>

#include "failure.h"
#include "prefetch.h"

namespace tsvswitch::bench {

namespace {

// A frame is sent from one buffer, however small the buffers are into which it is received.
size_t TransmitBufferBytes(const Traffic& traffic) {
  return std::max(traffic.buffer_bytes, kVirtioHeaderBytes + traffic.frame_bytes);
}

}  // namespace

Counters operator-(const Counters& later, const Counters& earlier) {
  return {
      .sent = later.sent - earlier.sent,
      .delivered = later.delivered - earlier.delivered,
      .lost = later.lost - earlier.lost,
      .reordered = later.reordered - earlier.reordered,
      .corrupt = later.corrupt - earlier.corrupt,
      .misdelivered = later.misdelivered - earlier.misdelivered,
      .hellos = later.hellos - earlier.hellos,
  };
}

size_t Port::MemoryBytes(const Traffic& traffic) {
  return SplitRing::MemoryBytes(traffic.queue_size, traffic.buffer_bytes) +
         SplitRing::MemoryBytes(traffic.queue_size, TransmitBufferBytes(traffic));
}

Port::Port(size_t index, const Traffic& traffic)
    : index_(index),
      frame_bytes_(traffic.frame_bytes),
      buffer_bytes_(traffic.buffer_bytes),
      incoming_(index ^ 1, index),
      memory_(traffic.memory, MemoryBytes(traffic)),
      receiveq_(memory_, traffic.queue_size, traffic.buffer_bytes, traffic.buffer_bytes,
                BufferUse::kDeviceWrites),
      transmitq_(memory_, traffic.queue_size, TransmitBufferBytes(traffic),
                 kVirtioHeaderBytes + traffic.frame_bytes, BufferUse::kDeviceReads) {
  // Headers and, for a client that touches headers only, a valid payload: written once, since no
  // device writes to the buffers of a transmitq.
  for (uint32_t id = 0; id < transmitq_.size(); ++id) {
    uint8_t* frame = transmitq_.Buffer(id) + kVirtioHeaderBytes;
    WriteHeaders(frame, frame_bytes_, index, index ^ 1);
    WritePayload(frame, frame_bytes_, 0);
  }
  PostReceiveBuffers();
}

void Port::PostReceiveBuffers() {
  while (receiveq_.FreshLeft() > 0) receiveq_.Post(receiveq_.NextFresh());
  receiveq_.Publish();
}

void Port::Attach(const std::string& socket_path, double timeout_s) {
  frontend_.emplace(socket_path);
  frontend_->Connect(timeout_s);
  frontend_->Start(memory_, {receiveq_.layout(), transmitq_.layout()});
}

std::string Port::Name() const {
  const std::string name = "port " + std::to_string(index_);
  return frontend_.has_value() ? name + " (" + frontend_->path() + ")" : name;
}

std::optional<uint32_t> Port::FreeTransmitBuffer() {
  if (transmitq_.Completed() > 0) {
    const uint32_t id = transmitq_.Peek(0).id;
    transmitq_.Take(1);
    return id;
  }
  if (transmitq_.FreshLeft() > 0) return transmitq_.NextFresh();
  return std::nullopt;
}

void Port::Transmit(uint32_t id) {
  transmitq_.Post(id);
  transmitq_.Publish();
}

template <Touch touch>
inline void Port::WriteFrame(uint32_t id) {
  uint8_t* frame = transmitq_.Buffer(id) + kVirtioHeaderBytes;
  const uint64_t sequence = next_sequence_++;
  SetSequence(frame, sequence);
  if constexpr (touch == Touch::kBytes) WritePayload(frame, frame_bytes_, sequence);
}

bool Port::SendHello() {
  const std::optional<uint32_t> id = FreeTransmitBuffer();
  if (!id.has_value()) return false;
  SetSequence(transmitq_.Buffer(*id) + kVirtioHeaderBytes, kHelloSequence);
  Transmit(*id);
  KickIfWanted();
  return true;
}

template <Touch touch>
bool Port::SendOne() {
  const std::optional<uint32_t> id = FreeTransmitBuffer();
  if (!id.has_value()) return false;
  WriteFrame<touch>(*id);
  Transmit(*id);
  ++counters_.sent;
  return true;
}

template <Touch touch>
uint16_t Port::SendBatch(uint16_t worthwhile) {
  uint16_t sent = 0;
  for (; transmitq_.FreshLeft() > 0 && sent < kSendBatchMax; ++sent) {
    const uint32_t id = transmitq_.NextFresh();
    WriteFrame<touch>(id);
    transmitq_.Post(id);
  }
  if (sent == 0) {
    const uint16_t completed = transmitq_.Completed();
    if (completed < worthwhile) return 0;
    sent = completed < kSendBatchMax ? completed : kSendBatchMax;
    uint32_t ids[kSendBatchMax];
    for (uint16_t i = 0; i < sent; ++i) {
      ids[i] = transmitq_.Peek(i).id;
      PrefetchForWrite(transmitq_.Buffer(ids[i]));
    }
    for (uint16_t i = 0; i < sent; ++i) {
      WriteFrame<touch>(ids[i]);
      transmitq_.Post(ids[i]);
    }
    transmitq_.Take(sent);
  }
  transmitq_.Publish();
  counters_.sent += sent;
  return sent;
}

inline void Port::CountSequence(uint64_t sequence) {
  if (sequence < expected_sequence_) [[unlikely]] {
    ++counters_.reordered;
    return;
  }
  ++counters_.delivered;
  counters_.lost += sequence - expected_sequence_;
  expected_sequence_ = sequence + 1;
}

// Anything that is not from this port's partner to this port.
void Port::CountForeign(const uint8_t* frame) {
  if (Sequence(frame) == kHelloSequence) return;  // A hello of another pair, flooded while learning.
  if (IsAddressedTo(frame, index_)) {
    ++counters_.corrupt;
  } else {
    ++counters_.misdelivered;
  }
}

template <Touch touch>
inline void Port::CheckFrame(const uint8_t* frame, size_t frame_bytes) {
  if (!incoming_.Matches(frame)) [[unlikely]] return CountForeign(frame);
  const uint64_t sequence = Sequence(frame);
  if (sequence == kHelloSequence) [[unlikely]] {
    ++counters_.hellos;
    return;
  }
  if (frame_bytes != frame_bytes_) [[unlikely]] {
    ++counters_.corrupt;
    return;
  }
  if constexpr (touch == Touch::kBytes) {
    if (!PayloadMatches(frame, frame_bytes, sequence)) [[unlikely]] {
      ++counters_.corrupt;
      return;
    }
  }
  CountSequence(sequence);
}

// A frame in several buffers (virtio 1.2 §5.1.6.4). Returns how many used entries it took, 0 if the
// rest of it has not been published yet.
template <Touch touch>
uint16_t Port::CheckMergedFrame(uint16_t ahead, uint16_t pieces, uint16_t completed) {
  if (pieces > receiveq_.size()) {
    Fail("%s: a frame claims %u buffers of a queue of %u", Name().c_str(), pieces,
         receiveq_.size());
  }
  if (ahead + pieces > completed) return 0;
  const uint8_t* frame = receiveq_.Buffer(receiveq_.Peek(ahead).id) + kVirtioHeaderBytes;
  size_t bytes = 0;
  gathered_.clear();
  for (uint16_t i = 0; i < pieces; ++i) {
    const virtq_used_elem entry = receiveq_.Peek(static_cast<uint16_t>(ahead + i));
    bytes += entry.len;
    if constexpr (touch == Touch::kBytes) {
      const uint8_t* piece = receiveq_.Buffer(entry.id);
      const size_t piece_bytes = entry.len < buffer_bytes_ ? entry.len : buffer_bytes_;
      gathered_.insert(gathered_.end(), piece, piece + piece_bytes);
      frame = gathered_.data() + kVirtioHeaderBytes;
    }
  }
  CheckFrame<touch>(frame, bytes - kVirtioHeaderBytes);
  return pieces;
}

template <Touch touch>
uint16_t Port::ReceiveBatch() {
  const uint16_t completed = receiveq_.Completed();
  if (completed == 0) return 0;
  const uint16_t count = completed < kReceiveBatchMax ? completed : kReceiveBatchMax;
  for (uint16_t i = 0; i < count; ++i) PrefetchForRead(receiveq_.Buffer(receiveq_.Peek(i).id));
  uint16_t taken = 0;
  while (taken < count) {
    const virtq_used_elem entry = receiveq_.Peek(taken);
    const uint8_t* buffer = receiveq_.Buffer(entry.id);
    uint16_t pieces;
    memcpy(&pieces, buffer + offsetof(virtio_net_hdr, num_buffers), sizeof(pieces));
    if (pieces <= 1) [[likely]] {
      CheckFrame<touch>(buffer + kVirtioHeaderBytes, entry.len - kVirtioHeaderBytes);
      receiveq_.Post(entry.id);
      ++taken;
      continue;
    }
    const uint16_t merged = CheckMergedFrame<touch>(taken, pieces, completed);
    if (merged == 0) break;
    for (uint16_t i = 0; i < merged; ++i) {
      receiveq_.Post(receiveq_.Peek(static_cast<uint16_t>(taken + i)).id);
    }
    taken = static_cast<uint16_t>(taken + merged);
  }
  receiveq_.Take(taken);
  if (taken > 0) receiveq_.Publish();
  return taken;
}

void Port::KickIfWanted() {
  if (!frontend_.has_value()) return;
  if (receiveq_.KickWanted()) frontend_->Kick(kReceiveq);
  if (transmitq_.KickWanted()) frontend_->Kick(kTransmitq);
}

template bool Port::SendOne<Touch::kHeaders>();
template bool Port::SendOne<Touch::kBytes>();
template uint16_t Port::SendBatch<Touch::kHeaders>(uint16_t);
template uint16_t Port::SendBatch<Touch::kBytes>(uint16_t);
template uint16_t Port::ReceiveBatch<Touch::kHeaders>();
template uint16_t Port::ReceiveBatch<Touch::kBytes>();

}  // namespace tsvswitch::bench
