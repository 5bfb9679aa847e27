// What core answers, as errors with a code and a sentence.

#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "core/control/dataplane.h"

namespace tsvswitch {

// Throws MEMORY_UNMAPPABLE, with errno's words where mmap failed.
void ThrowUnlessMapped(Napi::Env env, MapResult result);
// Throws RING_UNMAPPED or BAD_OPTION.
void ThrowUnlessTranslated(Napi::Env env, RingResult result);
// The sentence for workers that cannot be started on these CPUs.
std::string WorkersCannotRun(const std::vector<int>& cpus);
// The same for one that a running switch was to be given.
std::string AddedWorkerCannotRun(int cpu);

}  // namespace tsvswitch
