// The two ends of a flow: what a port writes into the frames it sends, and how it judges those that
// arrive.
//
// Sequence numbers count up from 0, so a gap is a loss and a step back is reordering. An outgoing
// flow may have a schedule: then frame k after its start is due k intervals later, whether or not
// there was room to send it, and that time goes into the frame. Latency is counted from there, so a
// backend that stops taking frames cannot hide it. One frame in kFramesPerStamp bears a stamp and
// is counted: more would cost the client so much that it could not offer what a switch can take.
//
// Single threaded. Touch decides at compile time whether payloads are written and read.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "latency_histogram.h"

namespace tsvswitch::bench {

// How much of a frame the client writes and reads: the first cache line, or all of it.
enum class Touch { kHeaders, kBytes };

struct Counters {
  uint64_t sent = 0;
  uint64_t delivered = 0;
  uint64_t delivered_bytes = 0;
  uint64_t lost = 0;          // Gaps in the sequence numbers.
  uint64_t reordered = 0;     // Sequence numbers that went back or came twice.
  uint64_t corrupt = 0;       // Wrong length, header or payload; such a frame is a gap as well.
  uint64_t misdelivered = 0;  // Data frames of other flows, for example flooded ones.
  uint64_t hellos = 0;

  uint64_t errors() const { return reordered + corrupt + misdelivered; }
};

Counters operator+(const Counters& one, const Counters& other);
Counters operator-(const Counters& later, const Counters& earlier);

// A prime, so that frames at every place of a batch are among them.
constexpr uint64_t kFramesPerStamp = 7;
inline bool IsStamped(uint64_t sequence) { return sequence % kFramesPerStamp == 0; }

class OutgoingFlow {
 public:
  OutgoingFlow(size_t from_port, size_t to_port, const FrameShape& shape)
      : shape_(shape), from_port_(from_port), to_port_(to_port) {}

  // Writes headers and a valid payload into a buffer, which no device changes: once is enough.
  void Prepare(uint8_t* buffer, uint32_t id) const;

  static void MakeHello(uint8_t* buffer, const FrameShape& shape) {
    StoreU64(buffer + kVirtioHeaderBytes + SequenceOffset(shape.transport), kHelloSequence);
  }

  // Makes a prepared buffer the next frame of the flow.
  template <Touch touch>
  void Write(uint8_t* buffer, uint32_t id) {
    uint8_t* frame = buffer + kVirtioHeaderBytes;
    const uint64_t sequence = next_sequence_++;
    StoreU64(frame + SequenceOffset(shape_.transport), sequence);
    if (interval_ticks_ > 0 && IsStamped(sequence)) {
      StoreU64(frame + StampOffset(shape_.transport), NextDue());
    }
    if constexpr (touch == Touch::kBytes) {
      const size_t offset = PayloadOffset(shape_.transport);
      WritePayload(frame + offset, shape_.BytesOf(id) - offset, sequence);
    }
  }

  // From `start_ticks` on, one frame each `interval_ticks`.
  void Schedule(uint64_t start_ticks, double interval_ticks) {
    start_ticks_ = start_ticks;
    interval_ticks_ = interval_ticks;
    scheduled_from_ = next_sequence_;
  }

  // Frames that are not written yet become due that much later.
  void Postpone(uint64_t ticks) { start_ticks_ += ticks; }

  // How many frames are due and not written yet; only with a schedule.
  uint64_t DueBy(uint64_t now) const {
    if (now < start_ticks_) return 0;
    const auto due =
        static_cast<uint64_t>(static_cast<double>(now - start_ticks_) / interval_ticks_);
    const uint64_t written = next_sequence_ - scheduled_from_;
    return due > written ? due - written : 0;
  }

 private:
  // The stamp of the frame that was just given its number.
  uint64_t NextDue() const {
    const auto nth = static_cast<double>(next_sequence_ - scheduled_from_);
    return start_ticks_ + static_cast<uint64_t>(nth * interval_ticks_);
  }

  const FrameShape shape_;
  const size_t from_port_;
  const size_t to_port_;
  uint64_t next_sequence_ = 0;
  uint64_t scheduled_from_ = 0;
  uint64_t start_ticks_ = 0;
  double interval_ticks_ = 0;  // 0: no schedule, no stamps.
};

// Bytes of a frame where they lie, in order; the first piece holds all headers.
struct FramePiece {
  const uint8_t* bytes;
  size_t size;
};

class IncomingFlow {
 public:
  IncomingFlow(size_t from_port, size_t to_port, const FrameShape& shape)
      : shape_(shape), to_port_(to_port), header_(from_port, to_port) {}

  // Counts latencies from here on; undone by nullptr.
  void RecordLatencies(LatencyHistogram* latencies, double ns_per_tick) {
    latencies_ = latencies;
    ns_per_tick_ = ns_per_tick;
  }
  // Leaves out frames that were due before `ticks`.
  void IgnoreLatenciesBefore(uint64_t ticks) { latencies_from_ = ticks; }
  bool RecordsLatencies() const { return latencies_ != nullptr; }

  // A frame behind a virtio-net header in one buffer, of `frame_bytes` without that header. `now`
  // is used only while latencies are recorded.
  template <Touch touch>
  void Check(const uint8_t* buffer, size_t frame_bytes, uint64_t now, Counters& counters) {
    const FramePiece piece{buffer + kVirtioHeaderBytes, frame_bytes};
    CheckPieces<touch>(buffer, &piece, 1, frame_bytes, now, counters);
  }

  // A frame in several pieces; the first one is what follows the virtio-net header in `buffer`.
  template <Touch touch>
  void CheckPieces(const uint8_t* buffer, const FramePiece* pieces, size_t piece_count,
                   size_t frame_bytes, uint64_t now, Counters& counters) {
    const uint8_t* frame = buffer + kVirtioHeaderBytes;
    if (!header_.Matches(frame)) [[unlikely]]
      return CountForeign(frame, counters);
    const uint64_t sequence = LoadU64(frame + SequenceOffset(shape_.transport));
    if (sequence == kHelloSequence) [[unlikely]] {
      ++counters.hellos;
      return;
    }
    const size_t expected_bytes = shape_.is_imix ? SaidBytes(frame) : shape_.frame_bytes;
    if (frame_bytes != expected_bytes || !SegmentsMatch(buffer, shape_.transport)) [[unlikely]] {
      ++counters.corrupt;
      return;
    }
    if constexpr (touch == Touch::kBytes) {
      if (!PayloadIsWhole(pieces, piece_count, sequence)) [[unlikely]] {
        ++counters.corrupt;
        return;
      }
    }
    if (sequence < expected_sequence_) [[unlikely]] {
      ++counters.reordered;
      return;
    }
    ++counters.delivered;
    counters.delivered_bytes += frame_bytes;
    counters.lost += sequence - expected_sequence_;
    expected_sequence_ = sequence + 1;
    if (latencies_ != nullptr && IsStamped(sequence)) CountLatency(frame, now);
  }

 private:
  bool PayloadIsWhole(const FramePiece* pieces, size_t piece_count, uint64_t sequence) const;
  void CountLatency(const uint8_t* frame, uint64_t now);
  // Anything that is not from this port's partner to this port.
  void CountForeign(const uint8_t* frame, Counters& counters) const;

  const FrameShape shape_;
  const size_t to_port_;
  const EthernetHeader header_;
  uint64_t expected_sequence_ = 0;
  LatencyHistogram* latencies_ = nullptr;
  double ns_per_tick_ = 0;
  uint64_t latencies_from_ = 0;
};

}  // namespace tsvswitch::bench
