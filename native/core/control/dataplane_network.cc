// See dataplane.h: bridges, links and partitions between ports, ports of this process, sessions and
// the manual clock.

#include <sys/eventfd.h>

#include <cassert>
#include <utility>

#include "core/control/dataplane.h"
#include "core/policy/stages.h"
#include "core/port/notify.h"

namespace tsvswitch {

uint64_t Dataplane::Step(uint32_t rounds) {
  assert(clock_.manual());
  uint64_t moved = 0;
  for (uint32_t round = 0; round < rounds; ++round) {
    const uint32_t now_moved = workers_.front()->Round();
    if (now_moved == 0) break;
    moved += now_moved;
  }
  // With a manual clock, what happens does not hang on when events are read.
  GrowTables(Fdb::kBucketsMax);
  return moved;
}

void Dataplane::Advance(uint64_t ns) {
  const uint64_t end_ns = clock_.NowNs() + ns;
  Settle();
  // Every turn moves the clock on, unless settling was given up.
  for (uint64_t due_ns = workers_.front()->next_due_ns(); due_ns <= end_ns;
       due_ns = workers_.front()->next_due_ns()) {
    if (due_ns <= clock_.NowNs()) break;
    clock_.AdvanceTo(due_ns);
    Settle();
  }
  clock_.AdvanceTo(end_ns);
  Settle();
  workers_.front()->SweepAll();
}

// A guest in another process may offer frames as fast as they are taken, so there is an end.
void Dataplane::Settle() {
  constexpr uint32_t kRoundsMax = 1 << 16;
  Step(kRoundsMax);
}

uint32_t Dataplane::AddBridge(uint32_t ageing_s) {
  uint32_t number = 0;
  while (HasBridge(number)) ++number;
  if (number == kBridgesMax) return kNoBridge;
  auto bridge = std::make_unique<Bridge>(NextFdbSeed());
  bridge->fdb.SetAgeing(ageing_s);
  const PauseAll pause(*this);
  if (number == bridges_.size()) bridges_.emplace_back();
  bridges_[number] = std::move(bridge);
  return number;
}

void Dataplane::RemoveBridge(uint32_t bridge) {
  assert(HasBridge(bridge) && bridges_[bridge]->member_count == 0);
  std::unique_ptr<Bridge> removed;  // goes after the pause
  const PauseAll pause(*this);
  removed.swap(bridges_[bridge]);
}

void Dataplane::MovePort(uint16_t port, uint32_t bridge) {
  Port& moved = PortAt(port);
  Bridge& to = *bridges_[bridge];
  if (moved.bridge == &to) return;
  moved.bridge->fdb.FlushAll(port);
  auto left = moved.bridge->ListHearers(kNoPort, port);
  auto joined = to.ListHearers(port, kNoPort);
  const PauseAll pause(*this);
  Unrecord(moved, moved.bridge->captures);
  Leave(moved, left);
  for (Queue& queue : moved.queues) {
    // Learned on the old bridge, or flooded to its members.
    queue.known = {};
    queue.flooded_to = 0;
  }
  Join(moved, to, joined);
}

uint16_t Dataplane::AddProcessPort(uint32_t bridge) {
  const uint16_t number = AddPort(1, bridge);
  if (number == kNoPort) return kNoPort;
  Port& port = PortAt(number);
  port.process = std::make_unique<ProcessQueues>();
  port.features = VIRTIO_F_VERSION_1;
  port.queues[0].Hold(port.process->receiveq);
  port.queues[1].Hold(port.process->transmitq);
  port.queues[1].kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const PauseAll pause(*this);
  for (Queue& queue : port.queues) queue.started = queue.enabled = true;
  port.FindReceivers();
  Assign(port.queues[1], LeastLoadedWorker());
  return number;
}

void Dataplane::BindSources(uint16_t port, SourceRule rule) {
  auto sources = std::make_unique<Sources>(std::move(rule));
  const PauseAll pause(*this);
  PortAt(port).policies.Swap(sources);
  FindStages(PortAt(port));
}

void Dataplane::UnbindSources(uint16_t port) {
  std::unique_ptr<Sources> sources;  // goes after the pause
  const PauseAll pause(*this);
  PortAt(port).policies.Swap(sources);
  FindStages(PortAt(port));
}

uint32_t Dataplane::EndSession(uint16_t port) {
  Port& ended = PortAt(port);
  // What its rings were has no owner any more, nor has their memory.
  std::vector<std::unique_ptr<Virtqueue>> rings;
  ended.bridge->fdb.Flush(port);
  {
    const PauseAll pause(*this);
    ended.session = ++sessions_;
    // Whatever somebody has met in the meantime was the last session's.
    ended.lost_handled.store(ended.lost.load(std::memory_order_relaxed), std::memory_order_relaxed);
    ended.eventfd_blocked.store(false, std::memory_order_relaxed);
    Sources* const sources = ended.policies.get<Sources>();
    if (sources != nullptr) sources->reported.store(0, std::memory_order_relaxed);
    for (Queue& queue : ended.queues) {
      if (queue.started || queue.ring == nullptr) continue;
      rings.emplace_back();
      queue.Hold(rings.back());
    }
  }
  return ended.session;
}

void Dataplane::SetLink(uint16_t from, uint16_t to, const LinkSettings* settings) {
  assert((from == kNoPort || HasPort(from)) && (to == kNoPort || HasPort(to)));
  assert(from != to);
  Port& port = PortAt(to == kNoPort ? from : to);
  // Objects are allocated before the pause, and those no longer needed are freed after it.
  auto impairment = std::make_unique<Impairment>();
  std::unique_ptr<Link> link;
  const bool is_between = from != kNoPort && to != kNoPort;
  Impairment::FromPort added;
  Impairment::FromPort::node_type removed;
  if (is_between) added.emplace(from, nullptr);
  std::vector<std::unique_ptr<Wire>> wires;
  if (settings != nullptr) {
    link = std::make_unique<Link>(*settings);
    while (workers_.front()->wire() == nullptr && wires.size() < workers_.size()) {
      // Seeded like the rest, so that with a manual clock all bytes are the same each time.
      wires.push_back(std::make_unique<Wire>(clock_, static_cast<uint32_t>(settings->seed)));
    }
  }
  const PauseAll pause(*this);
  for (size_t i = 0; i < wires.size(); ++i) workers_[i]->SetWire(std::move(wires[i]));
  if (port.policies.get<Impairment>() == nullptr) port.policies.Swap(impairment);
  Impairment& present = *port.policies.get<Impairment>();
  present.from_port.merge(added);
  std::unique_ptr<Link>& place = to == kNoPort     ? present.from_guest
                                 : from == kNoPort ? present.to_guest
                                                   : present.from_port[from];
  if (place != nullptr && settings != nullptr) {
    place->Set(*settings);
  } else {
    place.swap(link);
  }
  if (settings == nullptr && is_between) removed = present.from_port.extract(from);
  if (auto unneeded = TakeIfUnimpaired(port)) impairment = std::move(unneeded);
}

void Dataplane::SetPartition(const std::vector<std::vector<uint16_t>>& sides) {
  std::vector<uint16_t> side_of(ports_.size(), 0);
  for (size_t side = 0; side < sides.size(); ++side) {
    for (const uint16_t port : sides[side]) side_of[port] = static_cast<uint16_t>(side + 1);
  }
  // Made before the pause and deleted after it, for each port.
  std::vector<std::unique_ptr<Impairment>> impairments(ports_.size());
  for (auto& impairment : impairments) impairment = std::make_unique<Impairment>();
  const PauseAll pause(*this);
  for (size_t number = 0; number < ports_.size(); ++number) {
    Port* const port = ports_[number].get();
    if (port == nullptr) continue;
    if (port->policies.get<Impairment>() == nullptr) port->policies.Swap(impairments[number]);
    port->policies.get<Impairment>()->side = side_of[number];
    if (auto unneeded = TakeIfUnimpaired(*port)) impairments[number] = std::move(unneeded);
  }
}

// A port that nothing is wrong with pays nothing.
std::unique_ptr<Impairment> Dataplane::TakeIfUnimpaired(Port& port) {
  const Impairment& impairment = *port.policies.get<Impairment>();
  std::unique_ptr<Impairment> unneeded;
  if (impairment.from_guest == nullptr && impairment.to_guest == nullptr &&
      impairment.from_port.empty() && impairment.side == 0) {
    port.policies.Swap(unneeded);
  }
  FindStages(port);
  return unneeded;
}

ProcessTransmitq& Dataplane::ProcessTransmitqOf(uint16_t port) {
  assert(IsProcessPort(port));
  return PortAt(port).process->transmitq;
}

ProcessReceiveq& Dataplane::ProcessReceiveqOf(uint16_t port) {
  assert(IsProcessPort(port));
  return PortAt(port).process->receiveq;
}

void Dataplane::PublishProcessSent(uint16_t port) {
  if (ProcessTransmitqOf(port).PublishSent()) Signal(QueueAt(port, 1).kick_fd);
}

}  // namespace tsvswitch
