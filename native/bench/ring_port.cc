// Sending and receiving over rings, batch by batch. See ring_port.h.

#include "ring_port.h"

#include <algorithm>
#include <vector>

#include "clock.h"
#include "failure.h"
#include "packed_ring.h"
#include "prefetch.h"
#include "split_ring.h"

namespace tsvswitch::bench {

namespace {

constexpr size_t kPieceBytes = 4096;

// Buffers that must be free before a transmitq is refilled: fewer would have the line of its
// indices travel between the cores more often than the switch empties a batch.
constexpr uint16_t kWorthwhileMax = 64;
constexpr uint16_t kWorthwhileShare = 8;

template <typename Ring, Touch touch>
class TypedRingPort final : public RingPort {
 public:
  TypedRingPort(size_t index, const Traffic& traffic)
      : RingPort(index, traffic),
        receiveq_(memory_, traffic.receive_queue_size, receive_buffers_),
        transmitq_(memory_, traffic.transmit_queue_size, transmit_buffers_),
        worthwhile_(std::clamp(static_cast<uint16_t>(transmit_buffers_.count() / kWorthwhileShare),
                               uint16_t{1}, kWorthwhileMax)),
        pieces_(receive_buffers_.count()) {
    for (uint16_t id = 0; id < receive_buffers_.count(); ++id) receiveq_.Post(id);
    receiveq_.Publish();
  }

  QueueLayout receiveq_layout() const override { return receiveq_.layout(); }
  QueueLayout transmitq_layout() const override { return transmitq_.layout(); }

  bool SendHello() override {
    const std::optional<uint32_t> id = FreeTransmitBuffer();
    if (!id.has_value()) return false;
    OutgoingFlow::MakeHello(transmit_buffers_.At(*id), traffic_.frames);
    transmitq_.Post(*id);
    transmitq_.Publish();
    KickIfWanted();
    return true;
  }

  bool SendOne() override {
    const std::optional<uint32_t> id = FreeTransmitBuffer();
    if (!id.has_value()) return false;
    outgoing_.Write<touch>(transmit_buffers_.At(*id), *id);
    transmitq_.Post(*id);
    transmitq_.Publish();
    ++counters_.sent;
    return true;
  }

  uint16_t SendBatch(uint16_t limit) override {
    limit = std::min(limit, kSendBatchMax);
    uint16_t sent = 0;
    for (; fresh_ < transmit_buffers_.count() && sent < limit; ++sent) {
      const uint32_t id = fresh_++;
      outgoing_.Write<touch>(transmit_buffers_.At(id), id);
      transmitq_.Post(id);
    }
    if (sent == 0) {
      sent = transmitq_.Completed(limit);
      if (sent < std::min(worthwhile_, limit)) return 0;
      for (uint16_t i = 0; i < sent; ++i) {
        PrefetchForWrite(transmit_buffers_.At(transmitq_.Peek(i).id));
      }
      for (uint16_t i = 0; i < sent; ++i) {
        const uint32_t id = transmitq_.Peek(i).id;
        outgoing_.Write<touch>(transmit_buffers_.At(id), id);
      }
      transmitq_.Repost(sent);
    }
    if (sent > 0) transmitq_.Publish();
    counters_.sent += sent;
    return sent;
  }

  uint16_t ReceiveBatch() override {
    const uint16_t count = receiveq_.Completed(kReceiveBatchMax);
    if (count == 0) return 0;
    const uint64_t now = incoming_.RecordsLatencies() ? Clock::Ticks() : 0;
    for (uint16_t i = 0; i < count; ++i) {
      PrefetchForRead(receive_buffers_.At(receiveq_.Peek(i).id));
    }
    uint16_t taken = 0;
    while (taken < count) {
      const UsedBuffer entry = receiveq_.Peek(taken);
      const uint8_t* buffer = receive_buffers_.At(entry.id);
      uint16_t pieces;
      memcpy(&pieces, buffer + offsetof(virtio_net_hdr, num_buffers), sizeof(pieces));
      if (pieces <= 1) [[likely]] {
        incoming_.Check<touch>(buffer, entry.len - kVirtioHeaderBytes, now, counters_);
        ++taken;
        continue;
      }
      if (!CheckMergedFrame(taken, pieces, now)) break;
      taken = static_cast<uint16_t>(taken + pieces);
    }
    receiveq_.Repost(taken);
    if (taken > 0) receiveq_.Publish();
    return taken;
  }

  void KickIfWanted() override {
    if (!frontend_.has_value()) return;
    if (receiveq_.KickWanted()) frontend_->Kick(kReceiveq);
    if (transmitq_.KickWanted()) frontend_->Kick(kTransmitq);
  }

 private:
  std::optional<uint32_t> FreeTransmitBuffer() {
    if (transmitq_.Completed(1) > 0) {
      const uint32_t id = transmitq_.Peek(0).id;
      transmitq_.Take(1);
      return id;
    }
    if (fresh_ < transmit_buffers_.count()) return fresh_++;
    return std::nullopt;
  }

  // A frame in several buffers (virtio 1.2 §5.1.6.4); false if the rest of it has not been
  // published yet.
  bool CheckMergedFrame(uint16_t ahead, uint16_t pieces, uint64_t now) {
    if (pieces > receive_buffers_.count()) {
      Fail("%s: a frame claims %u buffers of a queue of %u", Name().c_str(), pieces,
           receive_buffers_.count());
    }
    const auto wanted = static_cast<uint16_t>(ahead + pieces);
    if (receiveq_.Completed(wanted) < wanted) return false;
    size_t bytes = 0;
    for (uint16_t i = 0; i < pieces; ++i) {
      const UsedBuffer entry = receiveq_.Peek(static_cast<uint16_t>(ahead + i));
      const size_t skipped = i == 0 ? kVirtioHeaderBytes : 0;
      // A length that is not possible shows as a wrong one: what is read stays within the buffer.
      const size_t inside = std::clamp<size_t>(entry.len, skipped, traffic_.buffer_bytes);
      pieces_[i] = {receive_buffers_.At(entry.id) + skipped, inside - skipped};
      bytes += entry.len;
    }
    incoming_.CheckPieces<touch>(pieces_[0].bytes - kVirtioHeaderBytes, pieces_.data(), pieces,
                                 bytes - kVirtioHeaderBytes, now, counters_);
    return true;
  }

  Ring receiveq_;
  Ring transmitq_;
  uint32_t fresh_ = 0;  // The first transmit buffer that was never posted.
  const uint16_t worthwhile_;
  std::vector<FramePiece> pieces_;
};

template <typename Ring>
std::unique_ptr<RingPort> MakeWith(size_t index, const Traffic& traffic) {
  if (traffic.touch == Touch::kBytes) {
    return std::make_unique<TypedRingPort<Ring, Touch::kBytes>>(index, traffic);
  }
  return std::make_unique<TypedRingPort<Ring, Touch::kHeaders>>(index, traffic);
}

size_t RingBytes(RingFormat format, uint16_t queue_size) {
  return format == RingFormat::kPacked ? PackedRing::MemoryBytes(queue_size)
                                       : SplitRing::MemoryBytes(queue_size);
}

}  // namespace

// A frame is sent from one buffer, however small the buffers are into which it is received.
BufferShape Traffic::TransmitShape() const {
  const size_t bytes = std::max(buffer_bytes, kVirtioHeaderBytes + frames.frame_bytes);
  const bool is_chain = frames.transport == Transport::kTcpSegments;
  // Only as much as a frame takes: the device is to see no empty pieces.
  if (is_chain)
    return {kVirtioHeaderBytes + frames.frame_bytes, kPieceBytes, BufferUse::kDeviceReads};
  return {bytes, bytes, BufferUse::kDeviceReads};
}

BufferShape Traffic::ReceiveShape() const {
  return {buffer_bytes, buffer_bytes, BufferUse::kDeviceWrites};
}

size_t RingPort::MemoryBytes(const Traffic& traffic) {
  return RingBytes(traffic.format, traffic.receive_queue_size) +
         RingBytes(traffic.format, traffic.transmit_queue_size) +
         Buffers::MemoryBytes(traffic.ReceiveShape(), traffic.receive_queue_size) +
         Buffers::MemoryBytes(traffic.TransmitShape(), traffic.transmit_queue_size);
}

std::unique_ptr<RingPort> RingPort::Make(size_t index, const Traffic& traffic) {
  return traffic.format == RingFormat::kPacked ? MakeWith<PackedRing>(index, traffic)
                                               : MakeWith<SplitRing>(index, traffic);
}

RingPort::RingPort(size_t index, const Traffic& traffic)
    : Port(index, traffic.frames),
      traffic_(traffic),
      memory_(traffic.memory, MemoryBytes(traffic)),
      receive_buffers_(memory_, traffic.ReceiveShape(), traffic.receive_queue_size),
      transmit_buffers_(memory_, traffic.TransmitShape(), traffic.transmit_queue_size) {
  for (uint32_t id = 0; id < transmit_buffers_.count(); ++id) {
    outgoing_.Prepare(transmit_buffers_.At(id), id);
    transmit_buffers_.SetPostedBytes(id, kVirtioHeaderBytes + traffic.frames.BytesOf(id));
  }
}

void RingPort::Attach(const std::string& socket_path, double timeout_s) {
  const FrontendWishes wishes{
      .packed = traffic_.format == RingFormat::kPacked,
      .segmentation = traffic_.frames.transport == Transport::kTcpSegments,
  };
  frontend_.emplace(socket_path, wishes);
  frontend_->Connect(timeout_s);
  frontend_->Start(memory_, {receiveq_layout(), transmitq_layout()});
}

std::string RingPort::Name() const {
  const std::string name = "port " + std::to_string(index_);
  return frontend_.has_value() ? name + " (" + frontend_->path() + ")" : name;
}

}  // namespace tsvswitch::bench
