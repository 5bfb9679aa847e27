// See held_frames.h.

#include "core/policy/held_frames.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "core/port/port.h"

namespace tsvswitch {

namespace {

uint8_t* MapChunks(size_t bytes) {
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert(mapped != MAP_FAILED);
  return static_cast<uint8_t*>(mapped);
}

}  // namespace

void HeldFrames::Unmap::operator()(uint8_t* data) const { munmap(data, bytes); }

HeldFrames::HeldFrames(uint32_t frames_max)
    : bytes_(MapChunks(size_t{frames_max} * kChunkBytes), Unmap{size_t{frames_max} * kChunkBytes}),
      next_chunk_(new uint32_t[frames_max]),
      heap_(new HeldFrame[frames_max]),
      free_chunks_(frames_max) {
  for (uint32_t chunk = 0; chunk < frames_max; ++chunk) next_chunk_[chunk] = chunk + 1;
}

bool HeldFrames::Allocate(uint32_t bytes, uint32_t* first) {
  const uint32_t chunks = (bytes + kChunkBytes - 1) / kChunkBytes;
  if (chunks > free_chunks_) return false;
  *first = free_chunk_;
  for (uint32_t i = 0; i < chunks; ++i) free_chunk_ = next_chunk_[free_chunk_];
  free_chunks_ -= chunks;
  return true;
}

void HeldFrames::Free(const HeldFrame& frame) {
  const uint32_t chunks = (frame.bytes + kChunkBytes - 1) / kChunkBytes;
  uint32_t last = frame.chunk;
  for (uint32_t i = 1; i < chunks; ++i) last = next_chunk_[last];
  next_chunk_[last] = free_chunk_;
  free_chunk_ = frame.chunk;
  free_chunks_ += chunks;
}

void HeldFrames::Push(HeldFrame frame) {
  frame.number = numbers_++;
  heap_[count_++] = frame;
  std::push_heap(&heap_[0], &heap_[count_], Later);
}

bool HeldFrames::Hold(const Parcel& parcel, uint32_t corrupted_bit, uint64_t due_ns, const Hop& hop,
                      Marks marks, uint16_t flooded_to) {
  HeldFrame frame = {.due_ns = due_ns,
                     .number = 0,
                     .chunk = 0,
                     .bytes = parcel.bytes(),
                     .hop = hop,
                     .marks = marks,
                     .flooded_to = flooded_to};
  // No frame is empty, so there are never more frames than chunks.
  if (!Allocate(frame.bytes, &frame.chunk)) return false;
  uint32_t chunk = frame.chunk;
  uint32_t used = 0;
  const auto put = [&](const uint8_t* from, uint32_t bytes) {
    while (bytes > 0) {
      if (used == kChunkBytes) {
        chunk = next_chunk_[chunk];
        used = 0;
      }
      const uint32_t part = std::min(bytes, kChunkBytes - used);
      std::memcpy(Chunk(chunk) + used, from, part);
      from += part;
      bytes -= part;
      used += part;
    }
  };
  ForEachPart(parcel.before, put);
  put(parcel.private_data, parcel.private_bytes);
  ForEachPart(parcel.after, put);
  if (corrupted_bit != kNoBit) {
    uint32_t spoilt = frame.chunk;
    uint32_t byte = corrupted_bit / 8;
    for (; byte >= kChunkBytes; byte -= kChunkBytes) spoilt = next_chunk_[spoilt];
    Chunk(spoilt)[byte] ^= static_cast<uint8_t>(1 << corrupted_bit % 8);
  }
  Push(frame);
  return true;
}

bool HeldFrames::TakeDue(uint64_t now_ns, HeldFrame* frame) {
  if (next_due_ns() > now_ns) return false;
  *frame = heap_[0];
  std::pop_heap(&heap_[0], &heap_[count_], Later);
  --count_;
  return true;
}

Slice HeldFrames::Body(const HeldFrame& frame, PieceStore& pieces) {
  const uint32_t first = pieces.used();
  uint32_t chunk = frame.chunk;
  for (uint32_t left = frame.bytes; left > 0;) {
    const uint32_t part = std::min(left, kChunkBytes);
    pieces.Append(Chunk(chunk), part);
    chunk = next_chunk_[chunk];
    left -= part;
  }
  return {pieces.at(first), 0, frame.bytes};
}

template <class Unwanted>
void HeldFrames::Remove(Unwanted unwanted) {
  // In order, which is also a heap.
  std::sort(&heap_[0], &heap_[count_], [](const auto& a, const auto& b) { return Later(b, a); });
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count_; ++i) {
    const HeldFrame frame = heap_[i];
    if (unwanted(frame)) {
      Free(frame);
    } else {
      heap_[kept++] = frame;
    }
  }
  count_ = kept;
}

void HeldFrames::Forget(const Port& port) {
  Remove([&port](const HeldFrame& frame) {
    return frame.hop.IsSwitched() ? frame.hop.to == &port : frame.hop.from->port == &port;
  });
}

uint32_t HeldFrames::GiveTo(HeldFrames& other, const Queue* transmitq) {
  PieceStore pieces;
  uint32_t lost = 0;
  Remove([&](const HeldFrame& frame) {
    if (transmitq != nullptr && frame.hop.from != transmitq) return false;
    pieces.Clear();
    Parcel parcel;
    PassFrame({}, Body(frame, pieces), &parcel);
    const bool held =
        other.Hold(parcel, kNoBit, frame.due_ns, frame.hop, frame.marks, frame.flooded_to);
    if (!held) ++lost;
    return true;
  });
  return lost;
}

}  // namespace tsvswitch
