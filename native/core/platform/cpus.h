// Which CPUs the threads around the workers run on.
//
// A worker that polls has its CPU for itself only if nothing of its own process runs there: the
// scheduler gives each thread that wakes up on it a millisecond or more, in which thousands of
// frames wait.
//
// Thread: any. Source: sched_setaffinity(2).

#pragma once

#include <sched.h>

#include <string>
#include <vector>

namespace tsvswitch {

// Takes all threads that this process has now, and with them those that they start, off `cpus`:
// workers are pinned to theirs afterwards. Where no other CPU is left to them they stay, as they do
// where the kernel refuses.
void LeaveCpus(const std::vector<int>& cpus);

// The CPUs that workers may be given, such as "0-3,8": those of this process before it left any.
std::string AllowedCpus();
cpu_set_t AllowedCpuSet();

}  // namespace tsvswitch
