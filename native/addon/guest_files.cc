// The files a guest shares with a switch, for code that plays the guest: memory files, mapped here
// too, and eventfds. Also closeFd, because fds that arrive over a socket are plain numbers in
// JavaScript.
//
// A mapping is an ArrayBuffer, and ends when nobody refers to it, when unmapFile() takes it away
// from all who do, or with its environment: in each case by one finalizer, which knows where it is.

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/fd_watch.h"

namespace tsvswitch {

namespace {

constexpr int64_t kSafeIntegerMax = (int64_t{1} << 53) - 1;
// The longest buffer of the oldest Node. Node and node-addon-api both free what belongs to one that
// is longer.
constexpr int64_t kMappedBytesMax = int64_t{1} << 32;

Napi::Value MemfdCreate(const Napi::CallbackInfo& info) {
  const std::string name = StringArgument(info, 0, "name");
  const int64_t size_bytes = IntegerArgument(info, 1, "sizeBytes", 1, kSafeIntegerMax);
  const int fd = memfd_create(name.c_str(), MFD_CLOEXEC);
  if (fd < 0)
    throw SystemError(info.Env(), "memfd_create", "cannot create memory file " + name, errno);
  if (ftruncate(fd, size_bytes) != 0) {
    const int error = errno;
    close(fd);
    throw SystemError(
        info.Env(), "ftruncate",
        "cannot size memory file " + name + " to " + std::to_string(size_bytes) + " bytes", error);
  }
  return Napi::Number::New(info.Env(), fd);
}

// A hint of a finalizer is a pointer: the size of a mapping lies behind this one.
struct Mapping {
  void* data;
  size_t bytes;
};

// Shared, for reading and writing. Whoever truncates the file afterwards makes every access a
// SIGBUS.
Napi::Value MapFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int fd = FdArgument(info, 0);
  const auto bytes = static_cast<size_t>(IntegerArgument(info, 1, "sizeBytes", 1, kMappedBytesMax));
  void* const data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) {
    throw SystemError(env, "mmap", "cannot map " + std::to_string(bytes) + " bytes of a file",
                      errno);
  }
  auto mapping = std::make_unique<Mapping>(Mapping{data, bytes});
  const auto unmap = [](Napi::Env, void*, Mapping* ended) {
    munmap(ended->data, ended->bytes);
    delete ended;
  };
  return Napi::ArrayBuffer::New(env, data, bytes, unmap, mapping.release());
}

// Leaves the buffer and all views of it without a byte.
Napi::Value UnmapFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsArrayBuffer()) {
    throw WrongArgument(info, "buffer", "an ArrayBuffer of mapFile");
  }
  info[0].As<Napi::ArrayBuffer>().Detach();
  return env.Undefined();
}

// Of memfd_create, tmpfs or hugetlbfs: only their files have seals, and the kernel tells without
// asking any file system.
Napi::Value IsMemoryFile(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), fcntl(FdArgument(info, 0), F_GET_SEALS) >= 0);
}

// Another fd of the same file.
Napi::Value DupFd(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0)
    throw SystemError(info.Env(), "fcntl", "cannot copy fd " + std::to_string(fd), errno);
  return Napi::Number::New(info.Env(), copy);
}

// Gives the pages of a memory file back, whoever else has it: it keeps its size and reads as zeros.
Napi::Value DiscardPages(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  constexpr int kMode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const off_t end = lseek(fd, 0, SEEK_END);
  if (end < 0 || (end > 0 && fallocate(fd, kMode, 0, end) != 0)) {
    throw SystemError(info.Env(), "fallocate",
                      "cannot discard the pages of fd " + std::to_string(fd), errno);
  }
  return info.Env().Undefined();
}

Napi::Value EventfdCreate(const Napi::CallbackInfo& info) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw SystemError(info.Env(), "eventfd", "cannot create an eventfd", errno);
  return Napi::Number::New(info.Env(), fd);
}

Napi::Value EventfdSignal(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  const uint64_t one = 1;
  if (write(fd, &one, sizeof one) == sizeof one) return Napi::Boolean::New(info.Env(), true);
  if (errno == EAGAIN) return Napi::Boolean::New(info.Env(), false);
  throw SystemError(info.Env(), "write", "cannot signal eventfd " + std::to_string(fd), errno);
}

// Whether a plain read waits is up to O_NONBLOCK, which whoever shares the eventfd may clear at any
// moment. Linux before 5.8 cannot read it otherwise, which leaves such a one the moment between
// flag and read.
ssize_t ReadWithoutWaiting(int fd, uint64_t* count) {
  const iovec place = {count, sizeof *count};
  const ssize_t bytes = preadv2(fd, &place, 1, -1, RWF_NOWAIT);
  if (bytes >= 0 || errno != EOPNOTSUPP) return bytes;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return read(fd, count, sizeof *count);
}

Napi::Value EventfdDrain(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  uint64_t count = 0;
  if (ReadWithoutWaiting(fd, &count) == sizeof count) {
    return Napi::Number::New(info.Env(), static_cast<double>(count));
  }
  if (errno == EAGAIN) return Napi::Number::New(info.Env(), 0);
  throw SystemError(info.Env(), "read", "cannot drain eventfd " + std::to_string(fd), errno);
}

Napi::Value CloseFd(const Napi::CallbackInfo& info) {
  const int fd = FdArgument(info, 0);
  // A watch must not outlive its fd: the number is about to mean something else.
  Instance::Of(info.Env()).fd_watch->Unwatch(fd);
  if (close(fd) != 0 && errno == EBADF) {
    throw SystemError(info.Env(), "close", "cannot close fd " + std::to_string(fd), EBADF);
  }
  return info.Env().Undefined();
}

}  // namespace

void ExportGuestFiles(Napi::Env env, Napi::Object exports) {
  ExportFunction<MemfdCreate, 2>(env, exports, "memfdCreate");
  ExportFunction<MapFile, 2>(env, exports, "mapFile");
  ExportFunction<UnmapFile, 1>(env, exports, "unmapFile");
  ExportFunction<IsMemoryFile, 1>(env, exports, "isMemoryFile");
  ExportFunction<DupFd, 1>(env, exports, "dupFd");
  ExportFunction<DiscardPages, 1>(env, exports, "discardPages");
  ExportFunction<EventfdCreate, 0>(env, exports, "eventfdCreate");
  ExportFunction<EventfdSignal, 1>(env, exports, "eventfdSignal");
  ExportFunction<EventfdDrain, 1>(env, exports, "eventfdDrain");
  ExportFunction<CloseFd, 1>(env, exports, "closeFd");
}

}  // namespace tsvswitch
