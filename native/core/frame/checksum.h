// The Internet checksum: the one's complement sum of 16-bit words, over bytes in any number of
// parts.
//
// Words are added as this machine loads them and the result is stored the same way: the sum
// commutes with swapping the bytes of every word, so no byte is swapped on a little-endian machine.
// A part that begins at an odd place of the whole contributes its own sum with the two bytes
// exchanged.
//
// Cost: 18 ns/KiB measured on an EPYC with SSE2 alone (with AVX2 14; 64-bit adds with carry 44).
//
// Sources: RFC 1071; RFC 768 (zero means none); RFC 8200 §8.1 (IPv6 pseudo header).

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/frame/slice.h"

namespace tsvswitch {

// The sum of `bytes` bytes as 16-bit words in memory order, the last one padded with a zero byte.
// Not folded: it grows by less than 2^32 for each byte, so a frame's sum is far from 64 bits.
inline uint64_t SumOfWords(const uint8_t* data, size_t bytes) {
  // Per 64-bit lane, the sum of the words may lose carries, the sum of their upper halves cannot;
  // the lower halves are what is left of the first without the second, exact modulo 2^64 and below
  // it. Four vector instructions for 16 bytes, on any vector unit. Loads are memcpy since guests
  // align nothing.
  typedef uint64_t Lanes __attribute__((vector_size(16)));
  constexpr size_t kStep = 2 * sizeof(Lanes);
  Lanes even_words = {}, even_upper = {}, odd_words = {}, odd_upper = {};
  size_t at = 0;
  for (; at + kStep <= bytes; at += kStep) {
    Lanes even, odd;
    std::memcpy(&even, data + at, sizeof(even));
    std::memcpy(&odd, data + at + sizeof(even), sizeof(odd));
    even_words += even;
    even_upper += even >> 32;
    odd_words += odd;
    odd_upper += odd >> 32;
  }
  const Lanes upper = even_upper + odd_upper;
  const Lanes lower = even_words + odd_words - (upper << 32);
  const Lanes lanes = lower + upper;
  uint64_t sum = lanes[0] + lanes[1];
  for (; at + 4 <= bytes; at += 4) {
    uint32_t word;
    std::memcpy(&word, data + at, sizeof(word));
    sum += word;
  }
  if (at < bytes) {
    uint32_t word = 0;
    std::memcpy(&word, data + at, bytes - at);
    sum += word;
  }
  return sum;
}

inline uint16_t FoldSum(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

class InternetSum {
 public:
  void Add(const uint8_t* data, size_t bytes) {
    const uint64_t sum = SumOfWords(data, bytes);
    sum_ += odd_ ? __builtin_bswap16(FoldSum(sum)) : sum;
    odd_ ^= (bytes & 1) != 0;
  }
  void Add(const Slice& slice) {
    ForEachPart(slice, [this](const uint8_t* data, uint32_t bytes) { Add(data, bytes); });
  }
  // A number of a pseudo header, of at most 16 bits; the bytes so far must be even in number.
  void AddNumber(uint32_t number) { sum_ += __builtin_bswap16(static_cast<uint16_t>(number)); }

  // The sum, and the checksum that makes the whole sum to 0xffff; both in memory order.
  uint16_t folded() const { return FoldSum(sum_); }
  uint16_t checksum() const { return static_cast<uint16_t>(~FoldSum(sum_)); }

 private:
  uint64_t sum_ = 0;
  bool odd_ = false;
};

// What UDP writes for a checksum of zero, which it reserves for "none". Elsewhere both mean the
// same.
inline uint16_t NeverZero(uint16_t checksum) { return checksum != 0 ? checksum : uint16_t{0xffff}; }

}  // namespace tsvswitch
