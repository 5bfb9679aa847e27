// See sigbus.h. Everything the handler touches is lock-free. It maps by the system call itself: the
// C library does not promise that mmap may be called in a handler, and ThreadSanitizer takes a call
// of it for a write to all of the range, which would race with every other reader.

#include "core/platform/sigbus.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mutex>
#include <utility>

namespace tsvswitch {

struct SigbusGuard::Node {
  std::atomic<bool> taken{false};
  // begin is 0 while the node guards nothing; bytes and lost are written before begin (release) and
  // read after it (acquire), so the handler never sees half a range.
  std::atomic<uintptr_t> begin{0};
  std::atomic<size_t> bytes{0};
  std::atomic<std::atomic<uint32_t>*> lost{nullptr};
  Node* next = nullptr;
};

namespace {

std::atomic<SigbusGuard::Node*> nodes{nullptr};
struct sigaction previous_action;

void PassOn(int signal, siginfo_t* info, void* context) {
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(signal, info, context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal);
  } else {
    // Back to the default action: the faulting instruction repeats and ends the process with a
    // core.
    sigaction(SIGBUS, &previous_action, nullptr);
  }
}

void OnSigbus(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (auto* node = nodes.load(std::memory_order_acquire); node != nullptr; node = node->next) {
    const uintptr_t begin = node->begin.load(std::memory_order_acquire);
    const size_t bytes = node->bytes.load(std::memory_order_relaxed);
    if (begin == 0 || address - begin >= bytes) continue;
    const long patched = syscall(SYS_mmap, begin, bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0L);
    if (patched == -1) break;
    // What is written there from now on is still a guest's, and belongs in no core file.
    syscall(SYS_madvise, begin, bytes, MADV_DONTDUMP);
    node->lost.load(std::memory_order_relaxed)->fetch_add(1, std::memory_order_release);
    return;
  }
  PassOn(signal, info, context);
}

void InstallHandlerOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = OnSigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous_action);
  });
}

SigbusGuard::Node* TakeNode() {
  for (auto* node = nodes.load(std::memory_order_acquire); node != nullptr; node = node->next) {
    if (!node->taken.exchange(true, std::memory_order_acq_rel)) return node;
  }
  auto* node = new SigbusGuard::Node;
  node->taken.store(true, std::memory_order_relaxed);
  node->next = nodes.load(std::memory_order_relaxed);
  while (!nodes.compare_exchange_weak(node->next, node, std::memory_order_release)) {
  }
  return node;
}

}  // namespace

SigbusGuard::SigbusGuard(void* begin, size_t bytes, std::atomic<uint32_t>* lost) {
  InstallHandlerOnce();
  node_ = TakeNode();
  node_->bytes.store(bytes, std::memory_order_relaxed);
  node_->lost.store(lost, std::memory_order_relaxed);
  node_->begin.store(reinterpret_cast<uintptr_t>(begin), std::memory_order_release);
}

SigbusGuard& SigbusGuard::operator=(SigbusGuard&& other) noexcept {
  std::swap(node_, other.node_);
  return *this;
}

SigbusGuard::~SigbusGuard() {
  if (node_ == nullptr) return;
  node_->begin.store(0, std::memory_order_release);
  node_->taken.store(false, std::memory_order_release);
}

}  // namespace tsvswitch
