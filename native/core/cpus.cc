// See cpus.h.

#include "cpus.h"

#include <dirent.h>
#include <sched.h>

#include <cstdlib>

namespace tsvswitch {

void LeaveCpus(const std::vector<int>& cpus) {
  cpu_set_t others;
  if (sched_getaffinity(0, sizeof(others), &others) != 0) return;
  for (const int cpu : cpus) {
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_CLR(static_cast<size_t>(cpu), &others);
  }
  if (CPU_COUNT(&others) == 0) return;
  DIR* const threads = opendir("/proc/self/task");
  if (threads == nullptr) return;
  while (const dirent* entry = readdir(threads)) {
    // 0, which would be the caller once more, for "." and "..".
    const int thread = std::atoi(entry->d_name);
    if (thread != 0) sched_setaffinity(thread, sizeof(others), &others);
  }
  closedir(threads);
}

}  // namespace tsvswitch
