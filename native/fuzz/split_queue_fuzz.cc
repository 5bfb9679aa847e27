// Fuzz target: a split queue whose driver writes anything. See queue_run.h.

#include "hostile_split_ring.h"
#include "queue_run.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  return tsvswitch::RunQueue<tsvswitch::HostileSplitRing>(data, bytes);
}
