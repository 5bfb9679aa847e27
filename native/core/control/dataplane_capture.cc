// See dataplane.h: which captures record which ports.

#include <cassert>
#include <utility>

#include "core/control/dataplane.h"
#include "core/policy/stages.h"

namespace tsvswitch {

uint32_t Dataplane::NewCapture(uint32_t snap_bytes, int call_fd) {
  uint32_t number = 0;
  while (HasCapture(number)) ++number;
  if (number == captures_.size()) captures_.emplace_back();
  captures_[number] = std::make_unique<Capture>(clock_, snap_bytes, call_fd);
  return number;
}

void Dataplane::Record(Port& port, const std::vector<Capture*>& captures) {
  if (captures.empty()) return;
  if (port.policies.get<PortCaptures>() == nullptr) {
    auto none = std::make_unique<PortCaptures>();
    port.policies.Swap(none);
  }
  auto& list = port.policies.get<PortCaptures>()->list;
  list.insert(list.end(), captures.begin(), captures.end());
  FindStages(port);
}

void Dataplane::Unrecord(Port& port, const std::vector<Capture*>& captures) {
  PortCaptures* const present = port.policies.get<PortCaptures>();
  if (present == nullptr) return;
  for (const Capture* capture : captures) std::erase(present->list, capture);
  std::unique_ptr<PortCaptures> none;
  if (present->list.empty()) port.policies.Swap(none);
  FindStages(port);
}

uint32_t Dataplane::CapturePort(uint16_t port, uint32_t snap_bytes, int call_fd) {
  Port& at = PortAt(port);
  const uint32_t number = NewCapture(snap_bytes, call_fd);
  const PauseAll pause(*this);
  Record(at, {captures_[number].get()});
  return number;
}

uint32_t Dataplane::CaptureBridge(uint32_t bridge, uint32_t snap_bytes, int call_fd) {
  assert(HasBridge(bridge));
  Bridge& at = *bridges_[bridge];
  const uint32_t number = NewCapture(snap_bytes, call_fd);
  const PauseAll pause(*this);
  at.captures.push_back(captures_[number].get());
  for (Port* member : at.members) {
    if (member != nullptr) Record(*member, {captures_[number].get()});
  }
  return number;
}

void Dataplane::RemoveCapture(uint32_t capture) {
  assert(HasCapture(capture));
  const std::unique_ptr<Capture> removed = std::move(captures_[capture]);
  const PauseAll pause(*this);
  for (const auto& bridge : bridges_) {
    if (bridge != nullptr) std::erase(bridge->captures, removed.get());
  }
  for (const auto& port : ports_) {
    if (port != nullptr) Unrecord(*port, {removed.get()});
  }
}

}  // namespace tsvswitch
