// Frames and bytes by pair of ports: what has a place, what has none, what a port leaves behind.

#include "core/port/pair_counters.h"

#include <algorithm>

#include "test/check.h"

namespace tsvswitch {
namespace {

using Pair = PairCounters::Pair;

std::vector<Pair> All(const PairCounters& counters) {
  std::vector<Pair> pairs;
  counters.AppendTo(pairs);
  return pairs;
}

const Pair* Of(const std::vector<Pair>& pairs, uint16_t from, uint16_t to) {
  const auto is = [&](const Pair& pair) { return pair.from == from && pair.to == to; };
  const auto found = std::find_if(pairs.begin(), pairs.end(), is);
  return found == pairs.end() ? nullptr : &*found;
}

void Count(PairCounters& counters, uint16_t from, uint16_t to, uint64_t frames) {
  if (!counters.Add(from, to, frames, 100 * frames)) {
    counters.AddFirst(from, to, frames, 100 * frames, true);
  }
}

FACT("a pair has a place once a frame was meant for it, each direction its own") {
  PairCounters counters;
  CHECK(!counters.Add(0, 1, 5, 500));
  counters.AddFirst(0, 1, 5, 500, false);
  CHECK(Of(All(counters), 0, 1) == nullptr);
  Count(counters, 0, 1, 3);
  CHECK(counters.Add(0, 1, 4, 400));
  Count(counters, 1, 0, 1);
  const std::vector<Pair> pairs = All(counters);
  CHECK_EQ(pairs.size(), 3u);
  CHECK_EQ(Of(pairs, 0, 1)->frames, 7u);
  CHECK_EQ(Of(pairs, 0, 1)->bytes, 700u);
  CHECK_EQ(Of(pairs, 1, 0)->frames, 1u);
  CHECK_EQ(Of(pairs, 0, kNoPort)->frames, 5u);
}

FACT("beyond the last place frames count for their source, and those with a place go on") {
  PairCounters counters;
  uint32_t count = 0;
  for (uint16_t from = 0; from < 8; ++from) {
    for (uint16_t to = 0; to < kPortsMax; ++to) {
      if (to == from) continue;
      Count(counters, from, to, 1);
      ++count;
    }
  }
  CHECK(count > PairCounters::kPairsMax);
  Count(counters, 0, 1, 1);
  const std::vector<Pair> pairs = All(counters);
  uint64_t frames = 0;
  uint32_t places = 0;
  for (const Pair& pair : pairs) {
    frames += pair.frames;
    places += pair.to != kNoPort;
  }
  CHECK_EQ(places, PairCounters::kPairsMax);
  CHECK_EQ(frames, uint64_t{count} + 1);
  CHECK_EQ(Of(pairs, 0, 1)->frames, 2u);
  CHECK(Of(pairs, 7, kNoPort) != nullptr);
}

FACT("a port that goes takes its pairs along, and leaves room for others") {
  PairCounters counters;
  for (uint16_t from = 0; from < 6; ++from) {
    for (uint16_t to = 0; to < kPortsMax; ++to) {
      if (to != from) Count(counters, from, to, from + 1u);
    }
  }
  counters.AddFirst(3, 9, 1, 1, false);
  counters.Forget(3);
  const std::vector<Pair> pairs = All(counters);
  CHECK_EQ(pairs.size(), 5u * 1022u);
  for (const Pair& pair : pairs) {
    CHECK(pair.from != 3 && pair.to != 3);
    CHECK_EQ(pair.frames, pair.from + 1u);
  }
  Count(counters, 3, 0, 8);
  CHECK_EQ(Of(All(counters), 3, 0)->frames, 8u);
}

FACT("what a worker has counted that ends is added to another's") {
  PairCounters counters;
  PairCounters leaving;
  Count(counters, 0, 1, 1);
  Count(leaving, 0, 1, 2);
  Count(leaving, 4, 5, 3);
  leaving.AddFirst(4, 6, 7, 700, false);
  counters.TakeOver(leaving);
  const std::vector<Pair> pairs = All(counters);
  CHECK_EQ(Of(pairs, 0, 1)->frames, 3u);
  CHECK_EQ(Of(pairs, 4, 5)->bytes, 300u);
  CHECK_EQ(Of(pairs, 4, kNoPort)->bytes, 700u);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
