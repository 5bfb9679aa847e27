// See batch.h.

#include "core/frame/batch.h"

namespace tsvswitch {

FrameList Batch::All() const {
  FrameList list;
  for (uint32_t i = 0; i < count; ++i) list.Append(i);
  return list;
}

FrameList Batch::UnderWay() const {
  FrameList list;
  for (uint32_t i = 0; i < count; ++i) {
    if (outcomes.IsUnderWay(i)) list.Append(i);
  }
  return list;
}

void Batch::Shield() {
  if (shielded_) return;
  shielded_ = true;
  if (heads_ == nullptr) heads_.reset(new Heads);
  uint32_t used = 0;
  for (uint32_t i = 0; i < count; ++i) {
    if (!outcomes.IsUnderWay(i)) continue;
    Frame& frame = frames[i];
    uint8_t* const head = heads_->bytes[i];
    const uint32_t head_bytes = Gather(frame.body, head, kPacketHeaderBytesMax);
    Slice rest = frame.body;
    TakeFront(&rest, head_bytes);
    Piece* const first = &heads_->pieces[used];
    heads_->pieces[used++] = {head, head_bytes};
    ForEachPart(rest, [&](const uint8_t* data, uint32_t bytes) {
      // Pieces are of receive buffers too; those of a frame are only read.
      heads_->pieces[used++] = {const_cast<uint8_t*>(data), bytes};
    });
    frame.body = {first, 0, frame.body.bytes};
    frame.destination = LoadMac(head);
    frame.source = LoadMac(head + 6);
  }
}

}  // namespace tsvswitch
