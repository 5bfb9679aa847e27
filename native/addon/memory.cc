// Memory for what becomes large: pages of 2 MiB where the kernel has them. Of the usual ones each
// is made at the first touch, at the cost of some packets of a capture.
//
// Thread: the JavaScript thread of the environment; it ends with the last buffer that refers to it.

#include <errno.h>
#include <sys/mman.h>

#include "addon/addon.h"

namespace tsvswitch {

namespace {

constexpr size_t kLargePageBytes = 1 << 21;
constexpr int64_t kBytesMax = int64_t{1} << 30;

struct Mapping {
  void* start;
  size_t bytes;
};

Napi::Value LargeBuffer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto bytes = static_cast<size_t>(IntegerArgument(info, 0, "bytes", 1, kBytesMax));
  // So much more that it holds them from where a large page begins.
  const size_t mapped_bytes = bytes + kLargePageBytes;
  void* const start = mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) {
    throw SystemError(env, "mmap", "cannot have " + std::to_string(bytes) + " bytes of memory",
                      errno);
  }
  // A kernel without them has the usual ones.
  madvise(start, mapped_bytes, MADV_HUGEPAGE);
  const auto address = reinterpret_cast<uintptr_t>(start);
  const uintptr_t aligned = (address + kLargePageBytes - 1) / kLargePageBytes * kLargePageBytes;
  auto mapping = std::make_unique<Mapping>(Mapping{start, mapped_bytes});
  const auto unmap = [](Napi::Env, void*, Mapping* ended) {
    munmap(ended->start, ended->bytes);
    delete ended;
  };
  return Napi::ArrayBuffer::New(env, reinterpret_cast<void*>(aligned), bytes, unmap,
                                mapping.release());
}

}  // namespace

void ExportMemory(Napi::Env env, Napi::Object exports) {
  ExportFunction<LargeBuffer, 1>(env, exports, "largeBuffer");
}

}  // namespace tsvswitch
