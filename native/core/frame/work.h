// Work: what frames cost a worker, as a number. One is about a nanosecond of an ordinary machine.
//
// It is counted, never measured, so that the same frames always cost the same and a test can say
// what a turn had in it. What a guest can make long is in it: descriptors that are walked, bytes
// that are copied or summed, segments that are cut, receivers that a frame goes to. A port's turn
// ends when its work is used up (worker.h), a batch is cut where its own is (forward.h).
//
// Bounds that hold beside: one chain has at most 65,536 descriptors, one frame is at most 65,550
// bytes or 2,048 segments, and what a receiver's buffers may cost is in deliver.h. So a turn has at
// most kTurnWork, one batch more, and one frame more.

#pragma once

#include <cstdint>

#include "core/frame/frame.h"

namespace tsvswitch {

// Of a port, in one round. The ports that used theirs up share as much in the next one.
inline constexpr uint64_t kTurnWork = 1 << 20;
// Of a batch: a full one of the longest plain frames for one receiver has less.
inline constexpr uint64_t kBatchWork = 3 * kTurnWork / 4;

inline constexpr uint64_t kFrameWork = 25;
inline constexpr uint64_t kQueueWork = 500;  // a batch taken from it or given to it, with the call
inline constexpr uint64_t kDescriptorWork = 12;
inline constexpr uint64_t kSegmentWork = 120;

inline uint64_t BytesWork(uint64_t bytes) { return bytes >> 3; }

// How many segments a frame may be cut into, beyond those that its bytes pay for.
inline uint64_t SegmentsWork(const Offload& offload, uint32_t frame_bytes) {
  constexpr uint32_t kPaidFor = 64;
  if (offload.header.gso_type == VIRTIO_NET_HDR_GSO_NONE || offload.header.gso_size == 0) return 0;
  const uint32_t segments = frame_bytes / offload.header.gso_size;
  return segments <= kPaidFor ? 0 : (segments - kPaidFor) * kSegmentWork;
}

// What a frame costs whoever passes it on.
inline uint64_t WorkOf(const Frame& frame) {
  return kFrameWork + BytesWork(frame.body.bytes) + SegmentsWork(frame.offload, frame.body.bytes);
}
inline uint64_t WorkOf(const Frame* frames, const FrameList& list) {
  uint64_t work = 0;
  for (uint32_t i = 0; i < list.count; ++i) work += WorkOf(frames[list.frame[i]]);
  return work;
}

}  // namespace tsvswitch
