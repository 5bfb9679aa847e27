// Reports what happens to a queue: to its driver (call), to its frontend (err, dirty log) and to
// the control plane (events).
//
// Thread: the worker that holds the queue.

#pragma once

#include "core/platform/eventfd.h"
#include "core/port/events.h"
#include "core/port/port.h"

namespace tsvswitch {

// After the part of a ring that is ours was written: marks it in the dirty log of a migrating
// guest.
void LogRing(const Queue& queue);

// After buffers were handed back: logs the part of the ring that was written, and calls the driver
// if it asked to be called.
void NotifyDriver(Queue& queue);

// Calls the driver through its call fd. False if that blocked.
bool Call(const Queue& queue);

// Gives up on a queue whose guest violated the specification. The first reason stays.
void Break(Queue& queue, BreakReason reason, EventRing& events);

// Notes that an eventfd of the port's frontend blocked a thread. No worker calls the port again
// until it is given up.
void NoteBlockedEventfd(Port& port);

// Gives up on a port, all its queues at once, if its memory was found truncated or one of its
// eventfds blocked since the last look.
void GiveUpIfLost(Port& port, EventRing& events);

}  // namespace tsvswitch
