// A data plane as JavaScript has it: its life, its workers, its clock, and who hears whom.
//
// Events come from the workers through a thread-safe function that is only told that there is
// something; the JavaScript thread then empties the workers' rings (events.cc). The data plane ends
// with close() or with its environment, whichever comes first, and not with its handle: its ports
// go on while anybody is connected.
//
// Thread: the JavaScript thread of the environment, except Notify (any worker).

#include <sched.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "addon/fields.h"
#include "addon/handle.h"
#include "addon/results.h"

namespace tsvswitch {

namespace {

constexpr uint32_t kWorkersMax = 64;

using DataplaneHandle = HandleObject<Plane>;

void Notify(void* context) { static_cast<Plane*>(context)->wake.NonBlockingCall(); }

std::vector<int> CpusField(const Napi::Object& options, uint32_t workers) {
  std::vector<int> cpus(workers, -1);
  const Napi::Value value = options.Get("cpus");
  if (!value.IsArray()) throw BadField(options.Env(), "cpus", "an array of CPU numbers");
  const Napi::Array list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length() && i < workers; ++i) {
    const Napi::Value cpu = list[i];
    const double number = cpu.IsNumber() ? cpu.As<Napi::Number>().DoubleValue() : -1;
    if (!(number >= 0 && number < CPU_SETSIZE)) {
      throw BadField(options.Env(), "cpus", "an array of CPU numbers");
    }
    cpus[i] = static_cast<int>(number);
  }
  return cpus;
}

void OnTeardown(void* context) {
  // Kept until this returns: closing lets go of the one that `context` is.
  const std::shared_ptr<Plane> plane = *static_cast<std::shared_ptr<Plane>*>(context);
  plane->Close();
}

Napi::Value OpenDataplane(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object options = ObjectArgument(info, 0, "options");
  const uint32_t workers = IntegerField(options, "workers", 1, kWorkersMax);
  const std::vector<int> cpus = CpusField(options, workers);
  const auto plane = std::make_shared<Plane>(env);
  plane->core = std::make_unique<Dataplane>(
      Dataplane::Options{.worker_cpus = cpus,
                         .idle_us = IntegerField(options, "idleUs", 0, UINT32_MAX),
                         .manual = options.Get("manual").ToBoolean(),
                         .sandbox = options.Get("sandbox").ToBoolean(),
                         .fragment_id = IntegerField(options, "fragmentId", 0, UINT32_MAX),
                         .notify = Notify,
                         .notify_context = plane.get()});
  const Napi::Object object = DataplaneHandle::Make(env, Instance::Of(env).dataplane_class, plane);
  // They have nothing to notify of before there is a port.
  if (!plane->core->Start()) {
    const int error_number = errno;
    plane->core.reset();
    throw SystemError(env, "pthread_create", WorkersCannotRun(cpus), error_number);
  }
  plane->context = new std::shared_ptr<Plane>(plane);
  plane->wake = decltype(plane->wake)::New(
      env, "tsvswitch", 0, 1, plane->context,
      [](Napi::Env, void*, std::shared_ptr<Plane>* ended) { delete ended; },
      static_cast<void*>(nullptr));
  // Events alone keep no process alive; ports do, through their sockets.
  plane->wake.Unref(env);
  napi_add_env_cleanup_hook(env, OnTeardown, plane->context);
  return object;
}

Napi::Value AddBridge(Plane& plane, const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string name = StringArgument(info, 0, "name");
  const auto ageing_s =
      static_cast<uint32_t>(IntegerArgument(info, 1, "ageingSeconds", 0, INT32_MAX));
  Dataplane& core = plane.Core(env);
  const uint32_t number = core.AddBridge(ageing_s);
  if (number == Dataplane::kNoBridge) {
    throw FaultError(env, "no-more-bridges", {{"max", Dataplane::kBridgesMax}});
  }
  const auto bridge =
      std::make_shared<BridgeState>(plane.shared_from_this(), "bridge " + name, number);
  const Napi::Object handle = OpenHandle(env, Instance::Of(env).bridge_class, plane.bridges, bridge,
                                         [&] { core.RemoveBridge(number); });
  SetFixed(handle, "number", Napi::Number::New(env, number));
  return handle;
}

void SetPartition(Plane& plane, const Napi::CallbackInfo& info) {
  const char* const kExpected = "an array of arrays of ports";
  if (!info[0].IsArray()) throw WrongArgument(info, "sides", kExpected);
  const Napi::Array list = info[0].As<Napi::Array>();
  // All values first: reading the elements of an array may run JavaScript.
  std::vector<std::vector<Napi::Value>> values;
  for (uint32_t i = 0; i < list.Length() && i < kPortsMax; ++i) {
    const Napi::Value side = list[i];
    if (!side.IsArray()) throw WrongArgument(info, "sides", kExpected);
    const Napi::Array members = side.As<Napi::Array>();
    values.emplace_back();
    for (uint32_t k = 0; k < members.Length() && k < kPortsMax; ++k) {
      values.back().push_back(members[k]);
    }
  }
  std::vector<std::vector<uint16_t>> sides;
  for (const auto& side : values) {
    sides.emplace_back();
    for (const Napi::Value& value : side) {
      sides.back().push_back(HandleArgument<PortState>(plane, info, value, "a port")->port());
    }
  }
  plane.Core(info.Env()).SetPartition(sides);
}

Dataplane& Threaded(const Plane& plane, Napi::Env env) {
  Dataplane& core = plane.Core(env);
  if (!core.manual()) return core;
  throw FaultError(env, "manual-without-workers");
}

void AddWorker(Plane& plane, const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto cpu = static_cast<int>(IntegerArgument(info, 0, "cpu", -1, CPU_SETSIZE - 1));
  Dataplane& core = Threaded(plane, env);
  if (core.worker_count() == kWorkersMax) {
    throw FaultError(env, "no-more-workers", {{"max", kWorkersMax}});
  }
  if (!core.AddWorker(cpu)) {
    throw SystemError(env, "pthread_create", AddedWorkerCannotRun(cpu), errno);
  }
}

void RemoveWorker(Plane& plane, const Napi::CallbackInfo& info) {
  Dataplane& core = plane.Core(info.Env());
  if (core.worker_count() == 1) {
    throw FaultError(info.Env(), "worker-last");
  }
  core.RemoveWorker();
}

void PinWorker(Plane& plane, const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Dataplane& core = Threaded(plane, env);
  const int64_t worker = IntegerArgument(info, 0, "worker", 0, core.worker_count() - 1);
  const auto cpu = static_cast<int>(IntegerArgument(info, 1, "cpu", -1, CPU_SETSIZE - 1));
  if (!core.PinWorker(static_cast<uint32_t>(worker), cpu)) {
    throw SystemError(env, "pthread_setaffinity_np", AddedWorkerCannotRun(cpu), errno);
  }
}

void SetIdle(Plane& plane, const Napi::CallbackInfo& info) {
  const int64_t idle_us = IntegerArgument(info, 0, "idleUs", 0, INT32_MAX);
  plane.Core(info.Env()).SetIdle(static_cast<uint32_t>(idle_us));
}

Napi::Value SilentWorkers(Plane& plane, const Napi::CallbackInfo& info) {
  Dataplane& core = plane.Core(info.Env());
  Napi::Array silent = Napi::Array::New(info.Env());
  for (uint32_t worker = 0; worker < core.worker_count(); ++worker) {
    if (!core.WorkerHasMadeRound(worker)) silent.Set(silent.Length(), worker);
  }
  return silent;
}

// Those of each worker in turn, in the order of workerCounterNames.
Napi::Value WorkerCounts(Plane& plane, const Napi::CallbackInfo& info) {
  Dataplane& core = plane.Core(info.Env());
  const size_t count = size_t{core.worker_count()} * kCountersPerWorker;
  auto counts = Napi::BigUint64Array::New(info.Env(), count);
  for (size_t at = 0; at < count; ++at) {
    const auto worker = static_cast<uint32_t>(at / kCountersPerWorker);
    counts.Data()[at] =
        core.WorkerCounted(worker, static_cast<WorkerCounter>(at % kCountersPerWorker));
  }
  return counts;
}

// Of each pair of ports, for each worker: from, to, frames, bytes. Without `to`: kNoPort.
Napi::Value PairCounts(Plane& plane, const Napi::CallbackInfo& info) {
  const std::vector<PairCounters::Pair> pairs = plane.Core(info.Env()).Pairs();
  auto counts = Napi::BigUint64Array::New(info.Env(), 4 * pairs.size());
  uint64_t* next = counts.Data();
  for (const PairCounters::Pair& pair : pairs) {
    *next++ = pair.from;
    *next++ = pair.to;
    *next++ = pair.frames;
    *next++ = pair.bytes;
  }
  return counts;
}

Dataplane& Manual(const Plane& plane, Napi::Env env) {
  Dataplane& core = plane.Core(env);
  if (core.manual()) return core;
  throw FaultError(env, "clock-not-manual");
}

Napi::Value Step(Plane& plane, const Napi::CallbackInfo& info) {
  const auto rounds = static_cast<uint32_t>(IntegerArgument(info, 0, "rounds", 1, INT32_MAX));
  return Napi::Number::New(info.Env(), static_cast<double>(Manual(plane, info.Env()).Step(rounds)));
}

void Advance(Plane& plane, const Napi::CallbackInfo& info) {
  const int64_t ns = IntegerArgument(info, 0, "ns", 0, int64_t{1} << 53);
  Manual(plane, info.Env()).Advance(static_cast<uint64_t>(ns));
}

// The first thing that a listener throws is thrown once all of them have heard.
void DrainEvents(Plane& plane, const Napi::CallbackInfo& info) {
  std::optional<Napi::Error> first;
  DeliverEvents(info.Env(), plane, [&](const Napi::Error& error) {
    if (!first.has_value()) first = error;
  });
  if (first.has_value()) throw *first;
}

void Close(Plane& plane, const Napi::CallbackInfo&) { plane.Close(); }

}  // namespace

void OnWoken(Napi::Env env, Napi::Function, std::shared_ptr<Plane>* plane, void*) {
  if (env == nullptr) return;
  // A copy: a listener may close the data plane.
  const std::shared_ptr<Plane> kept = *plane;
  // As uncaught as in any callback.
  DeliverEvents(env, *kept,
                [&](const Napi::Error& error) { napi_fatal_exception(env, error.Value()); });
}

void Plane::Close() {
  if (core == nullptr) return;
  core.reset();  // joins the workers: nobody is woken after this
  for (const auto& port : std::exchange(ports, {})) {
    if (port != nullptr) port->Close();
  }
  for (auto* const table : {&bridges, &captures}) {
    for (const auto& handle : std::exchange(*table, {})) {
      if (handle != nullptr) handle->Close();
    }
  }
  napi_remove_env_cleanup_hook(env, OnTeardown, context);
  wake.Release();
}

void DefineDataplane(Napi::Env env) {
  using Handle = DataplaneHandle;
  Instance::Of(env).dataplane_class =
      Handle::Class(env, "Dataplane",
                    {
                        Handle::Calls<&AddBridge, 2>("addBridge"),
                        Handle::Calls<&SetPartition, 1>("setPartition"),
                        Handle::Calls<&AddWorker, 1>("addWorker"),
                        Handle::Calls<&RemoveWorker, 0>("removeWorker"),
                        Handle::Calls<&PinWorker, 2>("pinWorker"),
                        Handle::Calls<&SetIdle, 1>("setIdle"),
                        Handle::Calls<&SilentWorkers, 0>("silentWorkers"),
                        Handle::Calls<&WorkerCounts, 0>("workerCounters"),
                        Handle::Calls<&PairCounts, 0>("pairCounters"),
                        Handle::Calls<&Step, 1>("step"),
                        Handle::Calls<&Advance, 1>("advance"),
                        Handle::Calls<&DrainEvents, 0>("drainEvents"),
                        Handle::Calls<&Close, 0>("close"),
                    });
}

void ExportDataplane(Napi::Env env, Napi::Object exports) {
  DefineDataplane(env);
  DefineBridge(env);
  DefineRingPort(env);
  DefineProcessPort(env);
  DefineQueues(env);
  DefineCapture(env);
  ExportFunction<OpenDataplane, 1>(env, exports, "openDataplane");
  const auto list = [&](const char* name, std::initializer_list<const char*> texts) {
    Napi::Array names = Napi::Array::New(env);
    for (const char* text : texts) names.Set(names.Length(), Napi::String::New(env, text));
    exports.Set(name, names);
  };
#define X(name, text) text,
  list("counterNames", {TSVSWITCH_COUNTERS(X)});
  list("workerCounterNames", {TSVSWITCH_WORKER_COUNTERS(X)});
  list("fateNames", {TSVSWITCH_FATES(X)});
  list("markNames", {TSVSWITCH_MARKS(X)});
#undef X
#define X(name, code) code,
  list("breakCodes", {TSVSWITCH_BREAK_REASONS(X)});
#undef X
  exports.Set("firstDrop", static_cast<uint32_t>(kFirstDrop));
  exports.Set("marksAt", FateCounters::kMarksAt);
  exports.Set("countersPerQueue", kCountersPerQueue);
  exports.Set("queuePairsMax", kQueuePairsMax);
  exports.Set("portsMax", kPortsMax);
  exports.Set("memorySlotsMax", kMemorySlotsMax);
  exports.Set("policyNames", PolicyNames(env));
}

}  // namespace tsvswitch
