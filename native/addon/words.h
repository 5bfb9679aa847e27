// Structs that cross into the addon as objects of plain words, decoded by a table of their fields.
//
// The table is all there is to a struct: a name, where its value goes, and the most it may be. An
// object that lacks a word, has one that the table does not know, or one of another type or out of
// range throws BAD_OPTION, naming the object and the word.
//
// Thread: the JavaScript thread of the environment.

#pragma once

#include <napi.h>

#include <cstdint>
#include <span>
#include <string>
#include <variant>

namespace tsvswitch {

// One field of S. A uint64_t crosses as a number unless it needs all its bits.
template <class S>
struct Word {
  struct Bits {
    uint64_t S::* place;
  };
  // Decodes what is no plain word; `name` is for errors.
  using Reader = void (*)(const std::string& name, const Napi::Value& value, S* into);

  const char* name;
  std::variant<bool S::*, uint32_t S::*, uint64_t S::*, double S::*, Bits, Reader> place;
  double max = 1;  // of numbers, from 0
};

bool ReadFlag(const std::string& name, const Napi::Value& value);
double ReadNumber(const std::string& name, const Napi::Value& value, double max);
// Without a fraction; at most 2^53.
uint64_t ReadWhole(const std::string& name, const Napi::Value& value, double max);
uint64_t ReadBits(const std::string& name, const Napi::Value& value);
// Throws unless it is an object, and has as many words as a table.
Napi::Object ReadObject(const std::string& name, const Napi::Value& value, size_t words);
Napi::Array ReadList(const std::string& name, const Napi::Value& value, uint32_t count_max);

// Not inlined: GCC would take every kind of place for one of the only word of a small struct.
template <class S>
[[gnu::noinline]] void ReadWord(const std::string& name, const Word<S>& word,
                                const Napi::Value& value, S* into) {
  using Bits = typename Word<S>::Bits;
  using Reader = typename Word<S>::Reader;
  if (auto* const flag = std::get_if<bool S::*>(&word.place)) {
    into->** flag = ReadFlag(name, value);
  } else if (auto* const number = std::get_if<double S::*>(&word.place)) {
    into->** number = ReadNumber(name, value, word.max);
  } else if (auto* const whole = std::get_if<uint64_t S::*>(&word.place)) {
    into->** whole = ReadWhole(name, value, word.max);
  } else if (auto* const small = std::get_if<uint32_t S::*>(&word.place)) {
    into->** small = static_cast<uint32_t>(ReadWhole(name, value, word.max));
  } else if (auto* const bits = std::get_if<Bits>(&word.place)) {
    into->*(bits->place) = ReadBits(name, value);
  } else {
    (*std::get_if<Reader>(&word.place))(name, value, into);
  }
}

template <class S>
S ReadWords(const std::string& name, std::span<const Word<S>> words, const Napi::Value& value) {
  const Napi::Object object = ReadObject(name, value, words.size());
  S read{};
  for (const Word<S>& word : words) {
    ReadWord(name + "." + word.name, word, object.Get(word.name), &read);
  }
  return read;
}

}  // namespace tsvswitch
