// Lets User-mode Linux run on processors whose registers it does not know all of: a library for
// LD_PRELOAD.
//
// UML hands the floating point registers of its guest's processes to the host with ptrace(), in a
// buffer as large as AVX-512 needs. The host takes them whole or not at all: where it knows more,
// such as AMX, it answers EFAULT, and the guest dies at its first process. Here what UML gives is
// completed with zeroes to the size that the host wants. A component whose bit in xstate_bv is not
// set is not read, so zeroes change nothing.
//
// It does not look at any other request, and adds nothing where the size is right already.
//
// Thread: UML calls ptrace() from one thread only, and not from its signal handlers; hence a static
// buffer, as the kernel stacks that UML calls from are small.
//
// Sources: Linux arch/x86/kernel/fpu/regset.c, xstateregs_set(); arch/x86/um/os-Linux/registers.c
// of UML 6.1.

#include <dlfcn.h>
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstdarg>
#include <cstdint>
#include <cstring>

namespace {

using Ptrace = long (*)(int request, pid_t pid, void* address, void* data);

// More than any processor has today; the host says how much of it it wants.
constexpr size_t kXstateBytesMax = 64 * 1024;

char registers[kXstateBytesMax];

// What the host wants, or 0 if it does not say.
size_t WantedBytes(Ptrace next, pid_t pid) {
  iovec all{registers, kXstateBytesMax};
  void* regset = reinterpret_cast<void*>(uintptr_t{NT_X86_XSTATE});
  if (next(PTRACE_GETREGSET, pid, regset, &all) != 0) return 0;
  std::memset(registers, 0, all.iov_len);
  return all.iov_len;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) long ptrace(__ptrace_request request,
                                                              ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  const pid_t pid = va_arg(arguments, pid_t);
  void* const address = va_arg(arguments, void*);
  void* const data = va_arg(arguments, void*);
  va_end(arguments);

  static const Ptrace next = reinterpret_cast<Ptrace>(dlsym(RTLD_NEXT, "ptrace"));
  if (request != PTRACE_SETREGSET || reinterpret_cast<uintptr_t>(address) != NT_X86_XSTATE) {
    return next(request, pid, address, data);
  }
  static const size_t wanted_bytes = WantedBytes(next, pid);
  const iovec* const given = static_cast<const iovec*>(data);
  if (given->iov_len >= wanted_bytes) return next(request, pid, address, data);
  std::memcpy(registers, given->iov_base, given->iov_len);
  iovec all{registers, wanted_bytes};
  return next(request, pid, address, &all);
}
