// A lock between workers for a short time: a change of the forwarding table, or one batch into a
// receiveq with the eventfd write at its end.

#pragma once

#include <atomic>

namespace tsvswitch {

inline void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Spinlock {
 public:
  void lock() {
    // Acquire: what the last holder wrote is seen.
    while (taken_.exchange(true, std::memory_order_acquire)) {
      while (taken_.load(std::memory_order_relaxed)) CpuRelax();
    }
  }
  void unlock() { taken_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> taken_{false};
};

}  // namespace tsvswitch
