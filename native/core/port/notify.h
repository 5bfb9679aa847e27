// What others are told about a queue: its driver (call), its frontend (err, dirty log) and the
// control plane (events).
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

// After something was handed back: logs the part of the ring that was written, and calls the driver
// if it asked to be called.
void HandedBack(Queue& queue);

// Calls the driver through what its frontend gave for it. False if that had to wait.
bool Call(const Queue& queue);

// Gives up on a queue whose guest violated the specification. The first reason stays.
void Break(Queue& queue, BreakReason reason, EventRing& events);

// Notes that a thread had to wait for an eventfd of the port's frontend. No worker calls the port
// again until it is given up.
void NoteWait(Port& port);

// Gives up on a port, all its queues at once, if its memory was found truncated or somebody had to
// wait for its frontend since the last look.
void GiveUpIfLost(Port& port, EventRing& events);

}  // namespace tsvswitch
