// See frame_ring.h.

#include "core/port/frame_ring.h"

#include <cstring>

namespace tsvswitch {

uint32_t FrameRing::RoomBytes() const {
  return bytes_max_ - static_cast<uint32_t>(reserved_ - read_.load(std::memory_order_seq_cst));
}

uint8_t* FrameRing::Reserve(uint32_t bytes) {
  const uint32_t wanted = RecordBytes(bytes);
  const uint32_t to_end = BytesToEnd(reserved_);
  const uint32_t skipped = wanted > to_end ? to_end : 0;
  if (RoomBytes() < skipped + wanted) return nullptr;
  if (skipped != 0) {
    std::memcpy(At(reserved_), &kSkip, sizeof(kSkip));
    reserved_ += skipped;
  }
  std::memcpy(At(reserved_), &bytes, sizeof(bytes));
  uint8_t* const frame = At(reserved_) + kLengthBytes;
  reserved_ += wanted;
  return frame;
}

uint32_t FrameRing::NextBytes() {
  if (taken_ == written_.load(std::memory_order_seq_cst)) return 0;
  uint32_t bytes;
  std::memcpy(&bytes, At(taken_), sizeof(bytes));
  if (bytes != kSkip) return bytes;
  // A skip and the frame behind it are published together.
  taken_ += BytesToEnd(taken_);
  std::memcpy(&bytes, At(taken_), sizeof(bytes));
  return bytes;
}

uint8_t* FrameRing::Take(uint32_t* bytes) {
  *bytes = NextBytes();
  if (*bytes == 0) return nullptr;
  uint8_t* const frame = At(taken_) + kLengthBytes;
  taken_ += RecordBytes(*bytes);
  return frame;
}

}  // namespace tsvswitch
