// Asking for a cache line early, to read it or to own it.
//
// The compiler's __builtin_prefetch(line, 1) becomes a prefetch for reading on baseline x86-64, and
// the write then still has to take the line away from the other core. PREFETCHW asks for ownership
// at once; it exists on all AMD64 processors and is a no-operation on those of Intel before
// Broadwell.

#pragma once

#include <stdint.h>

namespace tsvswitch::bench {

inline void PrefetchForRead(const uint8_t* line) { __builtin_prefetch(line, 0); }

template <typename Line>
inline void PrefetchForWrite(Line* line) {
  asm volatile("prefetchw %0" : : "m"(*line));
}

}  // namespace tsvswitch::bench
