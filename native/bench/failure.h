// How the flooding client ends when it cannot go on: one sentence on stderr, exit status 1.
//
// Any thread may call Fail. Nothing is unwound: rings, memory and sockets die with the process,
// which is what a backend must survive anyway.

#pragma once

namespace tsvswitch::bench {

[[noreturn]] [[gnu::format(printf, 1, 2)]] void Fail(const char* format, ...);

// The same, ended by ": " and the description of the current errno.
[[noreturn]] [[gnu::format(printf, 1, 2)]] void FailErrno(const char* format, ...);

}  // namespace tsvswitch::bench
