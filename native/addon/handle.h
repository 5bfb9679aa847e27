// Handles: the objects through which JavaScript holds a data plane, its bridges, ports, queues and
// captures. Each class of them is a table of functions over the state that its objects share with
// the data plane; this file makes such a class out of the table.
//
// A handle is open from the call that makes it until it, or its data plane, is closed. Until then
// the data plane refers to it, so that no garbage collection can take it away; afterwards it is
// nothing but a name: every method but close() throws CLOSED. Numbers of ports and bridges leave
// through handles and never come back: a method acts on the port of its own handle, and takes
// another one only as a handle, which is looked at before anything is done (OfSame).
//
// Arguments are read first and the data plane is asked for last (State::Core): reading a field of
// an object may run JavaScript, and that may close anything.
//
// The class of a handle cannot be made use of otherwise: its constructor throws, and its methods
// are bound to its objects by V8 (napi_define_class gives each a signature). It gives none to
// accessors, so there are none: what can be read of a handle is a property of its own.
//
// Thread: the JavaScript thread of the environment.

#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "addon/addon.h"
#include "core/control/dataplane.h"

namespace tsvswitch {

struct Plane;
void OnWoken(Napi::Env env, Napi::Function, std::shared_ptr<Plane>* plane, void*);

// What a handle and its data plane know of it.
struct State {
  State(std::shared_ptr<Plane> of, std::string name, uint32_t at)
      : plane(std::move(of)), what(std::move(name)), number(at) {}
  virtual ~State() = default;

  // Throws CLOSED once the handle or its data plane is closed.
  Dataplane& Core(Napi::Env env) const;
  // Core gives up the number: it may be another's from now on.
  virtual void Close();

  const std::shared_ptr<Plane> plane;
  const std::string what;  // in sentences, such as "port web1"
  const uint32_t number;   // in core
  bool is_open = true;
  Napi::ObjectReference self;  // strong, while it is open
};

struct BridgeState : State {
  using State::State;
  static constexpr napi_type_tag kTag = {0x7473767377697463, 0x6272696467650001};
};

struct CaptureState : State {
  using State::State;
  static constexpr napi_type_tag kTag = {0x7473767377697463, 0x6361707475720001};
};

// Of a port of either kind.
struct PortState : State {
  PortState(std::shared_ptr<Plane> of, std::string port, uint32_t at, Napi::Function listener)
      : State(std::move(of), "port " + port, at),
        name(std::move(port)),
        on_event(Napi::Persistent(listener)) {}
  void Close() override;
  uint16_t port() const { return static_cast<uint16_t>(number); }
  static constexpr napi_type_tag kTag = {0x7473767377697463, 0x706f727400000001};

  const std::string name;
  Napi::FunctionReference on_event;
};

// A queue goes with its port.
struct QueueState {
  std::shared_ptr<PortState> port;
  uint32_t queue;
  static constexpr napi_type_tag kTag = {0x7473767377697463, 0x7175657565000001};
};

// A data plane with its open handles. Outlived by handles that are closed.
struct Plane : std::enable_shared_from_this<Plane> {
  explicit Plane(Napi::Env of) : env(of) {}
  // The open port of that number, or null.
  std::shared_ptr<PortState> PortAt(uint16_t number) const {
    return number < ports.size() ? ports[number] : nullptr;
  }
  Dataplane& Core(Napi::Env env) const;
  // Joins the workers, and closes every handle. Idempotent.
  void Close();
  static constexpr napi_type_tag kTag = {0x7473767377697463, 0x706c616e65000001};

  const Napi::Env env;
  std::unique_ptr<Dataplane> core;  // null once it is closed
  std::vector<std::shared_ptr<State>> bridges, captures;
  std::vector<std::shared_ptr<PortState>> ports;  // by number, as the two above
  // Has JavaScript empty the workers' rings in a later turn. Its context keeps this alive.
  Napi::TypedThreadSafeFunction<std::shared_ptr<Plane>, void, &OnWoken> wake;
  std::shared_ptr<Plane>* context = nullptr;
};

// --- classes -------------------------------------------------------------------------------------

[[noreturn]] void ThrowNotMade(Napi::Env env);

template <class S>
class HandleObject : public Napi::ObjectWrap<HandleObject<S>> {
  using Wrap = Napi::ObjectWrap<HandleObject<S>>;

 public:
  explicit HandleObject(const Napi::CallbackInfo& info) : Wrap(info) {
    auto* const making = static_cast<std::shared_ptr<S>*>(Instance::Of(info.Env()).making);
    if (making == nullptr) ThrowNotMade(info.Env());
    state_ = *making;
    info.This().As<Napi::Object>().TypeTag(&S::kTag);
  }

  struct Method {
    const char* name;
    uint32_t length;
    Napi::ClassPropertyDescriptor<HandleObject<S>> property;
  };

  // A method that takes kCount arguments, or up to kOptional more.
  template <auto kFunction, uint32_t kCount, uint32_t kOptional = 0>
  static Method Calls(const char* name) {
    return {name, kCount,
            Wrap::template InstanceMethod<
                &HandleObject::template Call<kFunction, kCount, kCount + kOptional>>(
                name, napi_default, const_cast<char*>(name))};
  }

  static Napi::FunctionReference Class(Napi::Env env, const char* name,
                                       const std::vector<Method>& methods) {
    std::vector<Napi::ClassPropertyDescriptor<HandleObject<S>>> properties;
    for (const Method& method : methods) properties.push_back(method.property);
    const Napi::Function constructor = Wrap::DefineClass(env, name, properties);
    const Napi::Object prototype = constructor.Get("prototype").As<Napi::Object>();
    for (const Method& method : methods) {
      SetLength(prototype.Get(method.name).template As<Napi::Object>(), method.length);
    }
    return Napi::Persistent(constructor);
  }

  static Napi::Object Make(Napi::Env env, const Napi::FunctionReference& constructor,
                           std::shared_ptr<S> state) {
    Instance& instance = Instance::Of(env);
    instance.making = &state;
    struct Done {
      ~Done() { instance.making = nullptr; }
      Instance& instance;
    } const done{instance};
    return constructor.New({});
  }

  // The state of a handle of this class; null for any other value.
  static std::shared_ptr<S> Of(const Napi::Value& value) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&S::kTag)) return nullptr;
    return Wrap::Unwrap(value.As<Napi::Object>())->state_;
  }

 private:
  template <auto kFunction, uint32_t kMin, uint32_t kMax>
  Napi::Value Call(const Napi::CallbackInfo& info) {
    RequireCount(info, kMin, kMax);
    // Kept by this call: what it does may close the handle.
    const std::shared_ptr<S> state = state_;
    if constexpr (std::is_void_v<decltype(kFunction(*state, info))>) {
      kFunction(*state, info);
      return info.Env().Undefined();
    } else {
      return kFunction(*state, info);
    }
  }

  std::shared_ptr<S> state_;
};

// An open handle of class S and of this data plane. Throws BAD_OPTION for anything else, and CLOSED
// for one that is closed. Runs no JavaScript.
template <class S>
std::shared_ptr<S> HandleArgument(const Plane& plane, const Napi::CallbackInfo& info,
                                  const Napi::Value& value, const char* name) {
  std::shared_ptr<S> handle = HandleObject<S>::Of(value);
  if (handle == nullptr) throw WrongArgument(info, name, "a handle of that kind");
  if (handle->plane.get() != &plane) {
    throw WrongArgument(info, name, "of this switch, but " + handle->what + " is another's");
  }
  handle->Core(info.Env());
  return handle;
}

// Takes a handle that core has just made into `table`, where the data plane keeps it open. If there
// is no memory for it, `undo` takes it back from core.
template <class S, class Table, class Undo>
Napi::Object OpenHandle(Napi::Env env, const Napi::FunctionReference& constructor, Table& table,
                        const std::shared_ptr<S>& state, Undo undo) {
  try {
    const Napi::Object object = HandleObject<S>::Make(env, constructor, state);
    state->self = Napi::Persistent(object);
    if (state->number >= table.size()) table.resize(state->number + size_t{1});
    table[state->number] = state;
    return object;
  } catch (...) {
    undo();
    throw;
  }
}

// A property of a handle that never changes.
inline void SetFixed(Napi::Object handle, const char* name, const Napi::Value& value) {
  handle.DefineProperty(Napi::PropertyDescriptor::Value(name, value, napi_enumerable));
}

// --- what the files of the classes have for each other -------------------------------------------

// Each makes its classes, which the environment's Instance keeps.
void DefineDataplane(Napi::Env env);
void DefineBridge(Napi::Env env);
void DefineRingPort(Napi::Env env);
void DefineProcessPort(Napi::Env env);
void DefineQueues(Napi::Env env);
void DefineCapture(Napi::Env env);

// The arguments of a new port on a bridge: its name first, who hears of it last.
Napi::Object OpenRingPort(BridgeState& bridge, const Napi::CallbackInfo& info);
Napi::Object OpenProcessPort(BridgeState& bridge, const Napi::CallbackInfo& info);
// Argument 0 is the queue.
Napi::Object OpenQueue(PortState& port, const Napi::CallbackInfo& info);
// Arguments are how much is kept of each frame and an eventfd.
Napi::Object CaptureOfBridge(BridgeState& bridge, const Napi::CallbackInfo& info);
Napi::Object CaptureOfPort(PortState& port, const Napi::CallbackInfo& info);
// The forwarding table of a bridge.
Napi::Value ReadFdb(BridgeState& bridge, const Napi::CallbackInfo& info);
Napi::Value FdbSize(BridgeState& bridge, const Napi::CallbackInfo& info);
void FlushFdb(BridgeState& bridge, const Napi::CallbackInfo& info);
Napi::Value SetFdbEntry(BridgeState& bridge, const Napi::CallbackInfo& info);
Napi::Value RemoveFdbEntry(BridgeState& bridge, const Napi::CallbackInfo& info);
void SetFdbLimit(BridgeState& bridge, const Napi::CallbackInfo& info);
// Arguments are the policy, its words and, of some, another port.
void SetPolicy(PortState& port, const Napi::CallbackInfo& info);
Napi::Array PolicyNames(Napi::Env env);
// Gives every event to the port that it is about, also if a listener throws: what it threw goes to
// `on_error`.
void DeliverEvents(Napi::Env env, Plane& plane,
                   const std::function<void(const Napi::Error&)>& on_error);

}  // namespace tsvswitch
