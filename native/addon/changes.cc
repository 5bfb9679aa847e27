// What is changed of workers, bridges and ports while frames are moved.

#include <sched.h>

#include <cerrno>
#include <string>

#include "addon/addon.h"
#include "addon/dataplane.h"
#include "addon/fields.h"
#include "addon/results.h"

namespace tsvswitch {

void DataplaneObject::RemoveWorker(const Napi::CallbackInfo& info) {
  Dataplane& dataplane = Open(info.Env());
  if (dataplane.worker_count() == 1) {
    throw CodedError(info.Env(), "BAD_OPTION", "a switch has at least one worker");
  }
  dataplane.RemoveWorker();
}

void DataplaneObject::PinWorker(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Dataplane& dataplane = Open(env);
  if (dataplane.manual()) {
    throw CodedError(env, "BAD_OPTION", "a data plane whose clock is manual has no worker threads");
  }
  const int64_t worker = IntegerArgument(info, 0, "worker", 0, dataplane.worker_count() - 1);
  const auto cpu = static_cast<int>(IntegerArgument(info, 1, "cpu", -1, CPU_SETSIZE - 1));
  if (!dataplane.PinWorker(static_cast<uint32_t>(worker), cpu)) {
    throw SystemError(env, "pthread_setaffinity_np", AddedWorkerCannotRun(cpu), errno);
  }
}

void DataplaneObject::SetIdle(const Napi::CallbackInfo& info) {
  Dataplane& dataplane = Open(info.Env());
  dataplane.SetIdle(static_cast<uint32_t>(IntegerArgument(info, 0, "idleUs", 0, INT32_MAX)));
}

void DataplaneObject::SetAgeing(const Napi::CallbackInfo& info) {
  const uint32_t bridge = BridgeArgument(info, 0);
  const int64_t ageing_s = IntegerArgument(info, 1, "ageingSeconds", 0, INT32_MAX);
  dataplane_->SetAgeing(bridge, static_cast<uint32_t>(ageing_s));
}

void DataplaneObject::RemoveBridge(const Napi::CallbackInfo& info) {
  const uint32_t bridge = BridgeArgument(info, 0);
  if (dataplane_->PortsOn(bridge) != 0) {
    throw CodedError(info.Env(), "BAD_OPTION",
                     "bridge " + std::to_string(bridge) + " still has ports");
  }
  dataplane_->RemoveBridge(bridge);
}

void DataplaneObject::MovePort(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  dataplane_->MovePort(port, BridgeArgument(info, 1));
}

void DataplaneObject::UnbindSources(const Napi::CallbackInfo& info) {
  dataplane_->UnbindSources(PortArgument(info));
}

}  // namespace tsvswitch
