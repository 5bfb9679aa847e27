// What others are told about a queue: its driver (call), its frontend (err, dirty log) and the control
// plane (events).
//
// Thread: the worker that holds the queue.

#pragma once

#include "events.h"
#include "port.h"

namespace tsvswitch {

// Adds one to an eventfd without waiting. A full counter is a pending signal; any other failure is the
// loss of whoever passed the fd.
void Signal(int eventfd);

// After the part of a ring that is ours was written: marks it in the dirty log of a migrating guest.
void LogRing(const Queue& queue);

// After something was handed back: logs the part of the ring that was written, and calls the driver if it
// asked to be called.
void HandedBack(Queue& queue);

// Gives up on a queue whose guest violated the specification. The first reason stays.
void Break(Queue& queue, BreakReason reason, EventRing& events);

// Breaks all queues of a port whose memory was found truncated since the last look.
void HandleLostMemory(Port& port, EventRing& events);

}  // namespace tsvswitch
