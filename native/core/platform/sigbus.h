// SIGBUS containment: a frontend that truncates its memory file costs its own port only.
//
// Touching a shared mapping past the end of its file raises SIGBUS in whichever thread touched it.
// The handler installed here finds the guarded range that holds the address, puts anonymous zero
// pages over the whole range, so that the access can be repeated and succeeds, and raises the
// range's flag. The worker sees the flag after its round and breaks the port. An address in no
// guarded range goes to the handler that was there before.
//
// Ranges are nodes of a list that only ever grows; a freed node is reused, never unlinked, so that
// the handler may walk the list at any moment without a lock. Handler: any thread. Guard: control
// thread.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tsvswitch {

// One guarded mapping. `lost` must outlive the guard.
class SigbusGuard {
 public:
  SigbusGuard() = default;
  SigbusGuard(void* begin, size_t bytes, std::atomic<uint32_t>* lost);
  SigbusGuard(SigbusGuard&& other) noexcept : node_(other.node_) { other.node_ = nullptr; }
  SigbusGuard& operator=(SigbusGuard&& other) noexcept;
  ~SigbusGuard();

  struct Node;

 private:
  Node* node_ = nullptr;
};

}  // namespace tsvswitch
