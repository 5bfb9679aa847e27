// Copies frame bytes between guests. The sizes decide: a string instruction wins above some hundred
// bytes, unrolled vector moves below. Source and destination never overlap on purpose; a guest that
// makes them overlap (one memory shared as two ports) gets its own bytes back in some order.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tsvswitch {

// Measured with the flooding client: below this, 16-byte moves beat `rep movsb` (ARCHITECTURE.md).
inline constexpr size_t kStringCopyBytesMin = 400;

inline void CopyBytes(uint8_t* __restrict to, const uint8_t* __restrict from, size_t bytes) {
#if defined(__x86_64__)
  if (bytes >= kStringCopyBytesMin) {
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return;
  }
#endif
  if (bytes >= 16) [[likely]] {
    // Whole 16-byte steps, then one step that ends exactly at the end and may repeat some bytes.
    const size_t last = bytes - 16;
    for (size_t at = 0; at < last; at += 16) std::memcpy(to + at, from + at, 16);
    std::memcpy(to + last, from + last, 16);
    return;
  }
  std::memcpy(to, from, bytes);
}

}  // namespace tsvswitch
