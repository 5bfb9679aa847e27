// The queues of ports: started, moved, stopped and read, and the fds through which their drivers
// and frontends hear of them.

#include <string>

#include "addon/addon.h"
#include "addon/dataplane.h"
#include "addon/fields.h"
#include "addon/results.h"

namespace tsvswitch {

void DataplaneObject::StartQueue(const Napi::CallbackInfo& info) {
  AdoptedFds fds;
  fds.Adopt(info[2], "kickFd");
  const uint16_t port = PortArgument(info);
  const uint32_t queue = QueueArgument(info, port);
  const Napi::Object start = ObjectArgument(info, 2, "start");
  RequireEventfd(info.Env(), fds.Get(0));
  const uint32_t size = IntegerField(start, "size", 1, kQueueSizeMax);
  // A control queue has the number of a receiveq, and one that runs is no other's.
  const bool is_control = start.Has("controlPairs") && queue % 2 == 0;
  const uint32_t control_pairs =
      is_control ? IntegerField(start, "controlPairs", 1, kQueuePairsMax) : 0;
  if (dataplane_->QueueStarted(port, queue)) {
    throw CodedError(info.Env(), "BAD_OPTION", "the queue runs already");
  }
  const QueueStart request = {.rings = ToRings(start),
                              .size = size,
                              .base = IntegerField(start, "base", 0, UINT32_MAX),
                              .kick_fd = fds.Release(0),
                              .control_pairs = control_pairs};
  ThrowUnlessTranslated(info.Env(), dataplane_->StartQueue(port, queue, request));
}

void DataplaneObject::MoveQueue(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  const uint32_t queue = QueueArgument(info, port);
  const RingAddresses rings = ToRings(ObjectArgument(info, 2, "rings"));
  if (!dataplane_->QueueStarted(port, queue)) {
    throw CodedError(info.Env(), "BAD_OPTION", "the queue does not run");
  }
  ThrowUnlessTranslated(info.Env(), dataplane_->MoveQueue(port, queue, rings));
}

Napi::Value DataplaneObject::ServeControl(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  const uint32_t queue = QueueArgument(info, port);
  const auto commands =
      static_cast<uint32_t>(IntegerArgument(info, 2, "commandsMax", 1, UINT16_MAX));
  if (!dataplane_->QueueStarted(port, queue) || !dataplane_->IsControlQueue(port, queue)) {
    throw CodedError(info.Env(), "BAD_OPTION", "the queue is not a started control queue");
  }
  const Dataplane::ControlTurn turn = dataplane_->ServeControl(port, queue, commands);
  const Napi::Object result = Napi::Object::New(info.Env());
  result.Set("commands", turn.commands);
  result.Set("more", turn.more);
  result.Set("announced", turn.announced);
  if (turn.mac != 0) result.Set("mac", static_cast<double>(turn.mac));
  return result;
}

Napi::Value DataplaneObject::StopQueue(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  return Napi::Number::New(info.Env(), dataplane_->StopQueue(port, QueueArgument(info, port)));
}

void DataplaneObject::EnableQueue(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  dataplane_->EnableQueue(port, QueueArgument(info, port), info[2].ToBoolean());
}

Napi::Value DataplaneObject::ReadQueue(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  const uint32_t queue = QueueArgument(info, port);
  if (!dataplane_->QueueStarted(port, queue)) {
    throw CodedError(info.Env(), "BAD_OPTION", "the queue does not run");
  }
  const Dataplane::QueueState read = dataplane_->ReadQueue(port, queue);
  const Napi::Object state = Napi::Object::New(info.Env());
  state.Set("base", read.base);
  state.Set("offered", read.offered);
  if (read.out_of_step) state.Set("outOfStep", true);
  if (read.broken != BreakReason::kNone) state.Set("broken", BreakReasonText(read.broken));
  return state;
}

void DataplaneObject::SetCall(const Napi::CallbackInfo& info) {
  SetSignal(info, &RequireEventfdOrSocket, &Dataplane::SetCall);
}

void DataplaneObject::SetErr(const Napi::CallbackInfo& info) {
  SetSignal(info, &RequireEventfd, &Dataplane::SetErr);
}

void DataplaneObject::SetSignal(const Napi::CallbackInfo& info, void (*require)(Napi::Env, int),
                                void (Dataplane::*set)(uint16_t, uint32_t, int)) {
  AdoptedFds fds(FdArgument(info, 2, true));
  const uint16_t port = PortArgument(info);
  const uint32_t queue = QueueArgument(info, port);
  require(info.Env(), fds.Get(0));
  (*dataplane_.*set)(port, queue, fds.Release(0));
}

}  // namespace tsvswitch
