// See frame_ring.h.

#include "core/port/frame_ring.h"

#include <cstring>

namespace tsvswitch {

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
