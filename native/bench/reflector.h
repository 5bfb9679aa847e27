// A backend that is no switch: a thread of this process that moves each frame from the transmitq of
// port i to the receiveq of port i ^ 1, without a protocol, a lookup or a check.
//
// It is the ceiling of the client: a backend that does real work cannot be measured above it. It
// walks the rings as a device does (descriptors are read, one copy per frame, one used index per
// batch), so the cache traffic between the two cores is the real one.

#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "ring_port.h"

namespace tsvswitch::bench {

class Reflector {
 public:
  // Runs on `cpu` until destroyed; the ports outlive it. Split rings of one-piece buffers only.
  Reflector(const std::vector<RingPort*>& ports, int cpu);
  Reflector(const Reflector&) = delete;
  Reflector& operator=(const Reflector&) = delete;
  ~Reflector();

 private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace tsvswitch::bench
