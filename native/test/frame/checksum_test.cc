// The Internet checksum against RFC 1071 and against its slow form, over pieces cut anywhere.

#include "core/frame/checksum.h"

#include "driver/packet.h"
#include "test/check.h"

namespace tsvswitch {
namespace {

// In the order of the wire, as SlowSum() has it.
uint16_t Sum(const Slice& slice) {
  InternetSum sum;
  sum.Add(slice);
  return __builtin_bswap16(sum.folded());
}

// 0 and 0xffff are the same number in one's complement.
uint16_t Number(uint16_t sum) { return sum == 0xffff ? 0 : sum; }

FACT("RFC 1071 §3: the example sums to ddf2") {
  const Bytes example = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  CHECK_EQ(Sum(Scattered(example).slice()), 0xddf2);
  InternetSum sum;
  sum.Add(example.data(), example.size());
  CHECK_EQ(sum.checksum(), __builtin_bswap16(0x220d));
}

FACT("every length and alignment has the sum of the slow form") {
  Random random(1);
  const Bytes bytes = random.Some(300);
  for (size_t from = 0; from < 16; ++from) {
    for (size_t count = 0; from + count <= bytes.size(); ++count) {
      const Bytes part(bytes.begin() + static_cast<ptrdiff_t>(from),
                       bytes.begin() + static_cast<ptrdiff_t>(from + count));
      InternetSum sum;
      sum.Add(bytes.data() + from, count);
      CHECK_EQ(Number(__builtin_bswap16(sum.folded())), Number(SlowSum(part)));
    }
  }
}

FACT("pieces of any length, odd ones too, do not change the sum") {
  for (uint32_t number = 0; number < 400; ++number) {
    const Case in_case(number);
    Random random(number);
    const Bytes bytes = random.Some(random.Below(random.OneIn(10) ? 65550 : 500) + 1);
    CHECK_EQ(Number(Sum(Scattered(bytes, random).slice())), Number(SlowSum(bytes)));
  }
}

FACT("the largest frame of ones, byte by byte, loses no carry") {
  const Bytes ones(kFrameBytesMax, 0xff);
  CHECK_EQ(Sum(Scattered(ones).slice()), 0xffff);
  InternetSum sum;
  for (const uint8_t& byte : ones) sum.Add(&byte, 1);
  CHECK_EQ(sum.folded(), 0xffff);
}

FACT("numbers of a pseudo header count like the bytes they stand for") {
  InternetSum numbers;
  numbers.AddNumber(17);
  numbers.AddNumber(0xfedc);
  const Bytes bytes = {0, 17, 0xfe, 0xdc};
  CHECK_EQ(numbers.folded(), __builtin_bswap16(SlowSum(bytes)));
}

FACT("a slice begins where it says and is cut where it is told") {
  for (uint32_t number = 0; number < 200; ++number) {
    const Case in_case(number);
    Random random(number);
    const Bytes bytes = random.Some(random.Between(1, 300));
    const Scattered frame(bytes, random);
    Slice rest = frame.slice();
    Bytes joined;
    while (rest.bytes > 0) {
      const Slice front = TakeFront(&rest, random.Between(0, rest.bytes));
      Bytes gathered(front.bytes + 1, 0x5a);
      CHECK_EQ(Gather(front, gathered.data(), 1000), front.bytes);
      CHECK_EQ(gathered.back(), 0x5a);
      gathered.pop_back();
      Append(&joined, gathered);
    }
    CHECK(joined == bytes);
  }
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
