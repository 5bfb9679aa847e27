// See cpus.h.

#include "core/platform/cpus.h"

#include <dirent.h>
#include <sched.h>

#include <cstdlib>
#include <string>

namespace tsvswitch {
namespace {

// As it was when first asked for, which LeaveCpus does before it changes anything. Empty if the
// kernel does not say.
const cpu_set_t& CpusAtFirst() {
  static const cpu_set_t cpus = [] {
    cpu_set_t now;
    CPU_ZERO(&now);
    if (sched_getaffinity(0, sizeof(now), &now) != 0) CPU_ZERO(&now);
    return now;
  }();
  return cpus;
}

}  // namespace

void LeaveCpus(const std::vector<int>& cpus) {
  CpusAtFirst();
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

cpu_set_t AllowedCpuSet() { return CpusAtFirst(); }

std::string AllowedCpus() {
  const cpu_set_t& cpus = CpusAtFirst();
  const auto allowed = [&](int cpu) {
    return cpu < CPU_SETSIZE && CPU_ISSET(static_cast<size_t>(cpu), &cpus);
  };
  std::string list;
  for (int first = 0; first < CPU_SETSIZE; first++) {
    if (!allowed(first)) continue;
    int last = first;
    while (allowed(last + 1)) last++;
    list.append(list.empty() ? "" : ",").append(std::to_string(first));
    if (last > first) list.append("-").append(std::to_string(last));
    first = last;
  }
  return list;
}

}  // namespace tsvswitch
