// Keeps the frames of a port to the sources it is bound to: a stage between parse and route, for
// ports that have a rule only.
//
// The guest may change a frame between the judgement and its delivery. So the head of a frame,
// which is all that was judged, is copied first, and from there on the frame consists of this copy
// and of what follows it in guest memory: the bytes judged are those routed and delivered. That
// costs a second copy of at most kPacketHeaderBytesMax bytes a frame.
//
// Does not: judge (source_rule.h). Thread: the worker that owns it.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "core/frame/frame.h"
#include "core/frame/packet_headers.h"
#include "core/policy/source_rule.h"
#include "core/port/events.h"
#include "core/port/port.h"

namespace tsvswitch {

// The sources a port is bound to. `reported`: the counters of spoofed sources that this session has
// had an event for.
struct Sources {
  explicit Sources(SourceRule r) : rule(std::move(r)) {}
  const SourceRule rule;
  std::atomic<uint32_t> reported{0};
};

class SourceGuard {
 public:
  // Leaves in frames[0..returned) what may pass; the rest is counted, recorded and, the first time
  // in a session, reported. The frames are valid until the next call.
  uint32_t Admit(Queue& from, Frame* frames, uint32_t count, EventRing& events);

 private:
  void Shield(Frame& frame, uint32_t number);
  static void Refuse(Queue& from, const Frame& frame, const SpoofedSource& spoofed,
                     EventRing& events);

  uint8_t heads_[kBatchFramesMax][kPacketHeaderBytesMax];
  // A frame has at most one piece more than its sender gave it.
  std::unique_ptr<Piece[]> pieces_{new Piece[PieceStore::kCapacity + kBatchFramesMax]};
  uint32_t used_ = 0;
};

}  // namespace tsvswitch
