// Eventfds of frontends, and sockets in their place: recognizes them, and writes to them without
// being blocked by them.
//
// Whether a write waits for room in the counter is up to O_NONBLOCK, a flag of the open file, which
// the frontend shares: it may clear the flag at any moment, fill the counter and never empty it. No
// write can ask by itself not to wait (eventfds know no RWF_NOWAIT), the file cannot be opened
// anew, and between a look and the write a second thread of the frontend has its chance. So a write
// that waits is interrupted: a timer of the writing thread sends it a signal every kTickMs, the
// write returns, and whoever made it learns that it waited. That is the frontend's doing, always: a
// write to any other eventfd does not wait and so cannot be interrupted. Nor does it help to make
// writes wait for less: whatever the pattern, ticks meet it before the waits add up to much more
// than kTickMs.
//
// A worker's timer runs while the worker writes, and a tick without a write since the one before
// stops it: a write costs a few instructions more, and a worker that sleeps is left asleep. Any
// other thread is the embedding program's: there the timer is stopped after each write, and no
// system call of the program's own is interrupted.
//
// The signal is the highest real-time signal whose action is still the default when the first timer
// is made: nobody's handler is replaced. Ours does nothing for any other thread and stays in place.
// Where there is no signal or no timer to be had, full eventfds are not written to, which leaves
// the frontend the moment between the look and the write.
//
// A stream socket of the UNIX family is what Linux's virtio_uml is called through, whose host tells
// it nothing of an eventfd by a signal. A write asks by itself not to wait there, and the kernel
// copies to the peer's memory under no lock that it takes for us.
//
// Nothing else: a file of a file system that the frontend runs itself, or a pipe that it reads into
// memory which it holds back, may hold up a thread where no signal reaches it.
//
// Thread: any. Sources: eventfd(2), timer_create(2), signal(7).

#pragma once

#include <cstdint>

namespace tsvswitch {

// No longer than this is waited for a frontend, however busy the machine is with other things.
inline constexpr uint32_t kTickMs = 50;

bool IsEventfd(int fd);

// Of the UNIX family, and not waiting for connections.
bool IsStreamSocket(int fd);

// Adds one to an eventfd; a full counter is a pending signal and stays as it is. False if that had
// to wait.
bool Signal(int eventfd);

// Sends eight bytes; a peer that has not read the ones before loses nothing by what finds no room,
// nor one that is gone.
void SignalSocket(int socket);

// The calling thread is a worker, and makes its timer now.
void ExpectSignals();

}  // namespace tsvswitch
