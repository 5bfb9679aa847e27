// See notify.h.

#include "core/port/notify.h"

namespace tsvswitch {

namespace {

// False if the queue was broken already.
bool MarkBroken(Queue& queue, BreakReason reason) {
  BreakReason whole = BreakReason::kNone;
  return queue.broken.compare_exchange_strong(whole, reason, std::memory_order_relaxed);
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

void HandedBack(Queue& queue) {
  LogRing(queue);
  if (queue.call_fd < 0 || !queue.ring->CallWanted()) return;
  // Its other queues may be no better, and each would be waited for.
  if (queue.port->made_wait.load(std::memory_order_relaxed)) return;
  queue.counters->Add(kNotifications, 1);
  if (!Call(queue)) NoteWait(*queue.port);
}

bool Call(const Queue& queue) {
  if (!queue.call_is_socket) [[likely]]
    return Signal(queue.call_fd);
  SignalSocket(queue.call_fd);
  return true;
}

void Break(Queue& queue, BreakReason reason, EventRing& events) {
  if (!MarkBroken(queue, reason)) return;
  const bool waited = queue.err_fd >= 0 && !Signal(queue.err_fd);
  events.Push({.type = Event::Type::kQueueBroken,
               .reason = reason,
               .session = queue.port->session,
               .port = queue.port->number,
               .queue = queue.index});
  if (!waited) return;
  NoteWait(*queue.port);
  GiveUpIfLost(*queue.port, events);
}

void NoteWait(Port& port) {
  port.made_wait.store(true, std::memory_order_relaxed);
  port.lost.fetch_add(1, std::memory_order_release);
}

void GiveUpIfLost(Port& port, EventRing& events) {
  const uint32_t lost = port.lost.load(std::memory_order_acquire);
  if (port.lost_handled.load(std::memory_order_relaxed) == lost) [[likely]]
    return;
  // Several workers may have met it; one of them tells.
  if (port.lost_handled.exchange(lost, std::memory_order_relaxed) == lost) return;
  bool waited = port.made_wait.load(std::memory_order_relaxed);
  const auto reason = waited ? BreakReason::kMadeWait : BreakReason::kMemoryLost;
  for (Queue& queue : port.queues) {
    // One that fills its eventfds is told nothing more, or each of them would be waited for.
    if (MarkBroken(queue, reason) && queue.err_fd >= 0 && !waited) waited = !Signal(queue.err_fd);
  }
  port.made_wait.store(false, std::memory_order_relaxed);
  const auto type = waited ? Event::Type::kMadeWait : Event::Type::kMemoryLost;
  events.Push({.type = type, .reason = reason, .session = port.session, .port = port.number});
}

}  // namespace tsvswitch
