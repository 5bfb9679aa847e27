// What copying between two cores costs with nothing around it: the ceiling for frames of which
// every byte is touched.
//
// This thread writes a payload and later reads and checks the copy, as a port does with its frames;
// a thread on the other core copies with memcpy, as a switch does. In between are only two
// counters. The memory is of the same kind as that of ports.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "port_memory.h"

namespace tsvswitch::bench {

struct CoreCopyResult {
  double seconds;
  uint64_t copies;
};

// `slots` copies of `bytes` may be under way at a time. Fails with a sentence if a copy is wrong.
CoreCopyResult CopyBetweenCores(const Clock& clock, int other_cpu, MemoryKind kind, size_t bytes,
                                size_t slots, double warmup_s, double measure_s);

}  // namespace tsvswitch::bench
