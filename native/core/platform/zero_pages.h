// Arrays of zeroes that take up memory only where they are written. Freed as a whole.
//
// The elements are zero bytes that nobody constructed, which has to be a valid value of theirs.

#pragma once

#include <sys/mman.h>

#include <cassert>
#include <cstddef>
#include <memory>
#include <type_traits>

namespace tsvswitch {

struct UnmapPages {
  size_t bytes = 0;
  void operator()(void* pages) const { munmap(pages, bytes); }
};
template <typename T>
using ZeroPages = std::unique_ptr<T[], UnmapPages>;

// `present`: all of it is there at once, so that nobody waits for a page later.
template <typename T>
ZeroPages<T> MapZeroPages(size_t count, bool present = false) {
  static_assert(std::is_trivially_destructible_v<T>);
  const size_t bytes = sizeof(T) * count;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (present ? MAP_POPULATE : MAP_NORESERVE);
  void* const pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  assert(pages != MAP_FAILED);
  return ZeroPages<T>(static_cast<T*>(pages), UnmapPages{bytes});
}

}  // namespace tsvswitch
