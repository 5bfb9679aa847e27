// Stages: what policies do to the frames of a batch, in an order that is these two lists.
//
// A stage is a function over all frames of a batch that are under way. It may end frames, put them
// aside to go on later (Fate::kHeld), or judge the private heads that it has asked for
// (Batch::Shield). A port has a bit for each stage its frames go through, in Port::ingress and
// Port::egress; a port without any pays one comparison with 0 for all.
//
//   taken ──► ingress stages ──► route ──► those behind it ──► per receiver: egress stages
//                                                          ──► deliver ──► those behind it
//
// Stages behind route and behind delivery see what became of every frame, and end none.
//
// A new policy is a file with the two functions of its row, and the row: RunName does what the
// stage does, HasName says whether a port needs it. What it keeps at a port has a slot (slots.h).
// Whoever changes that calls FindStages.
//
// Does not: decide where frames go, deliver (forward/). Thread: the worker whose batch it is;
// FindStages control, between rounds.

#pragma once

#include <bit>
#include <cstdint>

#include "core/frame/batch.h"
#include "core/port/events.h"
#include "core/port/port.h"

namespace tsvswitch {

class Wire;  // wire.h

// Of a port's guest, in this order.
#define TSVSWITCH_INGRESS_STAGES(X)                                             \
  X(Down)          /* down.cc: everything, of a port that is down */            \
  X(SourceRule)    /* source_guard.h: frames from others than it is bound to */ \
  X(FromGuestLink) /* impairment.h: what the link from the guest does */        \
  /* Behind route. */                                                           \
  X(RecordTaken) /* port_captures.h: frames and what became of them here */

// To a port, in this order.
#define TSVSWITCH_EGRESS_STAGES(X)                                             \
  X(Partition)   /* impairment.h: frames from another side */                  \
  X(BetweenLink) /* impairment.h: what the link from the sender's port does */ \
  X(ToGuestLink) /* impairment.h: what the link to the guest does */           \
  X(Mtu)         /* mtu.cc: frames longer than the guest takes */              \
  X(Down)        /* down.cc: everything, to a port that is down */             \
  /* Behind delivery. */                                                       \
  X(RecordGiven) /* port_captures.h: frames and what became of them here */

enum class Ingress : uint8_t {
#define X(name) k##name,
  TSVSWITCH_INGRESS_STAGES(X)
#undef X
};
enum class Egress : uint8_t {
#define X(name) k##name,
  TSVSWITCH_EGRESS_STAGES(X)
#undef X
};

constexpr uint32_t BitOf(Ingress stage) { return 1u << static_cast<uint32_t>(stage); }
constexpr uint32_t BitOf(Egress stage) { return 1u << static_cast<uint32_t>(stage); }
// All stages that come later.
constexpr uint32_t Behind(uint32_t stage_bit) { return ~(2 * stage_bit - 1); }

inline constexpr uint32_t kBehindRoute = BitOf(Ingress::kRecordTaken);
inline constexpr uint32_t kBehindDelivery = BitOf(Egress::kRecordGiven);
// Those that judge what a frame says and remember nothing of it. A frame that is taken anew, since
// its flood takes more than a turn, meets them again and no others.
inline constexpr uint32_t kJudgeContent = BitOf(Ingress::kSourceRule);

// What stages work with, of the worker that they run on.
struct StageContext {
  EventRing& events;
  bool shared;     // other workers may run stages of the same port
  uint64_t& work;  // what is done for the port whose turn it is (frame/work.h)
  Wire* wire;      // nullptr as long as no port has an impaired link
};

// The frames of a batch that go to one port.
struct Delivery {
  // The transmitq they came from. Once they were held it may be gone, and only names them.
  Queue* from;
  bool held;
  Port& to;
  const Frame* frames;
  const FrameList& all;
  FrameList list;  // those that are still under way
  Outcomes outcomes;
};

#define X(name)                                             \
  void Run##name(StageContext&, Queue& from, Batch& batch); \
  bool Has##name(const Port& port);
TSVSWITCH_INGRESS_STAGES(X)
#undef X
#define X(name)                                      \
  void Run##name(StageContext&, Delivery& delivery); \
  bool Has##name(const Port& port);
TSVSWITCH_EGRESS_STAGES(X)
#undef X

// Runs the stages of a set, in order.
void RunStages(uint32_t ingress, StageContext& context, Queue& from, Batch& batch);
void RunStages(uint32_t egress, StageContext& context, Delivery& delivery);

// Counts the frames of a list that have ended, by what became of them.
void CountDrops(FateCounters& counters, const Outcomes& outcomes, const FrameList& list);

// Gives a port the bits of the stages it needs. After every change of what a policy keeps there.
void FindStages(Port& port);

}  // namespace tsvswitch
