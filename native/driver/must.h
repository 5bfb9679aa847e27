// What must hold, or else the process ends: a rule that a fuzz target demands, and what a program
// that plays guests takes for granted (memory, an address that its guest has).

#pragma once

#include <cstdio>
#include <cstdlib>

namespace tsvswitch {

[[noreturn]] inline void Violated(const char* file, int line, const char* rule) {
  std::fprintf(stderr, "%s:%d: violated: %s\n", file, line, rule);
  std::abort();
}

}  // namespace tsvswitch

#define MUST(rule) ((rule) ? void() : ::tsvswitch::Violated(__FILE__, __LINE__, #rule))
