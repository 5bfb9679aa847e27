// The process's open file descriptors, for facts about who closes what.

#pragma once

#include <dirent.h>

#include <cstddef>

#include "check.h"

namespace tsvswitch {

inline size_t OpenFdCount() {
  DIR* directory = opendir("/proc/self/fd");
  CHECK(directory != nullptr);
  size_t count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count - 3;  // ".", ".." and the directory itself
}

}  // namespace tsvswitch
