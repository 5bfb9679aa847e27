// Prints the last sentence of the program. See failure.h.

#include "failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

namespace tsvswitch::bench {

void Fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("flood: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  // Not exit(): destructors of static objects have no business here, and another thread may run.
  fflush(stderr);
  _exit(1);
}

void FailErrno(const char* format, ...) {
  const int error = errno;
  va_list arguments;
  va_start(arguments, format);
  fputs("flood: ", stderr);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, ": %s\n", strerror(error));
  va_end(arguments);
  fflush(stderr);
  _exit(1);
}

}  // namespace tsvswitch::bench
