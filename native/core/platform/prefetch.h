// Brings cache lines near before they are needed. Never faults, whatever the address.

#pragma once

#include <cstdint>

namespace tsvswitch {

inline void PrefetchToRead(const void* at) { __builtin_prefetch(at, 0); }

// Takes the line away from the processor that has it, so that the write itself does not wait.
inline void PrefetchToWrite(void* at) {
#if defined(__x86_64__)
  // The builtin gives a plain read prefetch on the x86-64 baseline; every such processor made since
  // 2006 runs this instruction, and those before take it as a no-op.
  asm volatile("prefetchw %0" : : "m"(*static_cast<const uint8_t*>(at)));
#else
  __builtin_prefetch(at, 1);
#endif
}

}  // namespace tsvswitch
