// The stages Down: nothing goes through a port that its operator has taken down.
//
// First from its guest, so that a port that is down teaches the bridge nothing, and last to it, so
// that what links hold back does not arrive either. The guest is told nothing: vhost-user has no
// word for it.
//
// Thread: the worker whose batch it is.

#include "core/policy/stages.h"

namespace tsvswitch {

bool HasDown(const Port& port) { return port.down; }

void RunDown(StageContext&, Queue&, Batch& batch) {
  for (uint32_t i = 0; i < batch.count; ++i) {
    if (batch.outcomes.IsUnderWay(i)) batch.End(i, Fate::kDown);
  }
}

void RunDown(StageContext&, Delivery& delivery) {
  for (uint32_t i = 0; i < delivery.list.count; ++i) {
    delivery.outcomes.End(delivery.list.frame[i], Fate::kDown);
  }
  delivery.list.count = 0;
}

}  // namespace tsvswitch
