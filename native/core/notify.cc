// Eventfds are written without waiting, unless their frontend has undone what made them non-blocking.

#include "notify.h"

#include <unistd.h>

namespace tsvswitch {

void Signal(int eventfd) {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(eventfd, &one, sizeof(one));
}

void LogRing(const Queue& queue) {
  if (!queue.port->Logs() || queue.addresses.used_log == GuestMemory::kNoGuestAddress) [[likely]] {
    return;
  }
  // The whole of what we write: a few pages, whatever was written in them.
  const Port& port = *queue.port;
  const Virtqueue::Layout layout = queue.ring->LayoutOf(queue.size);
  port.dirty_log->Mark(queue.addresses.used_log, layout.used_bytes);
  if (const void* descriptors = queue.ring->WrittenDescriptors(); descriptors != nullptr) {
    port.dirty_log->Mark(port.memory->GuestAddressOf(static_cast<const uint8_t*>(descriptors)),
                         layout.desc_bytes);
  }
}

void HandedBack(Queue& queue) {
  LogRing(queue);
  if (queue.call_fd < 0 || !queue.ring->CallWanted()) return;
  Signal(queue.call_fd);
  queue.counters->Add(kNotifications, 1);
}

void Break(Queue& queue, BreakReason reason, EventRing& events) {
  BreakReason whole = BreakReason::kNone;
  if (!queue.broken.compare_exchange_strong(whole, reason, std::memory_order_relaxed)) return;
  if (queue.err_fd >= 0) Signal(queue.err_fd);
  events.Push({.type = Event::Type::kQueueBroken,
               .reason = reason,
               .port = queue.port->number,
               .queue = queue.index});
}

void HandleLostMemory(Port& port, EventRing& events) {
  const uint32_t lost = port.lost.load(std::memory_order_acquire);
  if (port.lost_handled.load(std::memory_order_relaxed) == lost) [[likely]] return;
  // Several workers may have met it; one of them tells.
  if (port.lost_handled.exchange(lost, std::memory_order_relaxed) == lost) return;
  for (Queue& queue : port.queues) Break(queue, BreakReason::kMemoryLost, events);
  events.Push({.type = Event::Type::kMemoryLost, .port = port.number});
}

}  // namespace tsvswitch
