// The data plane as a JavaScript object: what its methods are, and what they share.
//
// dataplane.cc has its life and its ports; dataplane_arguments.cc what its methods are called with;
// queues.cc the queues of these; network.cc what joins ports or keeps them apart, ports of this
// process, and the clock of a data plane without threads; sources.cc what ports are bound to.
//
// Thread: the JavaScript thread of the environment, except Notify (any worker).

#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>

#include "core/control/dataplane.h"

namespace tsvswitch {

class DataplaneObject : public Napi::ObjectWrap<DataplaneObject> {
 public:
  explicit DataplaneObject(const Napi::CallbackInfo& info);
  ~DataplaneObject() override { Shutdown(); }

  static Napi::Function Class(Napi::Env env);

 private:
  static void Notify(void* context);
  static void OnTeardown(void* self) { static_cast<DataplaneObject*>(self)->Shutdown(); }
  void Shutdown();
  void DrainEvents(Napi::Env env, Napi::Function on_event);
  bool Outdated(const Event& event);

  Dataplane& Open(Napi::Env env);
  uint16_t PortArgument(const Napi::CallbackInfo& info);
  uint32_t QueueArgument(const Napi::CallbackInfo& info, uint16_t port);

  uint32_t StartedTransmitqArgument(const Napi::CallbackInfo& info, uint16_t port);

  Napi::Value AddPort(const Napi::CallbackInfo& info);
  void RemovePort(const Napi::CallbackInfo& info);
  Napi::Value Counters(const Napi::CallbackInfo& info);
  void SetMemory(const Napi::CallbackInfo& info);
  void AddMemoryRegion(const Napi::CallbackInfo& info);
  void RemoveMemoryRegion(const Napi::CallbackInfo& info);
  void SetFeatures(const Napi::CallbackInfo& info);
  void SetMtu(const Napi::CallbackInfo& info);
  void StartQueue(const Napi::CallbackInfo& info);
  void MoveQueue(const Napi::CallbackInfo& info);
  Napi::Value ServeControl(const Napi::CallbackInfo& info);
  Napi::Value StopQueue(const Napi::CallbackInfo& info);
  void EnableQueue(const Napi::CallbackInfo& info);
  Napi::Value ReadQueue(const Napi::CallbackInfo& info);
  void AddWorker(const Napi::CallbackInfo& info);
  void RemoveWorker(const Napi::CallbackInfo& info);
  void PinWorker(const Napi::CallbackInfo& info);
  void SetIdle(const Napi::CallbackInfo& info);
  Napi::Value WorkerOf(const Napi::CallbackInfo& info);
  void AssignWorker(const Napi::CallbackInfo& info);
  void SetCall(const Napi::CallbackInfo& info);
  void SetErr(const Napi::CallbackInfo& info);
  void SetSignal(const Napi::CallbackInfo& info, void (*require)(Napi::Env, int),
                 void (Dataplane::*set)(uint16_t, uint32_t, int));
  void SetLog(const Napi::CallbackInfo& info);
  void SetLogging(const Napi::CallbackInfo& info);
  void Announce(const Napi::CallbackInfo& info);
  // network.cc
  uint32_t BridgeArgument(const Napi::CallbackInfo& info, size_t index);
  uint16_t ProcessPortArgument(const Napi::CallbackInfo& info);
  Napi::Value PortNumber(Napi::Env env, uint16_t port);
  Napi::Value AddBridge(const Napi::CallbackInfo& info);
  Napi::Value AddProcessPort(const Napi::CallbackInfo& info);
  Napi::Value ProcessSend(const Napi::CallbackInfo& info);
  Napi::Value ProcessReceive(const Napi::CallbackInfo& info);
  Napi::Value ProcessDrained(const Napi::CallbackInfo& info);
  void ProcessRequestCall(const Napi::CallbackInfo& info);
  uint16_t LinkEndArgument(const Napi::CallbackInfo& info, size_t index);
  void SetLink(const Napi::CallbackInfo& info);
  void SetPartition(const Napi::CallbackInfo& info);
  Napi::Value Step(const Napi::CallbackInfo& info);
  Dataplane& Manual(Napi::Env env);
  void Advance(const Napi::CallbackInfo& info);
  void DrainEventsNow(const Napi::CallbackInfo& info);
  Napi::Value ReadFdb(const Napi::CallbackInfo& info);
  void FlushFdb(const Napi::CallbackInfo& info);
  void SetAgeing(const Napi::CallbackInfo& info);
  void RemoveBridge(const Napi::CallbackInfo& info);
  void MovePort(const Napi::CallbackInfo& info);
  void UnbindSources(const Napi::CallbackInfo& info);
  Napi::Value EndSession(const Napi::CallbackInfo& info);
  Napi::Value SessionOf(const Napi::CallbackInfo& info);
  // sources.cc
  void BindSources(const Napi::CallbackInfo& info);
  static void SetSpoofed(Napi::Object event, const SpoofedSource& spoofed);
  // capture.cc
  uint32_t SnapArgument(const Napi::CallbackInfo& info);
  Capture& CaptureArgument(const Napi::CallbackInfo& info);
  Napi::Value CapturePort(const Napi::CallbackInfo& info);
  Napi::Value CaptureBridge(const Napi::CallbackInfo& info);
  Napi::Value CaptureRead(const Napi::CallbackInfo& info);
  void CaptureRequestCall(const Napi::CallbackInfo& info);
  Napi::Value CaptureLost(const Napi::CallbackInfo& info);
  void RemoveCapture(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo&) { Shutdown(); }

  std::unique_ptr<Dataplane> dataplane_;
  Napi::ThreadSafeFunction on_event_;
};

}  // namespace tsvswitch
