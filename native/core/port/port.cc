// See port.h.

#include "core/port/port.h"

#include "core/port/process_queue.h"

namespace tsvswitch {

Port::Port(uint32_t queue_pairs)
    : queues(2 * queue_pairs), counters(new QueueCounters[2 * queue_pairs]()) {}
Port::~Port() = default;

void Queue::Hold(std::unique_ptr<Virtqueue>& of) {
  ring.swap(of);
  source = ring.get();
  sink = ring.get();
  // Of which kind it is not asked: both ends of a ring are the same queue of the driver's.
  end = source;
}

void Port::FindReceivers() {
  receivers.clear();
  for (Queue& queue : queues) {
    if (queue.is_transmitq() || queue.is_control || !queue.started || !queue.enabled) continue;
    if (queue.index / 2 < controlled.pairs) receivers.push_back(&queue);
  }
}

}  // namespace tsvswitch
