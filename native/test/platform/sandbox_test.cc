// What the filters deny and what they leave. A filter stays for the life of a process, so each fact
// forks.

#include "core/platform/sandbox.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "test/check.h"
#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

// The first sentence that did not hold in a child, for its parent.
struct Report {
  char sentence[128];
};

class Child {
 public:
  explicit Child(Report* report) : report_(report) {}
  void Expect(bool holds, const char* sentence) {
    if (holds || report_->sentence[0] != 0) return;
    std::strncpy(report_->sentence, sentence, sizeof(report_->sentence) - 1);
  }
  // `result` is that of a call which was just made.
  void ExpectDenied(long result, const char* call) { Expect(result == -1 && errno == EPERM, call); }

 private:
  Report* const report_;
};

// Runs `body` in a process of its own, and fails with the first sentence that does not hold there.
template <class Body>
void InChild(Body body) {
  void* shared =
      mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(shared != MAP_FAILED);
  auto* report = new (shared) Report{};
  std::fflush(stdout);
  const pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    Child child(report);
    body(child);
    _exit(0);
  }
  int status = 0;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  if (report->sentence[0] != 0) Fail(__FILE__, __LINE__, report->sentence);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
  munmap(shared, sizeof(Report));
}

long Call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  return syscall(number, a, b, c, d, e, 0L);
}

// What neither a worker nor the process may do.
void ExpectNothingOfOthers(Child& child) {
  const char* const arguments[] = {"/bin/true", nullptr};
  child.ExpectDenied(Call(SYS_execve, reinterpret_cast<long>(arguments[0]),
                          reinterpret_cast<long>(arguments), reinterpret_cast<long>(arguments + 1)),
                     "execve");
  child.ExpectDenied(Call(SYS_execveat, -1, reinterpret_cast<long>(arguments[0]),
                          reinterpret_cast<long>(arguments), reinterpret_cast<long>(arguments + 1)),
                     "execveat");
  child.ExpectDenied(Call(SYS_clone, SIGCHLD), "clone of a process");
  child.ExpectDenied(Call(SYS_clone, SIGCHLD | CLONE_NEWUSER), "clone into a user namespace");
  child.ExpectDenied(Call(SYS_ptrace, PTRACE_ATTACH, getppid()), "ptrace");
  child.ExpectDenied(Call(SYS_process_vm_readv, getppid()), "process_vm_readv");
  child.ExpectDenied(Call(SYS_process_vm_writev, getppid()), "process_vm_writev");
  child.ExpectDenied(Call(SYS_kill, getppid(), 0), "kill");
  child.ExpectDenied(Call(SYS_tgkill, getppid(), getppid(), 0), "tgkill of another process");
  child.ExpectDenied(Call(SYS_socket, AF_INET, SOCK_STREAM), "an IPv4 socket");
  child.ExpectDenied(Call(SYS_socket, AF_INET6, SOCK_DGRAM), "an IPv6 socket");
  child.ExpectDenied(Call(SYS_socket, AF_NETLINK, SOCK_RAW), "a netlink socket");
  child.ExpectDenied(Call(SYS_socket, AF_PACKET, SOCK_RAW), "a packet socket");
  // The kernel takes 32 bits of a family, and so must the filter.
  child.ExpectDenied(Call(SYS_socket, (1L << 32) | AF_INET, SOCK_STREAM), "a family of 64 bits");
  child.ExpectDenied(Call(SYS_unshare, CLONE_NEWUSER), "unshare");
  child.ExpectDenied(Call(SYS_mount), "mount");
  child.ExpectDenied(Call(SYS_chroot), "chroot");
  child.ExpectDenied(Call(SYS_bpf), "bpf");
  child.ExpectDenied(Call(425), "io_uring_setup");
  child.ExpectDenied(Call(SYS_perf_event_open), "perf_event_open");
  child.ExpectDenied(Call(SYS_init_module), "init_module");
  child.ExpectDenied(Call(SYS_kexec_load), "kexec_load");
  child.ExpectDenied(Call(SYS_ioctl, 0, TIOCSTI), "typing into the terminal");
  child.ExpectDenied(Call(SYS_open_by_handle_at), "open_by_handle_at");
#ifdef __x86_64__
  child.ExpectDenied(Call(SYS_fork), "fork");
  constexpr long kX32 = 0x40000000;
  child.ExpectDenied(Call(kX32 | SYS_getpid), "a call of x32");
#endif
}

FACT("a confined worker can neither reach other processes, files and networks, nor make code") {
  InChild([](Child& child) {
    child.Expect(ConfineWorker(), "the worker's filter is accepted");
    ExpectNothingOfOthers(child);
    child.ExpectDenied(Call(SYS_openat, AT_FDCWD, reinterpret_cast<long>("/dev/null"), O_RDONLY),
                       "openat");
    child.ExpectDenied(Call(SYS_socket, AF_UNIX, SOCK_STREAM), "a unix socket");
    child.ExpectDenied(Call(SYS_sendmsg, 1), "sendmsg");
    child.ExpectDenied(Call(SYS_ioctl, 1), "ioctl");
    child.ExpectDenied(Call(SYS_dup, 1), "dup");
    child.ExpectDenied(Call(SYS_tgkill, getpid(), getpid(), SIGTERM), "a signal but SIGABRT");
    child.ExpectDenied(
        Call(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1),
        "memory that can be run");
    void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    child.Expect(page != MAP_FAILED, "memory that cannot be run");
    child.ExpectDenied(mprotect(page, 4096, PROT_READ | PROT_EXEC), "making memory runnable");
    child.Expect(mprotect(page, 4096, PROT_READ) == 0, "making memory read-only");
    child.Expect(munmap(page, 4096) == 0, "giving memory back");
    timespec now;
    child.Expect(Call(SYS_clock_gettime, CLOCK_MONOTONIC, reinterpret_cast<long>(&now)) == 0,
                 "reading the clock without the help of the C library");
  });
}

#ifdef __x86_64__
FACT("calls as programs of 32 bits make them are denied, whatever their numbers") {
  InChild([](Child& child) {
    // A kernel without such programs raises this for the first instruction of the call.
    signal(SIGSEGV, [](int) { _exit(0); });
    child.Expect(ConfineWorker(), "the worker's filter is accepted");
    long result = 20;  // getpid there, writev here
    asm volatile("int $0x80" : "+a"(result) : : "memory");
    child.Expect(result == -EPERM, "a call of i386");
  });
}
#endif

FACT("a worker's filter is the worker's: other threads of the process go on as before") {
  InChild([](Child& child) {
    std::atomic<bool> confined{false};
    std::thread([&] { confined = ConfineWorker(); }).join();
    child.Expect(confined, "the thread is confined");
    const int fd = open("/dev/null", O_RDONLY);
    child.Expect(fd >= 0, "the others open files");
  });
}

FACT("a confined process keeps what a switch needs: files, sockets, threads, runnable memory") {
  InChild([](Child& child) {
    child.Expect(ConfineProcess(), "the process's filter is accepted");
    ExpectNothingOfOthers(child);
    child.Expect(open("/dev/null", O_RDWR) >= 0, "opening a file");
    int pair[2];
    child.Expect(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "a pair of unix sockets");
    child.Expect(socket(AF_UNIX, SOCK_STREAM, 0) >= 0, "a unix socket");
    child.Expect(memfd_create("sandbox", 0) >= 0, "a memory file");
    std::atomic<bool> ran{false};
    std::thread([&] { ran = true; }).join();
    child.Expect(ran, "a new thread");
    void* code = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    child.Expect(code != MAP_FAILED, "memory for a compiler");
    child.Expect(Call(SYS_tgkill, getpid(), getpid(), 0) == 0, "a signal to itself");
    child.Expect(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no new privileges");
  });
}

FACT("a confined process that crashes leaves no core behind") {
  std::fflush(stdout);
  const pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    signal(SIGABRT, SIG_DFL);
    if (ConfineProcess()) abort();
    _exit(1);
  }
  int status = 0;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFSIGNALED(status));
  CHECK_EQ(WTERMSIG(status), SIGABRT);
  CHECK(!WCOREDUMP(status));
}

FACT("a process whose cores are forbidden already is confined, and has none all the same") {
  InChild([](Child& child) {
    const rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    child.Expect(setrlimit(RLIMIT_CORE, &none) == 0, "cores can be forbidden");
    // Of root's rights, that to raise limits is one.
    child.Expect(setgid(65534) == 0 || geteuid() != 0, "groups can be left");
    child.Expect(setuid(65534) == 0 || geteuid() != 0, "root can be left");
    child.Expect(ConfineProcess(), "it can be confined");
    rlimit limit = {.rlim_cur = 1, .rlim_max = 1};
    child.Expect(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0, "no core");
  });
}

FACT("a process is confined with all the threads it has, and workers once more") {
  InChild([](Child& child) {
    std::atomic<bool> go{false};
    std::atomic<int> family_error{0};
    std::atomic<bool> confined{false};
    std::atomic<int> file_error{0};
    std::thread before([&] {
      while (!go) std::this_thread::yield();
      if (Call(SYS_socket, AF_INET, SOCK_STREAM) == -1) family_error = errno;
      confined = ConfineWorker();
      if (open("/dev/null", O_RDONLY) == -1) file_error = errno;
    });
    child.Expect(ConfineProcess(), "the process's filter is accepted");
    go = true;
    before.join();
    child.Expect(family_error == EPERM, "a thread from before is confined too");
    child.Expect(confined && file_error == EPERM, "and can be confined as a worker");
  });
}

FACT("a process with a confined worker already is refused, and keeps its calls") {
  InChild([](Child& child) {
    std::atomic<bool> confined{false};
    std::atomic<bool> end{false};
    std::thread worker([&] {
      confined = ConfineWorker();
      while (!end) std::this_thread::yield();
    });
    while (!confined) std::this_thread::yield();
    child.Expect(!ConfineProcess() && errno == EBUSY, "EBUSY");
    child.Expect(socket(AF_INET, SOCK_STREAM, 0) >= 0, "an IPv4 socket, as before");
    end = true;
    worker.join();
  });
}

FACT("confined workers carry frames, sleep and wake, and survive truncated memory") {
  RunningBridge bridge(2, 0);
  const auto from = bridge.Join(VIRTIO_F_VERSION_1);
  const auto to = bridge.Join(VIRTIO_F_VERSION_1);
  Stream there(*from, *to);
  Stream back(*to, *from);
  there.Pass(2000);
  back.Pass(2000);
  there.Finish();
  back.Finish();
  const auto victim = bridge.Join(VIRTIO_F_VERSION_1);
  victim->guest.ram().TruncateFile(0, 0);
  eventfd_write(victim->kick_fds[1], 1);
  CHECK(ComesTrue([&] { return bridge.plane().QueueBroken(victim->port, 1); }));
  there.Pass(1000);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
