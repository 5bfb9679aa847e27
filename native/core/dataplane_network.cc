// See dataplane.h: what joins ports, bridges and ports of this process, and the manual clock.

#include <sys/eventfd.h>

#include <cassert>
#include <utility>

#include "dataplane.h"
#include "notify.h"

namespace tsvswitch {

uint64_t Dataplane::Step(uint32_t rounds) {
  assert(clock_.manual());
  uint64_t moved = 0;
  for (uint32_t round = 0; round < rounds; ++round) {
    const uint32_t now_moved = workers_.front()->Round();
    if (now_moved == 0) break;
    moved += now_moved;
  }
  return moved;
}

void Dataplane::Advance(uint64_t ns) {
  const uint64_t end_ns = clock_.NowNs() + ns;
  Settle();
  clock_.AdvanceTo(end_ns);
  Settle();
}

// A guest in another process may offer frames as fast as they are taken, so there is an end.
void Dataplane::Settle() {
  constexpr uint32_t kRoundsMax = 1 << 16;
  Step(kRoundsMax);
}

uint32_t Dataplane::AddBridge(uint32_t ageing_s) {
  if (bridges_.size() == kBridgesMax) return kNoBridge;
  auto bridge = std::make_unique<Bridge>();
  bridge->fdb.SetAgeing(ageing_s);
  const PauseAll pause(*this);
  bridges_.push_back(std::move(bridge));
  return static_cast<uint32_t>(bridges_.size() - 1);
}

uint16_t Dataplane::AddHostPort(uint32_t bridge) {
  const uint16_t number = AddPort(1, bridge);
  if (number == kNoPort) return kNoPort;
  Port& port = PortAt(number);
  port.is_host = true;
  port.features = VIRTIO_F_VERSION_1;
  port.queues[0].ring = std::make_unique<HostReceiveq>();
  port.queues[1].ring = std::make_unique<HostTransmitq>();
  port.queues[1].kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const PauseAll pause(*this);
  for (Queue& queue : port.queues) queue.started = queue.enabled = true;
  FindReceivers(port);
  LeastLoadedWorker().Poll(port.queues[1]);
  return number;
}

HostTransmitq& Dataplane::HostTransmitqOf(uint16_t port) {
  assert(IsHostPort(port));
  return static_cast<HostTransmitq&>(*QueueAt(port, 1).ring);
}

HostReceiveq& Dataplane::HostReceiveqOf(uint16_t port) {
  assert(IsHostPort(port));
  return static_cast<HostReceiveq&>(*QueueAt(port, 0).ring);
}

void Dataplane::PublishHostSent(uint16_t port) {
  if (HostTransmitqOf(port).PublishSent()) Signal(QueueAt(port, 1).kick_fd);
}

}  // namespace tsvswitch
