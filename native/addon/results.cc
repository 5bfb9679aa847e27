// As results.h declares them.

#include "addon/results.h"

#include <cerrno>
#include <cstring>

#include "addon/addon.h"
#include "core/platform/cpus.h"

namespace tsvswitch {

void ThrowUnlessMapped(Napi::Env env, MapResult result) {
  switch (result) {
    case MapResult::kOk: return;
    case MapResult::kEmpty: throw FaultError(env, "map-empty");
    case MapResult::kWraps: throw FaultError(env, "map-wraps");
    case MapResult::kOverlaps: throw FaultError(env, "map-overlaps");
    case MapResult::kTooMany: throw FaultError(env, "map-too-many", {{"max", kMemorySlotsMax}});
    case MapResult::kNotAFile: throw FaultError(env, "map-no-file");
    case MapResult::kFileTooSmall: throw FaultError(env, "map-file-too-small");
    case MapResult::kMmapFailed:
      throw FaultError(env, "map-failed", {{"cause", std::strerror(errno)}});
    case MapResult::kNoSuchRegion: throw FaultError(env, "map-no-such-region");
  }
}

void ThrowUnlessTranslated(Napi::Env env, RingResult result) {
  switch (result) {
    case RingResult::kOk: return;
    case RingResult::kUnmapped: throw FaultError(env, "ring-across-regions");
    case RingResult::kMisaligned: throw FaultError(env, "ring-misaligned-in-memory");
    case RingResult::kUnacceptable: throw FaultError(env, "ring-unacceptable");
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
