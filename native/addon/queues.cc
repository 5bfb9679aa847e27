// The queues of ports: started, moved, stopped and read, and the fds through which their drivers
// and frontends hear of them.
//
// A handle of a queue names it and has no life of its own: it is as open as its port.
//
// Thread: the JavaScript thread of the environment.

#include <string>

#include "addon/fields.h"
#include "addon/handle.h"
#include "addon/results.h"

namespace tsvswitch {

namespace {

using QueueHandle = HandleObject<QueueState>;

Dataplane& CoreOf(const QueueState& queue, Napi::Env env) { return queue.port->Core(env); }

Dataplane& Started(const QueueState& queue, Napi::Env env) {
  Dataplane& core = CoreOf(queue, env);
  if (core.QueueStarted(queue.port->port(), queue.queue)) return core;
  throw FaultError(env, "queue-stopped");
}

void Start(QueueState& queue, const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  AdoptedFds fds;
  fds.Adopt(info[0], "kickFd");
  const Napi::Object start = ObjectArgument(info, 0, "start");
  QueueStart request = {.rings = ToRings(start),
                        .size = IntegerField(start, "size", 1, kQueueSizeMax),
                        .base = IntegerField(start, "base", 0, UINT32_MAX),
                        .kick_fd = fds.Get(0)};
  // A control queue has the number of a receiveq, and one that runs is no other's.
  if (queue.queue % 2 == 0 && start.Has("controlPairs")) {
    request.control_pairs = IntegerField(start, "controlPairs", 1, kQueuePairsMax);
  }
  RequireEventfd(env, fds.Get(0));
  Dataplane& core = CoreOf(queue, env);
  if (core.QueueStarted(queue.port->port(), queue.queue)) {
    throw FaultError(env, "queue-runs");
  }
  fds.Release(0);
  ThrowUnlessTranslated(env, core.StartQueue(queue.port->port(), queue.queue, request));
}

void Move(QueueState& queue, const Napi::CallbackInfo& info) {
  const RingAddresses rings = ToRings(ObjectArgument(info, 0, "rings"));
  Dataplane& core = Started(queue, info.Env());
  ThrowUnlessTranslated(info.Env(), core.MoveQueue(queue.port->port(), queue.queue, rings));
}

Napi::Value ServeControl(QueueState& queue, const Napi::CallbackInfo& info) {
  const auto commands =
      static_cast<uint32_t>(IntegerArgument(info, 0, "commandsMax", 1, UINT16_MAX));
  const uint16_t port = queue.port->port();
  Dataplane& core = Started(queue, info.Env());
  if (!core.IsControlQueue(port, queue.queue)) {
    throw FaultError(info.Env(), "queue-no-control");
  }
  const Dataplane::ControlTurn turn = core.ServeControl(port, queue.queue, commands);
  const Napi::Object result = Napi::Object::New(info.Env());
  result.Set("commands", turn.commands);
  result.Set("more", turn.more);
  result.Set("announced", turn.announced);
  if (turn.mac != 0) result.Set("mac", static_cast<double>(turn.mac));
  return result;
}

Napi::Value Stop(QueueState& queue, const Napi::CallbackInfo& info) {
  Dataplane& core = CoreOf(queue, info.Env());
  return Napi::Number::New(info.Env(), core.StopQueue(queue.port->port(), queue.queue));
}

void Enable(QueueState& queue, const Napi::CallbackInfo& info) {
  const bool enabled = BooleanArgument(info, 0, "enabled");
  CoreOf(queue, info.Env()).EnableQueue(queue.port->port(), queue.queue, enabled);
}

Napi::Value Read(QueueState& queue, const Napi::CallbackInfo& info) {
  Dataplane& core = Started(queue, info.Env());
  const Dataplane::QueueState read = core.ReadQueue(queue.port->port(), queue.queue);
  const Napi::Object state = Napi::Object::New(info.Env());
  state.Set("base", read.base);
  state.Set("offered", read.offered);
  if (read.out_of_step) state.Set("outOfStep", true);
  if (read.broken != BreakReason::kNone) state.Set("broken", BreakReasonCode(read.broken));
  return state;
}

void SetCall(QueueState& queue, const Napi::CallbackInfo& info) {
  AdoptedFds fds(FdArgument(info, 0, true));
  RequireEventfdOrSocket(info.Env(), fds.Get(0));
  Dataplane& core = CoreOf(queue, info.Env());
  core.SetCall(queue.port->port(), queue.queue, fds.Release(0));
}

void SetErr(QueueState& queue, const Napi::CallbackInfo& info) {
  AdoptedFds fds(FdArgument(info, 0, true));
  RequireEventfd(info.Env(), fds.Get(0));
  Dataplane& core = CoreOf(queue, info.Env());
  core.SetErr(queue.port->port(), queue.queue, fds.Release(0));
}

// Of a port of this process.
void RequestCall(QueueState& queue, const Napi::CallbackInfo& info) {
  Dataplane& core = CoreOf(queue, info.Env());
  if (queue.queue == 0) {
    core.ProcessReceiveqOf(queue.port->port()).RequestCall();
  } else {
    core.ProcessTransmitqOf(queue.port->port()).RequestCall();
  }
}

Dataplane& StartedTransmitq(const QueueState& queue, Napi::Env env) {
  Dataplane& core = Started(queue, env);
  if (queue.queue % 2 == 1) return core;
  throw FaultError(env, "queue-no-transmitq");
}

Napi::Value WorkerOf(QueueState& queue, const Napi::CallbackInfo& info) {
  Dataplane& core = StartedTransmitq(queue, info.Env());
  return Napi::Number::New(info.Env(), core.WorkerOf(queue.port->port(), queue.queue));
}

void AssignWorker(QueueState& queue, const Napi::CallbackInfo& info) {
  Dataplane& core = StartedTransmitq(queue, info.Env());
  const int64_t worker = IntegerArgument(info, 0, "worker", 0, core.worker_count() - 1);
  core.AssignWorker(queue.port->port(), queue.queue, static_cast<uint32_t>(worker));
}

}  // namespace

Napi::Object OpenQueue(PortState& port, const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Dataplane& core = port.Core(env);
  const int64_t queues = core.QueueCount(port.port());
  const auto queue = static_cast<uint32_t>(IntegerArgument(info, 0, "queue", 0, queues - 1));
  const Instance& instance = Instance::Of(env);
  const auto state = std::make_shared<QueueState>(port.plane->PortAt(port.port()), queue);
  return QueueHandle::Make(
      env,
      core.IsProcessPort(port.port()) ? instance.process_queue_class : instance.ring_queue_class,
      state);
}

void DefineQueues(Napi::Env env) {
  using Handle = QueueHandle;
  Instance::Of(env).ring_queue_class =
      Handle::Class(env, "RingQueue",
                    {
                        Handle::Calls<&Start, 1>("start"),
                        Handle::Calls<&Move, 1>("move"),
                        Handle::Calls<&Stop, 0>("stop"),
                        Handle::Calls<&Enable, 1>("enable"),
                        Handle::Calls<&Read, 0>("read"),
                        Handle::Calls<&ServeControl, 1>("serveControl"),
                        Handle::Calls<&SetCall, 1>("setCall"),
                        Handle::Calls<&SetErr, 1>("setErr"),
                        Handle::Calls<&WorkerOf, 0>("worker"),
                        Handle::Calls<&AssignWorker, 1>("assign"),
                    });
  Instance::Of(env).process_queue_class =
      Handle::Class(env, "ProcessQueue",
                    {
                        Handle::Calls<&SetCall, 1>("setCall"),
                        Handle::Calls<&RequestCall, 0>("requestCall"),
                        Handle::Calls<&WorkerOf, 0>("worker"),
                        Handle::Calls<&AssignWorker, 1>("assign"),
                    });
}

}  // namespace tsvswitch
