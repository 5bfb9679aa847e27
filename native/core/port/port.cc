// See port.h.

#include "core/port/port.h"

namespace tsvswitch {

void Port::FindReceivers() {
  receivers.clear();
  for (Queue& queue : queues) {
    if (queue.is_transmitq() || queue.is_control || !queue.started || !queue.enabled) continue;
    if (queue.index / 2 < controlled.pairs) receivers.push_back(&queue);
  }
}

}  // namespace tsvswitch
