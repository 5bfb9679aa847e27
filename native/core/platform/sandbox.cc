// See sandbox.h. A filter is a program for the kernel's classic BPF machine, made here from a
// table: the architecture and the number of a call are looked at first, then rule after rule, the
// first that matches decides. The kernel remembers which calls are always allowed (Linux 5.11), and
// does not run the program for those.

#include "core/platform/sandbox.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

namespace tsvswitch {

namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "no system call filter for this architecture"
#endif
// The calls of x32 are those of x86-64 with this bit; no other architecture has numbers as high.
constexpr uint32_t kX32Bit = 0x40000000;

// The same on every architecture; headers older than the kernel they run on lack the last ones.
enum NewCall : uint32_t {
  kIoUringSetup = 425,
  kOpenTree = 428,
  kMoveMount = 429,
  kFsopen = 430,
  kFsconfig = 431,
  kFsmount = 432,
  kFspick = 433,
  kPidfdOpen = 434,
  kClone3 = 435,
  kPidfdGetfd = 438,
  kProcessMadvise = 440,
  kMountSetattr = 442,
  kProcessMrelease = 448,
};

constexpr uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr uint32_t DenyWith(uint32_t error) { return SECCOMP_RET_ERRNO | error; }
constexpr uint32_t kDeny = DenyWith(EPERM);

struct Rule {
  // Of the lower half of an argument: the kernel takes no more of those that are tested here.
  enum class Test : uint8_t { kAlways, kEqual, kUnequal, kNoneOf };

  uint32_t call;
  uint32_t action;
  Test test = Test::kAlways;
  uint8_t argument = 0;
  uint32_t operand = 0;
};
using Test = Rule::Test;

sock_filter Load(size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
}
sock_filter Return(uint32_t action) { return BPF_STMT(BPF_RET | BPF_K, action); }
// Jumps count instructions to leave out.
sock_filter Jump(uint16_t comparison, uint32_t operand, uint8_t if_true, uint8_t if_false) {
  return BPF_JUMP(static_cast<uint16_t>(BPF_JMP | BPF_K | comparison), operand, if_true, if_false);
}

// The number of the call is loaded, before and after.
void Append(std::vector<sock_filter>& program, const Rule& rule) {
  if (rule.test == Rule::Test::kAlways) {
    program.insert(program.end(), {Jump(BPF_JEQ, rule.call, 0, 1), Return(rule.action)});
    return;
  }
  const uint16_t comparison = rule.test == Rule::Test::kNoneOf ? BPF_JSET : BPF_JEQ;
  const bool wanted = rule.test == Rule::Test::kEqual;
  static_assert(std::endian::native == std::endian::little, "the lower half comes first");
  const size_t argument = offsetof(seccomp_data, args) + rule.argument * sizeof(uint64_t);
  program.insert(program.end(), {Jump(BPF_JEQ, rule.call, 0, 4), Load(argument),
                                 Jump(comparison, rule.operand, wanted ? 0 : 1, wanted ? 1 : 0),
                                 Return(rule.action), Load(offsetof(seccomp_data, nr))});
}

bool Install(const std::vector<Rule>& rules, uint32_t otherwise, unsigned flags) {
  // Calls of another architecture have other numbers: none of them is ours.
  std::vector<sock_filter> program = {
      Load(offsetof(seccomp_data, arch)), Jump(BPF_JEQ, kArchitecture, 1, 0), Return(kDeny),
      Load(offsetof(seccomp_data, nr)),   Jump(BPF_JGE, kX32Bit, 0, 1),       Return(kDeny)};
  for (const Rule& rule : rules) Append(program, rule);
  program.push_back(Return(otherwise));
  const sock_fprog filter = {.len = static_cast<uint16_t>(program.size()),
                             .filter = program.data()};
  // What the kernel asks for, so that no program of another user is run under our filter.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  // Kernels before 5.16 take a filter as a wish for slower speculation, which costs every frame.
  const long failed = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                              flags | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter);
  // Positive: the number of a thread that has another filter.
  if (failed > 0) errno = EBUSY;
  return failed == 0;
}

// What workers may call.
constexpr Rule kWorkerCalls[] = {
    // Calls of guests and of control, sleeping, locks; the clock where it cannot be read without
    // a call.
    {SYS_write, kAllow},
    // To whom the socket is connected: calls of virtio_uml.
    {SYS_sendto, kAllow, Test::kEqual, 5, 0},
    {SYS_futex, kAllow},
    {SYS_epoll_pwait, kAllow},
#ifdef SYS_epoll_wait
    {SYS_epoll_wait, kAllow},
#endif
    {SYS_clock_gettime, kAllow},
    {SYS_sched_yield, kAllow},
    {SYS_restart_syscall, kAllow},
    // Memory, for malloc and the handler of SIGBUS; none to run code in.
    {SYS_mmap, kAllow, Test::kNoneOf, 2, PROT_EXEC},
    {SYS_mprotect, kAllow, Test::kNoneOf, 2, PROT_EXEC},
    {SYS_munmap, kAllow},
    {SYS_mremap, kAllow},
    {SYS_madvise, kAllow},
    {SYS_brk, kAllow},
    {SYS_sched_getaffinity, kAllow},  // how many arenas malloc makes
    // Signals: those that Node handles write to and read from a pipe; assertions end in abort().
    {SYS_rt_sigreturn, kAllow},
    {SYS_rt_sigaction, kAllow},
    {SYS_rt_sigprocmask, kAllow},
    {SYS_sigaltstack, kAllow},  // AddressSanitizer's threads have one
    {SYS_read, kAllow},
    // eventfd.h
    {SYS_timer_settime, kAllow},
    {SYS_timer_delete, kAllow},
    {SYS_ppoll, kAllow},
#ifdef SYS_poll
    {SYS_poll, kAllow},
#endif
    {SYS_getpid, kAllow},
    {SYS_gettid, kAllow},
    {SYS_tgkill, kAllow, Test::kEqual, 2, SIGABRT},
    {SYS_exit, kAllow},
    {SYS_exit_group, kAllow},
};

// What the process may not call: other processes, sockets, its terminal.
constexpr Rule kCallsToOthers[] = {
    // No programs and no processes, only threads. A filter cannot see the flags of clone3; the C
    // library uses clone where there is none.
    {SYS_execve, kDeny},
    {SYS_execveat, kDeny},
    {kClone3, DenyWith(ENOSYS)},
    {SYS_clone, kDeny, Test::kNoneOf, 0, CLONE_THREAD},
#ifdef SYS_fork
    {SYS_fork, kDeny},
    {SYS_vfork, kDeny},
#endif
    // Nothing of other processes.
    {SYS_ptrace, kDeny},
    {SYS_process_vm_readv, kDeny},
    {SYS_process_vm_writev, kDeny},
    {kProcessMadvise, kDeny},
    {kProcessMrelease, kDeny},
    {kPidfdOpen, kDeny},
    {kPidfdGetfd, kDeny},
    {SYS_kcmp, kDeny},
    {SYS_kill, kDeny},
    {SYS_tkill, kDeny},
    {SYS_rt_sigqueueinfo, kDeny},
    {SYS_migrate_pages, kDeny},
    {SYS_move_pages, kDeny},
    // Unix sockets only: no network but that of its guests.
    {SYS_socket, kDeny, Test::kUnequal, 0, AF_UNIX},
    {SYS_socketpair, kDeny, Test::kUnequal, 0, AF_UNIX},
    // Typing into the terminal it was started from.
    {SYS_ioctl, kDeny, Test::kEqual, 1, TIOCSTI},
    {SYS_ioctl, kDeny, Test::kEqual, 1, TIOCLINUX},
};

// What the process may not call either: the system it runs on.
constexpr Rule kCallsToSystem[] = {
    // Namespaces, mounts, and files by number.
    {SYS_unshare, kDeny},
    {SYS_setns, kDeny},
    {SYS_chroot, kDeny},
    {SYS_pivot_root, kDeny},
    {SYS_mount, kDeny},
    {SYS_umount2, kDeny},
    {kOpenTree, kDeny},
    {kMoveMount, kDeny},
    {kFsopen, kDeny},
    {kFsconfig, kDeny},
    {kFsmount, kDeny},
    {kFspick, kDeny},
    {kMountSetattr, kDeny},
    {SYS_name_to_handle_at, kDeny},
    {SYS_open_by_handle_at, kDeny},
    {SYS_quotactl, kDeny},
    {SYS_swapon, kDeny},
    {SYS_swapoff, kDeny},
    // The large interfaces of the kernel, and calls around this filter. What libuv was told to
    // set up before stays usable.
    {SYS_bpf, kDeny},
    {SYS_perf_event_open, kDeny},
    {SYS_userfaultfd, kDeny},
    {kIoUringSetup, kDeny},
    {SYS_fanotify_init, kDeny},
    {SYS_add_key, kDeny},
    {SYS_request_key, kDeny},
    {SYS_keyctl, kDeny},
    // The machine itself.
    {SYS_init_module, kDeny},
    {SYS_finit_module, kDeny},
    {SYS_delete_module, kDeny},
    {SYS_kexec_load, kDeny},
#ifdef SYS_kexec_file_load
    {SYS_kexec_file_load, kDeny},
#endif
    {SYS_reboot, kDeny},
    {SYS_acct, kDeny},
    {SYS_syslog, kDeny},
    {SYS_settimeofday, kDeny},
    {SYS_clock_settime, kDeny},
    {SYS_clock_adjtime, kDeny},
    {SYS_adjtimex, kDeny},
    {SYS_sethostname, kDeny},
    {SYS_setdomainname, kDeny},
    {SYS_personality, kDeny},
#ifdef SYS_iopl
    {SYS_iopl, kDeny},
    {SYS_ioperm, kDeny},
    {SYS_modify_ldt, kDeny},
#endif
};

}  // namespace

bool ConfineWorker() {
  const std::vector<Rule> rules(std::begin(kWorkerCalls), std::end(kWorkerCalls));
  return Install(rules, kDeny, SECCOMP_FILTER_FLAG_LOG);
}

bool ConfineProcess() {
  const auto own = static_cast<uint32_t>(getpid());
  std::vector<Rule> rules = {
      {SYS_tgkill, kDeny, Test::kUnequal, 0, own},
      {SYS_rt_tgsigqueueinfo, kDeny, Test::kUnequal, 0, own},
  };
  rules.insert(rules.end(), std::begin(kCallsToOthers), std::end(kCallsToOthers));
  rules.insert(rules.end(), std::begin(kCallsToSystem), std::end(kCallsToSystem));
  // A file needs more than a byte, and a program that takes cores (core_pattern) is kept out by
  // this one number only: 0 does not concern it. Who started us with 0 may have meant it, and has
  // taken away the right to raise it.
  rlimit core = {};
  if (getrlimit(RLIMIT_CORE, &core) != 0) return false;
  core.rlim_cur = core.rlim_max = std::min(core.rlim_max, rlim_t{1});
  return setrlimit(RLIMIT_CORE, &core) == 0 && Install(rules, kAllow, SECCOMP_FILTER_FLAG_TSYNC);
}

}  // namespace tsvswitch
