// See process_queue.h.

#include "core/port/process_queue.h"

#include <cassert>
#include <cstring>

namespace tsvswitch {

bool ProcessTransmitq::Send(const uint8_t* frame, uint32_t bytes) {
  assert(bytes >= kFrameBytesMin && bytes <= kFrameBytesMax);
  uint8_t* const place = ring_.Reserve(header_bytes_ + bytes);
  if (place == nullptr) return false;
  std::memset(place, 0, header_bytes_);
  std::memcpy(place + header_bytes_, frame, bytes);
  return true;
}

bool ProcessTransmitq::PublishSent() {
  ring_.Publish();
  return kick_wanted_.load(std::memory_order_seq_cst);
}

uint32_t ProcessTransmitq::Take(uint32_t max, Chain* chains, PieceStore& pieces, BreakReason*) {
  uint32_t taken = 0;
  for (; taken < max; ++taken) {
    uint32_t bytes;
    places_[taken] = ring_.taken();
    uint8_t* const frame = ring_.Take(&bytes);
    if (frame == nullptr) break;
    chains[taken] = {
        .first_piece = pieces.used(), .piece_count = 1, .bytes = bytes, .id = 0, .descriptors = 0};
    pieces.Append(frame, bytes);
  }
  taken_ = taken;
  return taken;
}

uint32_t ProcessReceiveq::NextBytes() {
  const uint32_t bytes = ring_.NextBytes();
  return bytes == 0 ? 0 : bytes - header_bytes_;
}

const uint8_t* ProcessReceiveq::Next() {
  uint32_t bytes;
  const uint8_t* const frame = ring_.Take(&bytes);
  assert(frame != nullptr);
  return frame + header_bytes_;
}

uint32_t ProcessReceiveq::Claim(const uint32_t* bytes, uint32_t count, Landing* landings,
                                PieceStore&, BreakReason*) {
  uint32_t claimed = 0;
  for (; claimed < count; ++claimed) {
    uint8_t* const place = ring_.Reserve(bytes[claimed]);
    if (place == nullptr) {
      // Smaller frames may find room; the reader makes more for those like this one.
      chains_short_ = ring_.RoomFrames(kFrameBytesMin);
      claim_end_ = chains_short_ == 0 ? ClaimEnd::kNothingOffered : ClaimEnd::kFrameTooLarge;
      merged_bytes_max_ = kChainBytesMax;
      break;
    }
    landings[claimed] = {.data = place, .first_piece = 0, .piece_count = 0, .num_buffers = 1};
  }
  return claimed;
}

}  // namespace tsvswitch
