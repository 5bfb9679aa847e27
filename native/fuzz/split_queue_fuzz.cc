// Fuzz target: a split queue whose driver writes anything. See queue_run.h.

#include "queue_run.h"
#include "split_ring.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  return tsvswitch::RunQueue<tsvswitch::SplitRing>(data, bytes);
}
