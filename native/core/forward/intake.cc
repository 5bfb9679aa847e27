// See intake.h.

#include "core/forward/intake.h"

#include <algorithm>
#include <cstring>

#include "core/platform/checks.h"
#include "core/policy/port_captures.h"

namespace tsvswitch {

uint32_t Intake::Parse(const Queue& from, uint32_t taken, Batch& batch) {
  const uint32_t header_bytes = from.source->header_bytes();
  uint64_t sum = 0;
  uint32_t frames = 0;
  malformed_count_ = 0;
  work = 0;
  for (uint32_t i = 0; i < taken; ++i) {
    Frame& frame = batch.frames[frames];
    if (!ParseChain(from, chains[i], header_bytes, frames == 0, frame)) [[unlikely]] {
      if (!over_work_) continue;
      over_work_ = false;
      taken = i;
      break;
    }
    sum += frame.body.bytes;
    ++frames;
  }
  bytes = sum;
  batch.count = frames;
  return taken;
}

// False if it is no frame, or one too many for the batch.
bool Intake::ParseChain(const Queue& from, const Chain& chain, uint32_t header_bytes, bool first,
                        Frame& frame) {
  const uint32_t start_bytes = header_bytes + kFrameBytesMin;
  if (!BoundsHold(chain.bytes >= start_bytes)) [[unlikely]] {
    return Malformed(chain, Fate::kTooShort);
  }
  if (!BoundsHold(chain.bytes <= header_bytes + kFrameBytesMax)) [[unlikely]] {
    return Malformed(chain, Fate::kTooLong);
  }
  const Piece* piece = pieces_.at(chain.first_piece);
  frame.body = {piece, 0, chain.bytes};
  uint8_t gathered[sizeof(VirtioNetHdr) + kFrameBytesMin];
  const uint8_t* start = piece->data;
  if (piece->bytes >= start_bytes) [[likely]] {
    frame.body.skip = header_bytes;
    frame.body.bytes -= header_bytes;
  } else {
    Gather(frame.body, gathered, start_bytes);
    TakeFront(&frame.body, header_bytes);
    start = gathered;
  }
  frame.offload = {};
  // Judged in a register: a header put together in memory would be read back before its stores are
  // done.
  uint64_t front;
  std::memcpy(&front, start, sizeof(front));
  if (!IsPlain(front)) [[unlikely]] {
    if (!ParseOffload(from, chain, start, first, frame)) return false;
  }
  frame.destination = LoadMac(start + header_bytes);
  frame.source = LoadMac(start + header_bytes + 6);
  return true;
}

// The header at `start` and the frame behind it; false as ParseChain.
bool Intake::ParseOffload(const Queue& from, const Chain& chain, const uint8_t* start, bool first,
                          Frame& frame) {
  VirtioNetHdr header = {};
  constexpr size_t kFrontBytes = offsetof(VirtioNetHdr, csum_offset);
  std::memcpy(&header, start, kFrontBytes);
  std::memcpy(&header.csum_offset, start + kFrontBytes, sizeof(header.csum_offset));
  if (CheckOffload(header, from.port->features, frame.body, &frame.offload) !=
      OffloadVerdict::kOk) {
    return Malformed(chain, Fate::kBadHeader);
  }
  const uint64_t added = SegmentsWork(frame.offload, frame.body.bytes);
  if (!first && work + added > work_max) {
    over_work_ = true;
    return false;
  }
  work += added;
  return true;
}

bool Intake::Malformed(const Chain& chain, Fate why) {
  malformed_[malformed_count_++] = {&chain, why};
  return false;
}

uint32_t Intake::CutTo(uint32_t frames, Batch& batch) {
  batch.count = frames;
  bytes = 0;
  for (uint32_t i = 0; i < frames; ++i) bytes += batch.frames[i].body.bytes;
  // Chains and frames are in one order, with malformed chains between them.
  uint32_t left = frames;
  uint32_t malformed = 0;
  while (malformed < malformed_count_ && malformed_[malformed].chain < chains + left) {
    ++malformed;
    ++left;
  }
  malformed_count_ = malformed;
  return left;
}

void Intake::CountMalformed(Queue& from) {
  const uint32_t header_bytes = from.source->header_bytes();
  for (uint32_t i = 0; i < malformed_count_; ++i) {
    const Chain& chain = *malformed_[i].chain;
    from.port->fates->Add(malformed_[i].why, 1);
    Slice rest = {pieces_.at(chain.first_piece), 0, chain.bytes};
    TakeFront(&rest, std::min(header_bytes, chain.bytes));
    RecordMalformed(*from.port, rest, malformed_[i].why);
  }
}

void Intake::Put(uint8_t* frame, uint32_t frame_bytes, Batch& batch) {
  pieces_.Clear();
  pieces_.Append(frame, frame_bytes);
  batch.count = 1;
  batch.frames[0] = {.destination = LoadMac(frame),
                     .source = LoadMac(frame + 6),
                     .body = {pieces_.at(0), 0, frame_bytes},
                     .offload = {}};
}

}  // namespace tsvswitch
