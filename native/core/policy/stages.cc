// See stages.h.

#include "core/policy/stages.h"

namespace tsvswitch {

namespace {

using IngressStage = void (*)(StageContext&, Queue&, Batch&);
using EgressStage = void (*)(StageContext&, Delivery&);

constexpr IngressStage kIngress[] = {
#define X(name) Run##name,
    TSVSWITCH_INGRESS_STAGES(X)
#undef X
};
constexpr EgressStage kEgress[] = {
#define X(name) Run##name,
    TSVSWITCH_EGRESS_STAGES(X)
#undef X
};

}  // namespace

// At most 32 turns, as in the next one.
void RunStages(uint32_t ingress, StageContext& context, Queue& from, Batch& batch) {
  for (uint32_t bits = ingress; bits != 0; bits &= bits - 1) {
    kIngress[std::countr_zero(bits)](context, from, batch);
  }
}

void RunStages(uint32_t egress, StageContext& context, Delivery& delivery) {
  for (uint32_t bits = egress; bits != 0; bits &= bits - 1) {
    kEgress[std::countr_zero(bits)](context, delivery);
  }
}

// One addition for each reason: other workers may add to the same counters.
void CountDrops(FateCounters& counters, const Outcomes& outcomes, const FrameList& list) {
  uint8_t frames[kFates] = {};
  static_assert(kBatchFramesMax <= 0xff);
  for (uint32_t i = 0; i < list.count; ++i) {
    ++frames[static_cast<uint32_t>(outcomes.fate[list.frame[i]])];
  }
  for (auto fate = static_cast<uint8_t>(kFirstDrop); fate < kFates; ++fate) {
    if (frames[fate] != 0) counters.Add(static_cast<Fate>(fate), frames[fate]);
  }
}

void FindStages(Port& port) {
  port.ingress = port.egress = 0;
#define X(name) \
  if (Has##name(port)) port.ingress |= BitOf(Ingress::k##name);
  TSVSWITCH_INGRESS_STAGES(X)
#undef X
#define X(name) \
  if (Has##name(port)) port.egress |= BitOf(Egress::k##name);
  TSVSWITCH_EGRESS_STAGES(X)
#undef X
}

}  // namespace tsvswitch
