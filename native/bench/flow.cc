// The rarer part of writing and judging frames. See flow.h.

#include "flow.h"

namespace tsvswitch::bench {

Counters operator+(const Counters& one, const Counters& other) {
  return {
      .sent = one.sent + other.sent,
      .delivered = one.delivered + other.delivered,
      .delivered_bytes = one.delivered_bytes + other.delivered_bytes,
      .lost = one.lost + other.lost,
      .reordered = one.reordered + other.reordered,
      .corrupt = one.corrupt + other.corrupt,
      .misdelivered = one.misdelivered + other.misdelivered,
      .hellos = one.hellos + other.hellos,
  };
}

Counters operator-(const Counters& later, const Counters& earlier) {
  return {
      .sent = later.sent - earlier.sent,
      .delivered = later.delivered - earlier.delivered,
      .delivered_bytes = later.delivered_bytes - earlier.delivered_bytes,
      .lost = later.lost - earlier.lost,
      .reordered = later.reordered - earlier.reordered,
      .corrupt = later.corrupt - earlier.corrupt,
      .misdelivered = later.misdelivered - earlier.misdelivered,
      .hellos = later.hellos - earlier.hellos,
  };
}

void OutgoingFlow::Prepare(uint8_t* buffer, uint32_t id) const {
  const size_t frame_bytes = shape_.BytesOf(id);
  WriteHeaders(buffer, shape_.transport, frame_bytes, from_port_, to_port_);
  const size_t offset = PayloadOffset(shape_.transport);
  WritePayload(buffer + kVirtioHeaderBytes + offset, frame_bytes - offset, 0);
}

bool IncomingFlow::PayloadIsWhole(const FramePiece* pieces, size_t piece_count,
                                  uint64_t sequence) const {
  // The first piece is longer than the headers: receive buffers are (options.cc).
  const size_t headers = PayloadOffset(shape_.transport);
  if (pieces[0].size < headers) return false;
  size_t offset = pieces[0].size - headers;
  if (!PayloadMatches(pieces[0].bytes + headers, 0, offset, sequence)) return false;
  for (size_t i = 1; i < piece_count; ++i) {
    if (!PayloadMatches(pieces[i].bytes, offset, pieces[i].size, sequence)) return false;
    offset += pieces[i].size;
  }
  return true;
}

void IncomingFlow::CountLatency(const uint8_t* frame, uint64_t now) {
  const uint64_t due = LoadU64(frame + StampOffset(shape_.transport));
  if (due < latencies_from_) return;
  latencies_->Add(now > due ? static_cast<double>(now - due) * ns_per_tick_ : 0);
}

void IncomingFlow::CountForeign(const uint8_t* frame, Counters& counters) const {
  const uint64_t sequence = LoadU64(frame + SequenceOffset(shape_.transport));
  if (sequence == kHelloSequence) return;  // A hello of another pair, flooded while learning.
  if (IsAddressedTo(frame, to_port_)) {
    ++counters.corrupt;
  } else {
    ++counters.misdelivered;
  }
}

}  // namespace tsvswitch::bench
