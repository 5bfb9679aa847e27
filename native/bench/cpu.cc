// See cpu.h.

#include "cpu.h"

#include <sched.h>

#include "failure.h"

namespace tsvswitch::bench {

void PinThread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) FailErrno("CPU %d cannot be used", cpu);
}

}  // namespace tsvswitch::bench
