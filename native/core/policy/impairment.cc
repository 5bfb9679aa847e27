// See impairment.h.

#include "core/policy/impairment.h"

#include <mutex>

#include "core/frame/work.h"
#include "core/policy/stages.h"
#include "core/policy/wire.h"

namespace tsvswitch {

namespace {

// A frame that is judged, held and released costs up to eight times what another one does: so many
// of them at a time, and transmitqs without impaired links are visited as often as if there were
// none.
constexpr uint32_t kLinkBatchFrames = kBatchFramesMax / 8;

Impairment* ImpairmentOf(const Port& port) { return port.policies.get<Impairment>(); }

std::unique_lock<Spinlock> Lock(Impairment& impairment, bool shared) {
  std::unique_lock<Spinlock> lock(impairment.lock, std::defer_lock);
  if (shared) lock.lock();
  return lock;
}

void EnterToPort(StageContext& context, Delivery& delivery, Link& link, Egress stage) {
  if (!delivery.held) delivery.from->batch_frames = kLinkBatchFrames;
  const Hop hop = {.stage = BitOf(stage), .from = delivery.from, .to = &delivery.to};
  context.work += WorkOf(delivery.frames, delivery.list);
  const auto lock = Lock(*ImpairmentOf(delivery.to), context.shared);
  context.wire->Enter(link, delivery.frames, &delivery.list, hop, *delivery.to.fates,
                      delivery.outcomes);
}

uint16_t SideOf(const Port& port) {
  const Impairment* const impairment = ImpairmentOf(port);
  return impairment == nullptr ? 0 : impairment->side;
}

}  // namespace

bool HasFromGuestLink(const Port& port) {
  const Impairment* const impairment = ImpairmentOf(port);
  return impairment != nullptr && impairment->from_guest != nullptr;
}

void RunFromGuestLink(StageContext& context, Queue& from, Batch& batch) {
  Impairment& impairment = *ImpairmentOf(*from.port);
  from.batch_frames = kLinkBatchFrames;
  FrameList list = batch.UnderWay();
  const Hop hop = {.stage = BitOf(Ingress::kFromGuestLink), .from = &from, .to = nullptr};
  context.work += WorkOf(batch.frames, list);
  const auto lock = Lock(impairment, context.shared);
  context.wire->Enter(*impairment.from_guest, batch.frames, &list, hop, *from.port->fates,
                      batch.outcomes);
}

bool HasPartition(const Port& port) { return SideOf(port) != 0; }

void RunPartition(StageContext&, Delivery& delivery) {
  const uint16_t side = SideOf(*delivery.from->port);
  if (side == 0 || side == SideOf(delivery.to)) return;
  for (uint32_t i = 0; i < delivery.list.count; ++i) {
    delivery.outcomes.End(delivery.list.frame[i], Fate::kPartitioned);
  }
  delivery.list.count = 0;
}

bool HasBetweenLink(const Port& port) {
  const Impairment* const impairment = ImpairmentOf(port);
  return impairment != nullptr && !impairment->from_port.empty();
}

void RunBetweenLink(StageContext& context, Delivery& delivery) {
  const auto& links = ImpairmentOf(delivery.to)->from_port;
  const auto link = links.find(delivery.from->port->number);
  if (link == links.end()) return;
  EnterToPort(context, delivery, *link->second, Egress::kBetweenLink);
}

bool HasToGuestLink(const Port& port) {
  const Impairment* const impairment = ImpairmentOf(port);
  return impairment != nullptr && impairment->to_guest != nullptr;
}

void RunToGuestLink(StageContext& context, Delivery& delivery) {
  EnterToPort(context, delivery, *ImpairmentOf(delivery.to)->to_guest, Egress::kToGuestLink);
}

}  // namespace tsvswitch
