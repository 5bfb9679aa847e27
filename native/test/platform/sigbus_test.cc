// A memory file that is truncated costs a flag, and nothing else is forgiven.
//
// main() puts SIGBUS back to its default before the first guard is made, so that also under a
// sanitizer an address of nobody ends the process by that signal.

#include "core/platform/sigbus.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

#include "core/memory/guest_memory.h"
#include "driver/guest_ram.h"
#include "test/check.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kBase = 1 << 20;

uint8_t* DataAt(const GuestMemory& memory, uint64_t guest) {
  const Span span = Translator(memory)(guest, 1);
  CHECK_EQ(span.bytes, 1u);
  return span.data;
}

// Whether the kernel leaves the mapping at this address out of core files (proc_pid_smaps(5),
// "dd").
bool IsLeftOutOfCores(const void* address) {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  std::ifstream smaps("/proc/self/smaps");
  bool is_here = false;
  for (std::string line; std::getline(smaps, line);) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) == 2) {
      is_here = wanted >= begin && wanted < end;
    } else if (is_here && line.starts_with("VmFlags:")) {
      return line.find(" dd") != std::string::npos;
    }
  }
  return false;
}

volatile uint8_t* Volatile(uint8_t* data) { return data; }

FACT("access to truncated memory continues and raises the flag") {
  GuestRam ram({{kBase, 8 * kPage}});
  std::atomic<uint32_t> lost{0};
  const auto memory = ram.Map(&lost);
  *ram.At(kBase, 1) = 0x11;
  ram.TruncateFile(0, 0);
  CHECK_EQ(*Volatile(DataAt(*memory, kBase)), 0);
  CHECK_EQ(lost.load(), 1u);
  // The whole range is patched at once: no further signal, and it can be written.
  *Volatile(DataAt(*memory, kBase + 7 * kPage)) = 0x22;
  CHECK_EQ(*Volatile(DataAt(*memory, kBase + 7 * kPage)), 0x22);
  CHECK_EQ(lost.load(), 1u);
}

FACT("what is put over truncated memory is left out of core files as the memory was") {
  GuestRam ram({{kBase, kPage}});
  std::atomic<uint32_t> lost{0};
  const auto memory = ram.Map(&lost);
  uint8_t* const data = DataAt(*memory, kBase);
  CHECK(IsLeftOutOfCores(data));
  ram.TruncateFile(0, 0);
  *Volatile(data) = 1;
  CHECK_EQ(lost.load(), 1u);
  CHECK(IsLeftOutOfCores(data));
  CHECK(!IsLeftOutOfCores(ram.At(kBase, 1)));
}

FACT("truncation of one memory leaves another's bytes and flag alone") {
  GuestRam truncated({{kBase, kPage}});
  GuestRam whole({{kBase, kPage}});
  std::atomic<uint32_t> truncated_lost{0};
  std::atomic<uint32_t> whole_lost{0};
  const auto one = truncated.Map(&truncated_lost);
  const auto other = whole.Map(&whole_lost);
  *whole.At(kBase, 1) = 0x33;
  truncated.TruncateFile(0, 0);
  *Volatile(DataAt(*one, kBase)) = 1;
  CHECK_EQ(truncated_lost.load(), 1u);
  CHECK_EQ(whole_lost.load(), 0u);
  CHECK_EQ(*Volatile(DataAt(*other, kBase)), 0x33);
}

FACT("a region made after another was unmapped raises its own flag") {
  std::atomic<uint32_t> first_lost{0};
  std::atomic<uint32_t> second_lost{0};
  {
    GuestRam({{kBase, kPage}}).Map(&first_lost);
  }
  GuestRam ram({{kBase, kPage}});
  const auto memory = ram.Map(&second_lost);
  ram.TruncateFile(0, 0);
  *Volatile(DataAt(*memory, kBase)) = 1;
  CHECK_EQ(first_lost.load(), 0u);
  CHECK_EQ(second_lost.load(), 1u);
}

FACT("two threads that hit the same truncated memory both go on") {
  GuestRam ram({{kBase, 8 * kPage}});
  std::atomic<uint32_t> lost{0};
  const auto memory = ram.Map(&lost);
  uint8_t* const data = DataAt(*memory, kBase);
  ram.TruncateFile(0, 0);
  std::atomic<int> ready{0};
  auto touch = [&](uint64_t at) {
    ++ready;
    while (ready < 2) {
    }
    *Volatile(data + at) = 1;
  };
  std::thread other(touch, 4 * kPage);
  touch(0);
  other.join();
  CHECK(lost.load() >= 1 && lost.load() <= 2);
}

// How a child ends that touches a page past the end of a file, at an address no guard holds.
int StatusOfTouchingNobodysPage() {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    SharedFile nobodys(kPage);
    nobodys.Truncate(0);
    *Volatile(nobodys.data()) = 1;
    _exit(0);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  return status;
}

FACT("an address in no guarded range still ends the process by SIGBUS") {
  GuestRam ram({{kBase, kPage}});
  std::atomic<uint32_t> lost{0};
  const auto memory = ram.Map(&lost);
  const int status = StatusOfTouchingNobodysPage();
  CHECK(WIFSIGNALED(status));
  CHECK_EQ(WTERMSIG(status), SIGBUS);
  CHECK_EQ(lost.load(), 0u);
}

}  // namespace
}  // namespace tsvswitch

int main() {
  signal(SIGBUS, SIG_DFL);
  return tsvswitch::HoldFacts();
}
