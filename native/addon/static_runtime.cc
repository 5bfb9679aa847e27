// Lets the C++ runtime inside the addon run on an older C library than the one it was built with.
//
// The unwinder of a GCC that was built with glibc 2.35 or later asks _dl_find_object() where the
// unwind table of an address is, and takes no for an answer. That function is in no earlier glibc,
// and a program that needs it does not start there. The one below finds the same by
// dl_iterate_phdr(), as unwinders did before. Slower, and nothing throws for the sake of a frame.
//
// Any thread. Sources: _dl_find_object in glibc's manual; unwind-dw2-fde-dip.c of GCC.

#include <dlfcn.h>
#include <link.h>

#include <cstdint>

#if defined(TSVSWITCH_STATIC_RUNTIME) && defined(DLFO_EH_SEGMENT_TYPE)

namespace {

struct Search {
  uintptr_t address;
  dl_find_object* found;
};

// Not 0 ends the search.
int LookInto(dl_phdr_info* object, size_t, void* data) {
  const auto& [address, found] = *static_cast<const Search*>(data);
  uintptr_t table = 0;
  bool is_here = false;
  for (size_t i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr) & segment = object->dlpi_phdr[i];
    const uintptr_t start = object->dlpi_addr + segment.p_vaddr;
    if (segment.p_type == DLFO_EH_SEGMENT_TYPE) table = start;
    if (segment.p_type != PT_LOAD || address - start >= segment.p_memsz) continue;
    is_here = true;
    found->dlfo_map_start = reinterpret_cast<void*>(start);
    found->dlfo_map_end = reinterpret_cast<void*>(start + segment.p_memsz);
  }
  found->dlfo_eh_frame = reinterpret_cast<void*>(table);
  return is_here ? 1 : 0;
}

}  // namespace

// Found before that of the C library, and by nobody else: see exports.map.
extern "C" int _dl_find_object(void* address, dl_find_object* result) noexcept {
  *result = {};
  Search search = {reinterpret_cast<uintptr_t>(address), result};
  const bool is_found = dl_iterate_phdr(LookInto, &search) != 0;
  return is_found && result->dlfo_eh_frame != nullptr ? 0 : -1;
}

#endif
