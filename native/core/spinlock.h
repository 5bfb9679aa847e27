// A lock for a few instructions between workers. Never held across a system call or a guest's memory.

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
