// The result of a trial on stdout: one line of JSON, or a few lines for people.

#pragma once

#include "core_copy.h"
#include "options.h"
#include "trial.h"

namespace tsvswitch::bench {

void Report(const Options& options, MemoryKind memory, const FloodResult& result);
void Report(const Options& options, MemoryKind memory, const LoadResult& result);
void Report(const Options& options, MemoryKind memory, const PingpongResult& result);
void Report(const Options& options, MemoryKind memory, const CoreCopyResult& result);

}  // namespace tsvswitch::bench
