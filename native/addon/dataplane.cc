// As dataplane.h declares it: checks arguments, adopts fds, turns results into errors.
//
// The frontend's words were checked in TypeScript; what is checked here again is what would make
// core assert: types, ranges, an open port. Events come from the workers through a thread-safe
// function that is only told that there is something; the JavaScript thread then empties the
// workers' rings.
//
// An fd in the arguments is closed here unless core took it, also when an argument is wrong.

#include "addon/dataplane.h"

#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "addon/addon.h"
#include "addon/fields.h"
#include "addon/results.h"

namespace tsvswitch {

namespace {

constexpr uint32_t kWorkersMax = 64;

}  // namespace

DataplaneObject::DataplaneObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<DataplaneObject>(info) {
  const Napi::Env env = info.Env();
  const Napi::Object options = ObjectArgument(info, 0, "options");
  const uint32_t workers = IntegerField(options, "workers", 1, kWorkersMax);
  std::vector<int> cpus(workers, -1);
  const Napi::Value cpu_list = options.Get("cpus");
  if (!cpu_list.IsArray()) throw BadField(env, "cpus", "an array of CPU numbers");
  const Napi::Array cpu_array = cpu_list.As<Napi::Array>();
  for (uint32_t i = 0; i < cpu_array.Length() && i < workers; ++i) {
    const Napi::Value cpu = cpu_array[i];
    if (!cpu.IsNumber()) throw BadField(env, "cpus", "an array of CPU numbers");
    cpus[i] = cpu.As<Napi::Number>().Int32Value();
    if (cpus[i] < 0 || cpus[i] >= CPU_SETSIZE) throw BadField(env, "cpus", "CPU numbers");
  }
  const Napi::Value on_event = options.Get("onEvent");
  if (!on_event.IsFunction()) throw BadField(env, "onEvent", "a function");
  const uint32_t idle_us = IntegerField(options, "idleUs", 0, UINT32_MAX);

  // Workers first: if they cannot run, nothing refers to this object yet. They have nothing to
  // notify of before there is a port.
  dataplane_ = std::make_unique<Dataplane>(
      Dataplane::Options{.worker_cpus = cpus,
                         .idle_us = idle_us,
                         .manual = options.Get("manual").ToBoolean(),
                         .sandbox = options.Get("sandbox").ToBoolean(),
                         .fragment_id = IntegerField(options, "fragmentId", 0, UINT32_MAX),
                         .notify = Notify,
                         .notify_context = this});
  if (!dataplane_->Start()) {
    const int error_number = errno;
    dataplane_.reset();
    throw SystemError(env, "pthread_create", WorkersCannotRun(cpus), error_number);
  }
  // Until the last queued call has run, the object must not be collected: Notify passes `this`.
  Ref();
  on_event_ = Napi::ThreadSafeFunction::New(
      env, on_event.As<Napi::Function>(), "tsvswitch", 0, 1, this,
      [](Napi::Env, void*, DataplaneObject* self) { self->Unref(); }, static_cast<void*>(nullptr));
  // Events alone keep no process alive; ports do, through their sockets.
  on_event_.Unref(env);
  napi_add_env_cleanup_hook(env, OnTeardown, this);
}

void DataplaneObject::Shutdown() {
  if (dataplane_ == nullptr) return;
  dataplane_.reset();  // joins the workers: no Notify after this
  napi_remove_env_cleanup_hook(Env(), OnTeardown, this);
  on_event_.Release();
}

void DataplaneObject::Notify(void* context) {
  auto* self = static_cast<DataplaneObject*>(context);
  self->on_event_.NonBlockingCall([self](Napi::Env env, Napi::Function on_event) {
    if (env == nullptr) return;
    try {
      self->DrainEvents(env, on_event);
    } catch (const Napi::Error& error) {
      // As uncaught as in any callback; empty if the environment is ending and runs no JavaScript.
      if (!error.IsEmpty()) napi_fatal_exception(env, error.Value());
    }
  });
}

void DataplaneObject::DrainEvents(Napi::Env env, Napi::Function on_event) {
  Event event;
  // The handler may close the data plane, so it is looked at again each time.
  while (dataplane_ != nullptr && dataplane_->PopEvent(&event)) {
    if (Outdated(event)) continue;
    const Napi::HandleScope scope(env);
    const Napi::Object object = Napi::Object::New(env);
    object.Set("port", event.port);
    object.Set("session", event.session);
    switch (event.type) {
      case Event::Type::kMacMoved: object.Set("fromPort", event.from_port); [[fallthrough]];
      case Event::Type::kMacLearned:
        object.Set("type", event.type == Event::Type::kMacMoved ? "mac-moved" : "mac-learned");
        object.Set("mac", static_cast<double>(event.mac));
        object.Set("vlan", event.vlan);
        break;
      case Event::Type::kSpoofed:
        object.Set("type", "spoofed");
        SetSpoofed(object, event.spoofed);
        break;
      case Event::Type::kQueueBroken:
        object.Set("type", "queue-broken");
        object.Set("queue", event.queue);
        object.Set("reason", BreakReasonText(event.reason));
        break;
      case Event::Type::kMemoryLost: object.Set("type", "memory-lost"); break;
      case Event::Type::kEventfdBlocked: object.Set("type", "made-wait"); break;
    }
    on_event.Call({object});
  }
}

// A queue that was started again since the worker said so.
bool DataplaneObject::Outdated(const Event& event) {
  return event.type == Event::Type::kQueueBroken &&
         !dataplane_->QueueBroken(event.port, event.queue);
}

Napi::Value DataplaneObject::AddPort(const Napi::CallbackInfo& info) {
  const uint32_t bridge = BridgeArgument(info, 1);
  const auto queue_pairs =
      static_cast<uint32_t>(IntegerArgument(info, 0, "queuePairs", 1, kQueuePairsMax));
  return PortNumber(info.Env(), dataplane_->AddPort(queue_pairs, bridge));
}

void DataplaneObject::RemovePort(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  dataplane_->RemovePort(port);
}

Napi::Value DataplaneObject::Counters(const Napi::CallbackInfo& info) {
  using Kept = std::shared_ptr<QueueCounters[]>;
  const uint16_t port = PortArgument(info);
  auto* kept = new Kept(dataplane_->Counters(port));
  const size_t bytes = dataplane_->QueueCount(port) * sizeof(QueueCounters);
  const Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(
      info.Env(), kept->get(), bytes, [](Napi::Env, void*, Kept* k) { delete k; }, kept);
  return Napi::BigUint64Array::New(info.Env(), bytes / sizeof(uint64_t), buffer, 0);
}

void DataplaneObject::SetMemory(const Napi::CallbackInfo& info) {
  AdoptedFds fds;
  const bool is_array = info[1].IsArray();
  const Napi::Array list = is_array ? info[1].As<Napi::Array>() : Napi::Array::New(info.Env());
  for (uint32_t i = 0; i < list.Length(); ++i) fds.Adopt(list[i], "fd");
  if (!is_array) throw BadField(info.Env(), "regions", "an array");
  const uint16_t port = PortArgument(info);
  std::vector<RegionWithFile> regions;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value region = list[i];
    if (!region.IsObject()) throw BadField(info.Env(), "regions", "an array of objects");
    regions.push_back({ToRegion(region.As<Napi::Object>()), fds.Get(i)});
  }
  for (uint32_t i = 0; i < list.Length(); ++i) fds.Release(i);
  ThrowUnlessMapped(info.Env(), dataplane_->SetMemory(port, regions));
}

void DataplaneObject::AddMemoryRegion(const Napi::CallbackInfo& info) {
  AdoptedFds fds;
  fds.Adopt(info[1], "fd");
  const uint16_t port = PortArgument(info);
  const RegionDescription region = ToRegion(ObjectArgument(info, 1, "region"));
  ThrowUnlessMapped(info.Env(), dataplane_->AddMemoryRegion(port, {region, fds.Release(0)}));
}

void DataplaneObject::RemoveMemoryRegion(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  const RegionDescription region = ToRegion(ObjectArgument(info, 1, "region"));
  ThrowUnlessMapped(info.Env(), dataplane_->RemoveMemoryRegion(port, region));
}

void DataplaneObject::SetFeatures(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  bool lossless = false;
  const uint64_t features =
      info[1].IsBigInt() ? info[1].As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (!lossless) throw BadField(info.Env(), "features", "a bigint of 64 bits without sign");
  if (dataplane_->AnyQueueStarted(port)) {
    throw CodedError(info.Env(), "BAD_OPTION", "features cannot change while a queue runs");
  }
  dataplane_->SetFeatures(port, features);
}

void DataplaneObject::SetMtu(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  dataplane_->SetMtu(
      port, static_cast<uint32_t>(IntegerArgument(info, 1, "mtuBytes", 0, kFrameBytesMax)));
}

uint32_t DataplaneObject::StartedTransmitqArgument(const Napi::CallbackInfo& info, uint16_t port) {
  const uint32_t queue = QueueArgument(info, port);
  if (queue % 2 == 0 || !dataplane_->QueueStarted(port, queue)) {
    throw CodedError(info.Env(), "BAD_OPTION", "the queue is not a started transmitq");
  }
  return queue;
}

void DataplaneObject::AddWorker(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Dataplane& dataplane = Open(env);
  const auto cpu = static_cast<int>(IntegerArgument(info, 0, "cpu", -1, CPU_SETSIZE - 1));
  if (dataplane.manual()) {
    throw CodedError(env, "BAD_OPTION", "a data plane whose clock is manual has no worker threads");
  }
  if (dataplane.worker_count() == kWorkersMax) {
    throw CodedError(env, "TOO_MANY_WORKERS",
                     "a switch has at most " + std::to_string(kWorkersMax) + " workers");
  }
  if (!dataplane.AddWorker(cpu)) {
    throw SystemError(env, "pthread_create", AddedWorkerCannotRun(cpu), errno);
  }
}

Napi::Value DataplaneObject::WorkerOf(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  const uint32_t queue = StartedTransmitqArgument(info, port);
  return Napi::Number::New(info.Env(), dataplane_->WorkerOf(port, queue));
}

void DataplaneObject::AssignWorker(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  const uint32_t queue = StartedTransmitqArgument(info, port);
  const int64_t workers = dataplane_->worker_count();
  const int64_t worker = IntegerArgument(info, 2, "worker", 0, workers - 1);
  dataplane_->AssignWorker(port, queue, static_cast<uint32_t>(worker));
}

void DataplaneObject::SetLog(const Napi::CallbackInfo& info) {
  AdoptedFds fds;
  fds.Adopt(info[1], "fd");
  const uint16_t port = PortArgument(info);
  if (info[1].IsUndefined()) {
    dataplane_->SetLog(port, -1, 0, 0);
    return;
  }
  const Napi::Object log = ObjectArgument(info, 1, "log");
  const uint64_t bytes = AddressField(log, "sizeBytes");
  const uint64_t offset = AddressField(log, "offsetBytes");
  ThrowUnlessMapped(info.Env(), dataplane_->SetLog(port, fds.Release(0), bytes, offset));
}

void DataplaneObject::SetLogging(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  dataplane_->SetLogging(port, info[1].ToBoolean());
}

void DataplaneObject::Announce(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  const int64_t mac = IntegerArgument(info, 1, "mac", 0, (int64_t{1} << 48) - 1);
  dataplane_->Announce(port, static_cast<uint64_t>(mac));
}

Napi::Function DataplaneObject::Class(Napi::Env env) {
  return DefineClass(env, "Dataplane",
                     {InstanceMethod<&DataplaneObject::AddPort>("addPort"),
                      InstanceMethod<&DataplaneObject::RemovePort>("removePort"),
                      InstanceMethod<&DataplaneObject::Counters>("counters"),
                      InstanceMethod<&DataplaneObject::SetMemory>("setMemory"),
                      InstanceMethod<&DataplaneObject::AddMemoryRegion>("addMemoryRegion"),
                      InstanceMethod<&DataplaneObject::RemoveMemoryRegion>("removeMemoryRegion"),
                      InstanceMethod<&DataplaneObject::SetFeatures>("setFeatures"),
                      InstanceMethod<&DataplaneObject::SetMtu>("setMtu"),
                      InstanceMethod<&DataplaneObject::StartQueue>("startQueue"),
                      InstanceMethod<&DataplaneObject::MoveQueue>("moveQueue"),
                      InstanceMethod<&DataplaneObject::ServeControl>("serveControl"),
                      InstanceMethod<&DataplaneObject::StopQueue>("stopQueue"),
                      InstanceMethod<&DataplaneObject::EnableQueue>("enableQueue"),
                      InstanceMethod<&DataplaneObject::ReadQueue>("readQueue"),
                      InstanceMethod<&DataplaneObject::AddWorker>("addWorker"),
                      InstanceMethod<&DataplaneObject::RemoveWorker>("removeWorker"),
                      InstanceMethod<&DataplaneObject::PinWorker>("pinWorker"),
                      InstanceMethod<&DataplaneObject::SetIdle>("setIdle"),
                      InstanceMethod<&DataplaneObject::WorkerOf>("workerOf"),
                      InstanceMethod<&DataplaneObject::AssignWorker>("assignWorker"),
                      InstanceMethod<&DataplaneObject::SetCall>("setCall"),
                      InstanceMethod<&DataplaneObject::SetErr>("setErr"),
                      InstanceMethod<&DataplaneObject::SetLog>("setLog"),
                      InstanceMethod<&DataplaneObject::SetLogging>("setLogging"),
                      InstanceMethod<&DataplaneObject::Announce>("announce"),
                      InstanceMethod<&DataplaneObject::AddBridge>("addBridge"),
                      InstanceMethod<&DataplaneObject::AddProcessPort>("addHostPort"),
                      InstanceMethod<&DataplaneObject::ProcessSend>("hostSend"),
                      InstanceMethod<&DataplaneObject::ProcessReceive>("hostReceive"),
                      InstanceMethod<&DataplaneObject::ProcessDrained>("hostDrained"),
                      InstanceMethod<&DataplaneObject::ProcessRequestCall>("hostRequestCall"),
                      InstanceMethod<&DataplaneObject::SetLink>("setLink"),
                      InstanceMethod<&DataplaneObject::SetPartition>("setPartition"),
                      InstanceMethod<&DataplaneObject::BindSources>("bindSources"),
                      InstanceMethod<&DataplaneObject::Step>("step"),
                      InstanceMethod<&DataplaneObject::Advance>("advance"),
                      InstanceMethod<&DataplaneObject::DrainEventsNow>("drainEvents"),
                      InstanceMethod<&DataplaneObject::ReadFdb>("readFdb"),
                      InstanceMethod<&DataplaneObject::FlushFdb>("flushFdb"),
                      InstanceMethod<&DataplaneObject::SetAgeing>("setAgeing"),
                      InstanceMethod<&DataplaneObject::RemoveBridge>("removeBridge"),
                      InstanceMethod<&DataplaneObject::MovePort>("movePort"),
                      InstanceMethod<&DataplaneObject::UnbindSources>("unbindSources"),
                      InstanceMethod<&DataplaneObject::EndSession>("endSession"),
                      InstanceMethod<&DataplaneObject::SessionOf>("sessionOf"),
                      InstanceMethod<&DataplaneObject::CapturePort>("capturePort"),
                      InstanceMethod<&DataplaneObject::CaptureBridge>("captureBridge"),
                      InstanceMethod<&DataplaneObject::CaptureRead>("captureRead"),
                      InstanceMethod<&DataplaneObject::CaptureRequestCall>("captureRequestCall"),
                      InstanceMethod<&DataplaneObject::CaptureLost>("captureLost"),
                      InstanceMethod<&DataplaneObject::RemoveCapture>("removeCapture"),
                      InstanceMethod<&DataplaneObject::Close>("close")});
}

namespace {

Napi::Value OpenDataplane(const Napi::CallbackInfo& info) {
  return Instance::Of(info.Env()).dataplane_class.New({info[0]});
}

}  // namespace

void ExportDataplane(Napi::Env env, Napi::Object exports) {
  Instance::Of(env).dataplane_class = Napi::Persistent(DataplaneObject::Class(env));
  ExportFunction(env, exports, "openDataplane", OpenDataplane);
  Napi::Array names = Napi::Array::New(env);
#define X(name, text) names.Set(uint32_t{name}, Napi::String::New(env, text));
  TSVSWITCH_COUNTERS(X)
#undef X
  exports.Set("counterNames", names);
  exports.Set("countersPerQueue", kCountersPerQueue);
  exports.Set("queuePairsMax", kQueuePairsMax);
  exports.Set("portsMax", kPortsMax);
  exports.Set("memorySlotsMax", kMemorySlotsMax);
}

}  // namespace tsvswitch
