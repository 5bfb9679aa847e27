// Facts and checks: what a test executable is made of, and nothing more.
//
//   FACT("a loop breaks only that queue") { CHECK_EQ(reason, BreakReason::kChainTooLong); }
//   int main() { return tsvswitch::HoldFacts(); }
//
// Facts run in the order in which the file states them, in one process. A fact ends with its first
// failed check, which is printed with file, line and both values; the others still run. The name is
// printed before the fact runs, so that a crash or a hang says where it is. Exit status 1 if any
// failed. Checks belong to the main thread: other threads leave their findings in atomics.

#pragma once

#include <cstdio>
#include <exception>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tsvswitch {

struct Fact {
  const char* name;
  void (*check)();
};

inline std::vector<Fact>& Facts() {
  static std::vector<Fact> facts;
  return facts;
}

class CheckFailed : public std::exception {};

[[noreturn]] inline void Fail(const char* file, int line, const std::string& what) {
  std::printf("FAILED\n  %s:%d: %s\n", file, line, what.c_str());
  throw CheckFailed();
}

// Numbers as numbers, also those that C++ prints as characters or not at all.
template <class T>
std::string Shown(const T& value) {
  std::ostringstream text;
  if constexpr (std::is_enum_v<T>) {
    text << +static_cast<std::underlying_type_t<T>>(value);
  } else if constexpr (std::is_null_pointer_v<T>) {
    text << "nullptr";
  } else if constexpr (std::is_pointer_v<T>) {
    text << static_cast<const volatile void*>(value);
  } else {
    text << +value;
  }
  return text.str();
}

template <class Left, class Right>
void CheckEqual(const char* file, int line, const char* expression, const Left& is,
                const Right& expected) {
  bool equal = false;
  if constexpr (std::is_integral_v<Left> && std::is_integral_v<Right> &&
                !std::is_same_v<Left, bool> && !std::is_same_v<Right, bool>) {
    equal = std::cmp_equal(is, expected);
  } else {
    equal = is == expected;
  }
  if (!equal) {
    Fail(file, line,
         std::string(expression) + " is " + Shown(is) + ", expected " + Shown(expected));
  }
}

// Says which of many cases a fact ended in.
class Case {
 public:
  explicit Case(uint32_t number) : number_(number) {}
  ~Case() {
    if (std::uncaught_exceptions() != 0) std::printf("  in case %u\n", number_);
  }

 private:
  const uint32_t number_;
};

inline int HoldFacts() {
  int failed = 0;
  for (const Fact& fact : Facts()) {
    std::printf("%s: ", fact.name);
    std::fflush(stdout);
    try {
      fact.check();
      std::printf("holds\n");
    } catch (const CheckFailed&) {
      ++failed;
    }
  }
  std::printf("%zu facts, %d failed\n", Facts().size(), failed);
  return failed != 0 || Facts().empty() ? 1 : 0;
}

}  // namespace tsvswitch

#define CHECK(condition) \
  ((condition) ? void() : ::tsvswitch::Fail(__FILE__, __LINE__, #condition " is false"))
#define CHECK_EQ(is, expected) ::tsvswitch::CheckEqual(__FILE__, __LINE__, #is, is, expected)

#define FACT(name) FACT_AT(name, __LINE__)
#define FACT_AT(name, line) FACT_AT_LINE(name, line)
#define FACT_AT_LINE(name, line)                                        \
  static void CheckFact##line();                                        \
  [[maybe_unused]] static const bool stated_fact##line =                \
      (::tsvswitch::Facts().push_back({name, &CheckFact##line}), true); \
  static void CheckFact##line()
