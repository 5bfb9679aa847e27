// One atomic access to a word that the driver reads or writes at the same time from another
// processor.

#pragma once

#include <atomic>

namespace tsvswitch {

template <class T>
T Load(T& word, std::memory_order order) {
  return std::atomic_ref<T>(word).load(order);
}
template <class T>
void Store(T& word, T value, std::memory_order order) {
  std::atomic_ref<T>(word).store(value, order);
}

}  // namespace tsvswitch
