// See notify.h.

#include "core/port/notify.h"

namespace tsvswitch {

namespace {

// False if the queue was broken already.
bool MarkBroken(Queue& queue, BreakReason reason) {
  BreakReason unbroken = BreakReason::kNone;
  return queue.broken.compare_exchange_strong(unbroken, reason, std::memory_order_relaxed);
}

}  // namespace

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

void NotifyDriver(Queue& queue) {
  LogRing(queue);
  if (queue.call_fd < 0 || !queue.end->CallWanted()) return;
  // Its other queues may be no better, and each would be blocked for.
  if (queue.port->eventfd_blocked.load(std::memory_order_relaxed)) return;
  queue.counters->Add(kNotifications, 1);
  if (!Call(queue)) NoteBlockedEventfd(*queue.port);
}

bool Call(const Queue& queue) {
  if (!queue.call_is_socket) [[likely]]
    return Signal(queue.call_fd);
  SignalSocket(queue.call_fd);
  return true;
}

void Break(Queue& queue, BreakReason reason, EventRing& events) {
  if (!MarkBroken(queue, reason)) return;
  const bool blocked = queue.err_fd >= 0 && !Signal(queue.err_fd);
  events.Push({.type = Event::Type::kQueueBroken,
               .reason = reason,
               .session = queue.port->session,
               .port = queue.port->number,
               .queue = queue.index});
  if (!blocked) return;
  NoteBlockedEventfd(*queue.port);
  GiveUpIfLost(*queue.port, events);
}

void NoteBlockedEventfd(Port& port) {
  port.eventfd_blocked.store(true, std::memory_order_relaxed);
  port.lost.fetch_add(1, std::memory_order_release);
}

void GiveUpIfLost(Port& port, EventRing& events) {
  const uint32_t lost = port.lost.load(std::memory_order_acquire);
  if (port.lost_handled.load(std::memory_order_relaxed) == lost) [[likely]]
    return;
  // Several workers may have met it; one of them reports it.
  if (port.lost_handled.exchange(lost, std::memory_order_relaxed) == lost) return;
  bool blocked = port.eventfd_blocked.load(std::memory_order_relaxed);
  const auto reason = blocked ? BreakReason::kEventfdBlocked : BreakReason::kMemoryLost;
  for (Queue& queue : port.queues) {
    // A frontend that blocks gets no further writes: each of its eventfds could block as long.
    if (MarkBroken(queue, reason) && queue.err_fd >= 0 && !blocked) blocked = !Signal(queue.err_fd);
  }
  port.eventfd_blocked.store(false, std::memory_order_relaxed);
  const auto type = blocked ? Event::Type::kEventfdBlocked : Event::Type::kMemoryLost;
  events.Push({.type = type, .reason = reason, .session = port.session, .port = port.number});
}

}  // namespace tsvswitch
