// System call filters (seccomp): they limit an attacker who has made a worker, or the process
// around it, run his code.
//
// A worker reads what guests write and needs some twenty calls: its filter is the list of them. The
// process is Node.js, whose calls change with each of its versions and with the C library's, so
// that a list of them would break with the next one: its filter is the list of what a switch never
// does and an attacker would want (programs, other processes, other networks, mounts, kernel
// modules). A worker of such a process has both filters.
//
// What is denied fails with EPERM and goes on. A filter that ends the process instead would turn
// every call that a new C library tries first, with something to fall back on, into the end of the
// network; and it would gain little, as whoever controls one thread has the memory of all. The
// kernel's audit log shows what workers were denied.
//
// Does not: restrict files or memory, or undo what was opened before. A filter cannot be taken off
// again. Thread: any; see each. Sources: seccomp(2), prctl(2), core(5); fs/coredump.c of Linux.

#pragma once

namespace tsvswitch {

// For the calling thread. False if the kernel does not do it; errno says why.
bool ConfineWorker();

// For all threads of the process, those to come included; and no core file is written of it, as
// frames of guests would be in it. To be called before workers are confined, whose filters would
// differ.
bool ConfineProcess();

}  // namespace tsvswitch
