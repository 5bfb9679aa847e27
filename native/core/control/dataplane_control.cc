// See dataplane.h: the control queue of a port.
//
// No worker touches a control queue, and memory is exchanged by this thread only, so commands are
// read, judged and answered without a pause. A pause is taken where a turn's commands change what
// rounds read, once for all of them, and where the queue breaks.
//
// The caller decides how often: a driver that sends nothing but commands costs turns of the event
// loop.

#include <cassert>

#include "core/control/control_command.h"
#include "core/control/dataplane.h"
#include "core/port/notify.h"

namespace tsvswitch {

namespace {

// Read and judged, and not answered before it is in force.
struct Judged {
  uint8_t* status;
  uint16_t id;
  uint16_t descriptors;
  uint8_t answer;
};

constexpr uint32_t kCommandsPerTurnMax = 16;

// The base of a packed ring that nothing was taken from: both wrap counters are 1.
constexpr uint32_t kPackedBegin = 0x8000'8000;

}  // namespace

// Under a pause. What was said on this queue before it was stopped holds on where it goes on: a
// machine was paused. At its beginning there is another driver.
void Dataplane::BeginControl(Queue& queue, const QueueStart& start) {
  assert(!queue.is_transmitq());
  Controlled& controlled = queue.port->controlled;
  controlled.pairs_max = start.control_pairs;
  const bool is_packed = (controlled.negotiated & VIRTIO_F_RING_PACKED) != 0;
  const bool begins = queue.start_base == (is_packed ? kPackedBegin : 0);
  // §5.1.6.5.5: one queue pair is the default, until the driver says otherwise.
  if (begins || controlled.pairs == Controlled::kAllPairs) controlled.pairs = 1;
  if (begins) queue.port->features = controlled.negotiated;
  queue.ring->EnableKicks();
}

Dataplane::ControlTurn Dataplane::ServeControl(uint16_t port, uint32_t queue,
                                               uint32_t commands_max) {
  Queue& served = QueueAt(port, queue);
  assert(served.started && served.is_control);
  ControlTurn turn;
  if (!served.Served()) return turn;
  Port& at = *served.port;
  const Sources* const sources = at.policies.get<Sources>();
  const ControlTerms terms = {.features = at.controlled.negotiated,
                              .pairs_max = at.controlled.pairs_max,
                              .macs = sources == nullptr ? nullptr : &sources->rule.macs};
  uint32_t pairs = at.controlled.pairs;
  uint64_t features = at.features;
  BreakReason broken = BreakReason::kNone;
  Judged judged[kCommandsPerTurnMax];
  commands_max = commands_max < kCommandsPerTurnMax ? commands_max : kCommandsPerTurnMax;
  while (turn.commands < commands_max && served.ring->TakeCommand(&command_, &broken)) {
    if (command_.status == nullptr) {
      broken = BreakReason::kCommandWithoutStatus;
      break;
    }
    // vhost-user "Ring states": a ring that is not enabled is processed without side effects.
    ControlVerdict verdict;
    if (served.enabled) verdict = JudgeCommand(command_.data.get(), command_.bytes, terms);
    switch (verdict.effect) {
      case ControlVerdict::Effect::kPairs: pairs = static_cast<uint32_t>(verdict.value); break;
      case ControlVerdict::Effect::kOffloads:
        features = (terms.features & ~GuestOffloads(terms.features)) | verdict.value;
        break;
      case ControlVerdict::Effect::kMac: turn.mac = verdict.value; break;
      case ControlVerdict::Effect::kAnnounced: turn.announced = true; break;
      case ControlVerdict::Effect::kRefused:
      case ControlVerdict::Effect::kNone: break;
    }
    judged[turn.commands++] = {command_.status, command_.id, command_.descriptors,
                               verdict.status()};
  }
  FollowCommand(at, pairs, features);
  for (uint32_t i = 0; i < turn.commands; ++i) {
    *judged[i].status = judged[i].answer;
    if (at.Logs()) at.dirty_log->Mark(at.memory->GuestAddressOf(judged[i].status), 1);
    served.ring->ReturnCommand(judged[i].id, judged[i].descriptors, 1);
  }
  if (broken == BreakReason::kNone) {
    served.ring->EnableKicks();
    // A command that came before the wish for a kick was seen.
    turn.more = served.ring->Offered(1, &broken) != 0;
  }
  if (turn.commands != 0) NotifyDriver(served);
  LogRing(served);
  GiveUpControl(served, broken);
  return turn;
}

// Puts in force what the driver has said: from now on frames go to the receivers it wants, and as
// it takes them.
void Dataplane::FollowCommand(Port& port, uint32_t pairs, uint64_t features) {
  if (port.controlled.pairs == pairs && port.features == features) return;
  const PauseAll pause(*this);
  port.controlled.pairs = pairs;
  port.features = features;
  port.FindReceivers();
}

void Dataplane::GiveUpControl(Queue& queue, BreakReason broken) {
  Port& port = *queue.port;
  const bool lost = port.lost.load(std::memory_order_acquire) !=
                    port.lost_handled.load(std::memory_order_relaxed);
  if (!lost && broken == BreakReason::kNone) return;
  // The events of a worker are its own but in a pause. Lost memory first: it reads as zeros, which
  // would otherwise be blamed on the guest.
  const PauseAll pause(*this);
  EventRing& events = workers_.front()->events();
  GiveUpIfLost(port, events);
  if (broken != BreakReason::kNone) Break(queue, broken, events);
}

}  // namespace tsvswitch
