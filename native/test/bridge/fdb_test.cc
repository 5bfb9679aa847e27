// The forwarding database: learning, moving, ageing, limits, and lookups while others write.

#include "core/bridge/fdb.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "test/check.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kMac = 0x5254'0000'0000;
constexpr uint32_t kNow = 1000;

// The port that an address is looked up to be on, or kNoPort.
uint16_t PortOf(const Fdb& fdb, uint64_t key, uint32_t now_s) {
  return fdb.Lookup(key, now_s).port;
}

uint64_t KeyOf(uint64_t number) { return Fdb::Key(kMac + number, 0); }

LearnResult Learn(Fdb& fdb, uint64_t key, uint16_t port, uint32_t now_s = kNow,
                  uint16_t* from = nullptr) {
  uint16_t unused;
  return fdb.Learn(key, port, now_s, from != nullptr ? from : &unused);
}

// Keys whose two buckets are the same two.
std::vector<uint64_t> KeysOfOnePair(size_t count) {
  const FdbTable table(Fdb::kBucketsMin, 0, false);
  const auto pair_of = [&table](uint64_t number) {
    const FdbTable::Homes homes = table.HomesOf(KeyOf(number));
    return std::minmax({homes.first, homes.second});
  };
  const auto pair = pair_of(0);
  std::vector<uint64_t> keys;
  for (uint64_t number = 0; keys.size() < count; ++number) {
    if (pair_of(number) == pair) keys.push_back(KeyOf(number));
  }
  return keys;
}
constexpr size_t kPairEntries = 2 * FdbTable::kEntriesPerBucket;

FACT("an address that was never seen is on no port") {
  const Fdb fdb;
  CHECK_EQ(PortOf(fdb, KeyOf(1), kNow), kNoPort);
  CHECK_EQ(PortOf(fdb, Fdb::Key(0, 0), kNow), kNoPort);
  CHECK(fdb.Read(kNow).empty());
}

FACT("an address is learned once, then known") {
  Fdb fdb;
  CHECK_EQ(Learn(fdb, KeyOf(1), 7), LearnResult::kLearned);
  CHECK_EQ(Learn(fdb, KeyOf(1), 7), LearnResult::kKnown);
  CHECK_EQ(PortOf(fdb, KeyOf(1), kNow), 7);
  CHECK_EQ(PortOf(fdb, KeyOf(2), kNow), kNoPort);
}

FACT("an address that appears on another port moves, and says from where") {
  Fdb fdb;
  uint16_t from = kNoPort;
  Learn(fdb, KeyOf(1), 7);
  CHECK_EQ(Learn(fdb, KeyOf(1), 1023, kNow, &from), LearnResult::kMoved);
  CHECK_EQ(from, 7);
  CHECK_EQ(PortOf(fdb, KeyOf(1), kNow), 1023);
  CHECK_EQ(fdb.Read(kNow).size(), 1u);
}

FACT("the same address in two VLANs is two entries") {
  Fdb fdb;
  Learn(fdb, Fdb::Key(kMac, 0), 1);
  Learn(fdb, Fdb::Key(kMac, 100), 2);
  Learn(fdb, Fdb::Key(kMac, 4095), 3);
  CHECK_EQ(PortOf(fdb, Fdb::Key(kMac, 0), kNow), 1);
  CHECK_EQ(PortOf(fdb, Fdb::Key(kMac, 100), kNow), 2);
  CHECK_EQ(PortOf(fdb, Fdb::Key(kMac, 4095), kNow), 3);
}

FACT("what is read back is what was learned") {
  Fdb fdb;
  Learn(fdb, Fdb::Key(0xffff'ffff'fffe, 4095), 1023, kNow);
  const std::vector<FdbRecord> records = fdb.Read(kNow);
  CHECK_EQ(records.size(), 1u);
  CHECK_EQ(records[0].mac, 0xffff'ffff'fffeu);
  CHECK_EQ(records[0].vlan, 4095);
  CHECK_EQ(records[0].port, 1023);
  CHECK_EQ(records[0].seen_s, kNow);
}

FACT("an entry is a miss once it was not seen for longer than the ageing time, swept or not") {
  Fdb fdb;
  fdb.SetAgeing(10);
  Learn(fdb, KeyOf(1), 7);
  CHECK_EQ(PortOf(fdb, KeyOf(1), kNow + 10), 7);
  CHECK_EQ(PortOf(fdb, KeyOf(1), kNow + 11), kNoPort);
  CHECK(fdb.Read(kNow + 11).empty());
}

FACT("a sighting refreshes an entry") {
  Fdb fdb;
  fdb.SetAgeing(10);
  Learn(fdb, KeyOf(1), 7);
  CHECK_EQ(Learn(fdb, KeyOf(1), 7, kNow + 9), LearnResult::kKnown);
  CHECK_EQ(PortOf(fdb, KeyOf(1), kNow + 19), 7);
  CHECK_EQ(PortOf(fdb, KeyOf(1), kNow + 20), kNoPort);
}

FACT("an ageing time of 0 means never") {
  Fdb fdb;
  fdb.SetAgeing(0);
  Learn(fdb, KeyOf(1), 7);
  fdb.Sweep(fdb.bucket_count(), kNow + 1'000'000);
  CHECK_EQ(PortOf(fdb, KeyOf(1), kNow + 1'000'000), 7);
}

FACT("ageing goes on over the wrap of the seconds, and a clock that is behind ages nothing") {
  Fdb fdb;
  fdb.SetAgeing(10);
  Learn(fdb, KeyOf(1), 7, 0xffff'fffe);
  CHECK_EQ(PortOf(fdb, KeyOf(1), 8), 7);
  CHECK_EQ(PortOf(fdb, KeyOf(1), 9), kNoPort);
  CHECK_EQ(PortOf(fdb, KeyOf(1), 0xffff'ff00), 7);
}

FACT("a sweep removes what has aged, keeps the rest, and gives back the port's share") {
  Fdb fdb;
  fdb.SetAgeing(10);
  for (uint64_t i = 0; i < kFdbEntriesPerPortMax; ++i) {
    Learn(fdb, KeyOf(i), 7, i % 2 == 0 ? kNow : kNow + 5);
  }
  CHECK_EQ(Learn(fdb, KeyOf(1 << 20), 7, kNow + 11), LearnResult::kRefused);
  for (uint32_t at = 0; at < fdb.bucket_count(); at += 32) fdb.Sweep(32, kNow + 11);
  for (uint64_t i = 0; i < kFdbEntriesPerPortMax; ++i) {
    CHECK_EQ(PortOf(fdb, KeyOf(i), kNow + 11), i % 2 == 0 ? kNoPort : 7);
  }
  fdb.SetAgeing(0);  // what was removed does not come back
  CHECK_EQ(fdb.Read(kNow + 11).size(), kFdbEntriesPerPortMax / 2);
  CHECK_EQ(Learn(fdb, KeyOf(1 << 20), 7, kNow + 11), LearnResult::kLearned);
}

FACT("flushing a port leaves the others, flushing all leaves none, and both can be learned again") {
  Fdb fdb;
  for (uint64_t i = 0; i < 3000; ++i) Learn(fdb, KeyOf(i), static_cast<uint16_t>(i % 3));
  fdb.Flush(1);
  for (uint64_t i = 0; i < 3000; ++i) {
    CHECK_EQ(PortOf(fdb, KeyOf(i), kNow), i % 3 == 1 ? kNoPort : static_cast<uint16_t>(i % 3));
  }
  CHECK_EQ(Learn(fdb, KeyOf(1), 1), LearnResult::kLearned);
  fdb.Flush(kNoPort);
  CHECK(fdb.Read(kNow).empty());
  for (uint64_t i = 0; i < 3000; ++i) CHECK_EQ(Learn(fdb, KeyOf(i), 5), LearnResult::kLearned);
  CHECK_EQ(fdb.Read(kNow).size(), 3000u);
}

FACT("a flood of addresses from one port stops at its limit and leaves the others' entries") {
  Fdb fdb;
  for (uint64_t i = 0; i < 1000; ++i) Learn(fdb, KeyOf(i), 1);
  uint32_t refused = 0;
  for (uint64_t i = 1000; i < 50000; ++i) {
    refused += Learn(fdb, KeyOf(i), 2) == LearnResult::kRefused ? 1 : 0;
  }
  std::map<uint16_t, uint32_t> entries;
  for (const FdbRecord& record : fdb.Read(kNow)) ++entries[record.port];
  CHECK_EQ(entries[1], 1000u);
  CHECK_EQ(entries[2], kFdbEntriesPerPortMax);
  CHECK_EQ(refused, 49000 - kFdbEntriesPerPortMax);
  for (uint64_t i = 0; i < 1000; ++i) CHECK_EQ(PortOf(fdb, KeyOf(i), kNow), 1);
  // A port at its limit does not take over addresses of others either, and still refreshes its own.
  CHECK_EQ(Learn(fdb, KeyOf(0), 2), LearnResult::kRefused);
  CHECK_EQ(PortOf(fdb, KeyOf(0), kNow), 1);
  CHECK_EQ(Learn(fdb, KeyOf(1000), 2, kNow + 1), LearnResult::kKnown);
}

FACT("addresses that move do not count for the port they left") {
  Fdb fdb;
  for (uint64_t i = 0; i < kFdbEntriesPerPortMax; ++i) Learn(fdb, KeyOf(i), 1);
  for (uint64_t i = 0; i < 100; ++i) CHECK_EQ(Learn(fdb, KeyOf(i), 2), LearnResult::kMoved);
  for (uint64_t i = 0; i < 100; ++i) {
    CHECK_EQ(Learn(fdb, KeyOf(1'000'000 + i), 1), LearnResult::kLearned);
  }
  CHECK_EQ(Learn(fdb, KeyOf(2'000'000), 1), LearnResult::kRefused);
}

FACT("a full bucket overflows into another one, and what lies there is found and moved") {
  Fdb fdb;
  const std::vector<uint64_t> keys = KeysOfOnePair(kPairEntries);
  for (size_t i = 0; i < keys.size(); ++i) {
    CHECK_EQ(Learn(fdb, keys[i], static_cast<uint16_t>(i)), LearnResult::kLearned);
  }
  for (size_t i = 0; i < keys.size(); ++i) CHECK_EQ(PortOf(fdb, keys[i], kNow), i);
  CHECK_EQ(Learn(fdb, keys.back(), 100), LearnResult::kMoved);
  CHECK_EQ(PortOf(fdb, keys.back(), kNow), 100);
  // A hole in the first bucket does not hide what overflowed from it, nor is it learned twice.
  fdb.Flush(0);
  CHECK_EQ(PortOf(fdb, keys.back(), kNow), 100);
  CHECK_EQ(Learn(fdb, keys.back(), 100), LearnResult::kKnown);
  CHECK_EQ(fdb.Read(kNow).size(), keys.size() - 1);
}

FACT("buckets full of live entries refuse the newcomer, and take it once one has aged") {
  Fdb fdb;
  fdb.SetAgeing(10);
  const std::vector<uint64_t> keys = KeysOfOnePair(kPairEntries + 1);
  for (size_t i = 0; i + 1 < keys.size(); ++i) {
    CHECK_EQ(Learn(fdb, keys[i], 1, i == 5 ? kNow : kNow + 5), LearnResult::kLearned);
  }
  CHECK_EQ(Learn(fdb, keys.back(), 1, kNow + 5), LearnResult::kRefused);
  CHECK_EQ(PortOf(fdb, keys.back(), kNow + 5), kNoPort);
  CHECK(fdb.wants_growth());
  fdb.Sweep(fdb.bucket_count(), kNow + 11);
  CHECK_EQ(Learn(fdb, keys.back(), 1, kNow + 11), LearnResult::kLearned);
  CHECK_EQ(PortOf(fdb, keys.back(), kNow + 11), 1);
  CHECK_EQ(PortOf(fdb, keys[5], kNow + 11), kNoPort);
}

FACT("buckets full of entries that were flushed take the newcomer at once") {
  Fdb fdb;
  const std::vector<uint64_t> keys = KeysOfOnePair(kPairEntries + 1);
  for (size_t i = 0; i + 1 < keys.size(); ++i) Learn(fdb, keys[i], i == 5 ? 2 : 1);
  CHECK_EQ(Learn(fdb, keys.back(), 1), LearnResult::kRefused);
  fdb.Flush(2);
  CHECK_EQ(Learn(fdb, keys.back(), 1), LearnResult::kLearned);
  for (size_t i = 0; i < keys.size(); ++i)
    CHECK_EQ(PortOf(fdb, keys[i], kNow), i == 5 ? kNoPort : 1);
}

FACT("lookups while others learn, flush and sweep give the right port or none") {
  Fdb fdb;
  fdb.SetAgeing(1);
  // All keys share two buckets, so that every slot goes from key to key. A key's port never
  // changes.
  const std::vector<uint64_t> keys = KeysOfOnePair(12);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0};
  std::atomic<uint64_t> found{0};
  std::thread reader([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      for (size_t i = 0; i < keys.size(); ++i) {
        const uint16_t port = PortOf(fdb, keys[i], kNow);
        if (port != kNoPort) found.fetch_add(1, std::memory_order_relaxed);
        if (port != kNoPort && port != i) wrong.fetch_add(1, std::memory_order_relaxed);
      }
    }
  });
  std::thread learner([&] {
    uint64_t number = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      const size_t i = number++ * 7 % keys.size();
      Learn(fdb, keys[i], static_cast<uint16_t>(i));
    }
  });
  // Each round reads all buckets; enough of them, and lookups that found something, or a deadline.
  constexpr uint32_t kRounds = 1000;
  constexpr uint32_t kRoundsMax = 100 * kRounds;
  for (uint32_t round = 0; round < kRoundsMax; ++round) {
    if (round >= kRounds && found.load() >= 20000) break;
    const size_t i = round * 5 % keys.size();
    fdb.Flush(static_cast<uint16_t>(i));
    Learn(fdb, keys[i], static_cast<uint16_t>(i));
    if (round % 16 == 0) fdb.Sweep(fdb.bucket_count(), kNow + 2);
  }
  stop = true;
  reader.join();
  learner.join();
  CHECK(found.load() >= 20000);
  CHECK_EQ(wrong.load(), 0u);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
