// What every fuzz target is made of: numbers read off the fuzzer's bytes. The check that ends the
// run is in driver/must.h.
//
// An input is a program for its target: some settings, then operations, each a byte that chooses
// and the bytes it takes. Numbers are read from the front, so that bytes put in or taken out in the
// middle change one operation and not all. Behind the end everything reads as zero; loops ask
// Done().
//
// Thread: libFuzzer's one. Nothing here is random: the same bytes do the same.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "driver/must.h"

namespace tsvswitch {

class Input {
 public:
  Input(const uint8_t* data, size_t bytes) : at_(data), end_(data + bytes) {}

  bool Done() const { return at_ == end_; }

  template <class Number>
  Number Take() {
    Number number = 0;
    const size_t bytes = std::min(sizeof(number), static_cast<size_t>(end_ - at_));
    std::memcpy(&number, at_, bytes);
    at_ += bytes;
    return number;
  }
  uint8_t Byte() { return Take<uint8_t>(); }
  bool Flag() { return (Byte() & 1) != 0; }
  // One of 0 .. end - 1, from one byte where that is enough.
  uint32_t Below(uint32_t end) { return (end <= 256 ? Byte() : Take<uint16_t>()) % end; }
  // `bytes` of the input, or what is left of it.
  std::vector<uint8_t> Bytes(size_t bytes) {
    const uint8_t* begin = at_;
    at_ += std::min(bytes, static_cast<size_t>(end_ - at_));
    return {begin, at_};
  }

 private:
  const uint8_t* at_;
  const uint8_t* const end_;
};

}  // namespace tsvswitch
