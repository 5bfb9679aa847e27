// As results.h declares them.

#include "addon/results.h"

#include <cerrno>
#include <cstring>

#include "addon/addon.h"
#include "core/platform/cpus.h"

namespace tsvswitch {

void ThrowUnlessMapped(Napi::Env env, MapResult result) {
  const auto fail = [&](const std::string& why) {
    throw CodedError(env, "MEMORY_UNMAPPABLE", "guest memory cannot be mapped: " + why);
  };
  switch (result) {
    case MapResult::kOk: return;
    case MapResult::kEmpty: return fail("a region has no bytes");
    case MapResult::kWraps: return fail("a region ends beyond the address space");
    case MapResult::kOverlaps: return fail("two regions overlap");
    case MapResult::kTooMany:
      return fail("more than " + std::to_string(kMemorySlotsMax) + " regions");
    case MapResult::kNotAFile: return fail("what was passed is not a file that can be mapped");
    case MapResult::kFileTooSmall: return fail("the file ends before the region does");
    case MapResult::kMmapFailed: return fail(std::strerror(errno));
    case MapResult::kNoSuchRegion: return fail("there is no such region to remove");
  }
}

void ThrowUnlessTranslated(Napi::Env env, RingResult result) {
  switch (result) {
    case RingResult::kOk: return;
    case RingResult::kUnmapped:
      throw CodedError(env, "RING_UNMAPPED",
                       "the ring does not lie within one shared memory region");
    case RingResult::kMisaligned:
      throw CodedError(env, "RING_UNMAPPED", "the ring is not aligned as its format needs it");
    case RingResult::kUnacceptable:
      throw CodedError(env, "BAD_OPTION", "a ring of this format has no such size or base");
  }
}

// A CPU that is not there, or not for this process, is the likely reason.
std::string WorkersCannotRun(const std::vector<int>& cpus) {
  std::string list;
  for (const int cpu : cpus) {
    if (cpu >= 0) list.append(list.empty() ? "" : ",").append(std::to_string(cpu));
  }
  if (list.empty()) return "the workers cannot be started";
  return "the workers cannot run on CPUs " + list + " (allowed are " + AllowedCpus() + ")";
}

std::string AddedWorkerCannotRun(int cpu) {
  if (cpu < 0) return "the worker cannot be started";
  return "the worker cannot run on CPU " + std::to_string(cpu) + " (allowed are " + AllowedCpus() +
         ")";
}

}  // namespace tsvswitch
