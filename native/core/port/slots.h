// What policies keep at a port, by number. Their types, and who has which number, are known to
// policies alone (policy/slots.h).

#pragma once

#include <cstdint>
#include <memory>
#include <utility>

namespace tsvswitch {

// What one policy keeps at one port.
struct PolicyState {
  PolicyState() = default;
  PolicyState(const PolicyState&) = delete;
  PolicyState& operator=(const PolicyState&) = delete;
  virtual ~PolicyState() = default;
};

class PolicySlots {
 public:
  static constexpr uint32_t kSlots = 16;

  // Of a type that says where it is, State::kSlot; nullptr: the policy keeps nothing here.
  template <class State>
  State* get() const {
    return static_cast<State*>(states_[State::kSlot].get());
  }
  // What was there goes out through `state`, so that a caller can delete it when it wants to.
  template <class State>
  void Swap(std::unique_ptr<State>& state) {
    std::unique_ptr<PolicyState>& place = states_[State::kSlot];
    std::unique_ptr<State> old(static_cast<State*>(place.release()));
    place = std::move(state);
    state = std::move(old);
  }

 private:
  std::unique_ptr<PolicyState> states_[kSlots];
};

}  // namespace tsvswitch
