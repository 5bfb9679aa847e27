// The forwarding table grows: to a million entries, by pieces, and while workers use it.

#include <atomic>
#include <thread>
#include <vector>

#include "core/bridge/fdb.h"
#include "test/check.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kMac = 0x5254'0000'0000;
constexpr uint32_t kNow = 1000;

uint64_t KeyOf(uint64_t number) { return Fdb::Key(kMac + number, 0); }

LearnResult Learn(Fdb& fdb, uint64_t number, uint16_t port, uint32_t now_s = kNow) {
  uint16_t from;
  return fdb.Learn(KeyOf(number), port, now_s, &from);
}
uint16_t PortOf(const Fdb& fdb, uint64_t number) { return fdb.Lookup(KeyOf(number), kNow).port; }

void SetNoLimits(Fdb& fdb, uint16_t port) {
  fdb.SetLimit(kFdbEntriesMax);
  fdb.SetPortLimit(port, kFdbEntriesMax);
}

void GrowAsWanted(Fdb& fdb) {
  while (fdb.wants_growth()) {
    CHECK(fdb.Grow(Fdb::kBucketsMax));
    fdb.DropOld();
  }
}

FACT("a table that is half full wants to grow, and says so once for each piece") {
  Fdb fdb;
  SetNoLimits(fdb, 1);
  constexpr uint64_t kHalf = Fdb::kBucketsMin * FdbTable::kEntriesPerBucket / 2;
  for (uint64_t i = 0; i < kHalf; ++i) CHECK_EQ(Learn(fdb, i, 1), LearnResult::kLearned);
  CHECK(!fdb.wants_growth());
  CHECK(!fdb.TakeGrowthWish());
  CHECK_EQ(Learn(fdb, kHalf, 1), LearnResult::kLearned);
  CHECK(fdb.wants_growth());
  CHECK(fdb.TakeGrowthWish());
  CHECK(!fdb.TakeGrowthWish());
  CHECK(!fdb.Grow(16));
  CHECK(fdb.TakeGrowthWish());
  CHECK(fdb.Grow(Fdb::kBucketsMin));
  fdb.DropOld();
  CHECK_EQ(fdb.bucket_count(), 2 * Fdb::kBucketsMin);
  CHECK(!fdb.wants_growth());
  CHECK(!fdb.TakeGrowthWish());
  for (uint64_t i = 0; i <= kHalf; ++i) CHECK_EQ(PortOf(fdb, i), 1);
}

FACT("one port learns a million addresses, all of which are found, and none more") {
  Fdb fdb;
  SetNoLimits(fdb, 1);
  SetNoLimits(fdb, 2);
  for (uint64_t i = 0; i < kFdbEntriesMax; ++i) {
    CHECK_EQ(Learn(fdb, i, 1), LearnResult::kLearned);
    GrowAsWanted(fdb);
  }
  CHECK_EQ(fdb.bucket_count(), Fdb::kBucketsMax);
  CHECK_EQ(Learn(fdb, kFdbEntriesMax, 2), LearnResult::kRefused);
  uint64_t found = 0;
  for (uint64_t i = 0; i < kFdbEntriesMax; ++i) found += PortOf(fdb, i) == 1 ? 1 : 0;
  CHECK_EQ(found, kFdbEntriesMax);
  CHECK_EQ(fdb.Read(kNow).size(), kFdbEntriesMax);
  // Forgotten at once, and there is room for as many again.
  fdb.Flush(1);
  CHECK(fdb.Read(kNow).empty());
  uint64_t learned = 0;
  for (uint64_t i = 0; i < kFdbEntriesMax; ++i) {
    learned += Learn(fdb, 2 * kFdbEntriesMax + i, 2) == LearnResult::kLearned ? 1 : 0;
  }
  CHECK_EQ(learned, kFdbEntriesMax);
}

FACT("what is learned, moved, refreshed, set, removed and flushed while a table grows holds") {
  Fdb fdb;
  fdb.SetAgeing(10);
  for (uint16_t port = 1; port <= 9; ++port) SetNoLimits(fdb, port);
  uint64_t count = 0;
  const auto first_port = [](uint64_t i) { return static_cast<uint16_t>(1 + i % 3); };
  for (; !fdb.wants_growth(); ++count) Learn(fdb, count, first_port(count));
  // Between two pieces, wherever the entries lie: before the pieces, in them and behind.
  for (uint32_t piece = 0; !fdb.Grow(64); ++piece) {
    for (uint64_t i = piece * 40; i < (piece + 1) * 40; ++i) {
      switch (i % 5) {
        case 0: Learn(fdb, i, 4); break;
        case 1: CHECK(fdb.Remove(KeyOf(i))); break;
        case 2:
          CHECK(fdb.Set({.mac = kMac + i,
                         .vlan = 0,
                         .port = 5,
                         .via = 6,
                         .flags = kFdbStatic,
                         .seen_s = kNow}));
          break;
        case 3: Learn(fdb, 1'000'000 + i, 7); break;
        case 4: Learn(fdb, i, fdb.Lookup(KeyOf(i), kNow).port, kNow + 5); break;
      }
    }
    if (piece == 10) fdb.Flush(7);
  }
  constexpr uint64_t kPieces = Fdb::kBucketsMin / 64 - 1;
  for (uint64_t i = 0; i < count; ++i) {
    const bool changed = i < kPieces * 40;
    const uint16_t expected = !changed || i % 5 == 3 || i % 5 == 4 ? first_port(i)
                              : i % 5 == 0                         ? uint16_t{4}
                              : i % 5 == 1                         ? kNoPort
                                                                   : uint16_t{5};
    CHECK_EQ(PortOf(fdb, i), expected);
    if (!changed) continue;
    if (i % 5 == 3) CHECK_EQ(PortOf(fdb, 1'000'000 + i), i < 11 * 40 ? kNoPort : 7);
    if (i % 5 == 4) CHECK_EQ(fdb.Lookup(KeyOf(i), kNow + 15).port, first_port(i));
  }
}

FACT("places that are flushed while a table grows are not given out before it was swept") {
  Fdb fdb;
  for (uint16_t port = 1; port <= 2; ++port) SetNoLimits(fdb, port);
  for (uint64_t i = 0; !fdb.wants_growth(); ++i) Learn(fdb, i, 1);
  CHECK(!fdb.Grow(Fdb::kBucketsMin / 2));
  // A sweep that began before the flush in one table, and goes on in the other.
  fdb.Sweep(Fdb::kBucketsMin / 4, kNow);
  fdb.Flush(1);
  CHECK(fdb.Grow(Fdb::kBucketsMin));
  // Every number there is, and then those that come back.
  for (uint32_t i = 0; i < FdbPlaces::kPlacesMax; ++i) {
    Learn(fdb, 1'000'000, 2);
    fdb.Flush(2);
    CHECK_EQ(PortOf(fdb, i % 5000), kNoPort);
  }
  fdb.Sweep(fdb.bucket_count() - 1, kNow);
  CHECK_EQ(Learn(fdb, 1'000'001, 2), LearnResult::kRefused);
  // Nor while somebody may still read the old table, which was not.
  fdb.Sweep(1, kNow);
  CHECK_EQ(Learn(fdb, 1'000'001, 2), LearnResult::kRefused);
  fdb.DropOld();
  fdb.Sweep(fdb.bucket_count(), kNow);
  CHECK_EQ(Learn(fdb, 1'000'001, 2), LearnResult::kLearned);
  CHECK_EQ(fdb.Read(kNow).size(), 1u);
}

FACT("nor are those of entries that were copied, and whose slots others have taken since") {
  Fdb fdb;
  for (uint16_t port = 1; port <= 3; ++port) SetNoLimits(fdb, port);
  uint64_t count = 0;
  for (; !fdb.wants_growth(); ++count) Learn(fdb, count, 1);
  CHECK(!fdb.Grow(Fdb::kBucketsMin - 64));
  fdb.Flush(1);
  for (uint64_t i = 0; i < count; ++i) Learn(fdb, 1'000'000 + i, 2);
  for (uint32_t sweeps = 0; sweeps < 2; ++sweeps) fdb.Sweep(fdb.bucket_count(), kNow);
  // Gets the number of the first place, if that is given out.
  Learn(fdb, 2'000'000, 3);
  CHECK(fdb.Grow(Fdb::kBucketsMin));
  for (uint64_t i = 0; i < count; ++i) CHECK_EQ(PortOf(fdb, i), kNoPort);
}

// Each address is only ever on the port of its number, or the one beside it.
uint16_t HomePort(uint64_t number) { return static_cast<uint16_t>(2 * (number % 8)); }

// Workers that look up, learn and sweep at once, each in rounds.
class Busy {
 public:
  static constexpr uint64_t kAddresses = 100'000;

  explicit Busy(Fdb& fdb) : fdb_(fdb) {
    for (auto step : {&Busy::LookUp, &Busy::Learn, &Busy::Sweep}) {
      const size_t number = threads_.size();
      threads_.emplace_back([this, step, number] {
        for (uint64_t round = 0; !stop_.load(std::memory_order_relaxed); ++round) {
          (this->*step)(round);
          rounds_[number].fetch_add(1);
        }
      });
    }
  }
  // As a pause does: everybody's round that may have seen an old table ends.
  void Pause() {
    for (auto& rounds : rounds_) {
      const uint32_t seen = rounds.load();
      while (rounds.load() - seen < 2) std::this_thread::yield();
    }
  }
  void Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  uint64_t wrong() const { return wrong_.load(); }
  uint64_t found() const { return found_.load(); }

 private:
  static constexpr uint64_t kEach = 64;

  void LookUp(uint64_t round) {
    for (uint64_t i = round * kEach; i < (round + 1) * kEach; ++i) {
      const uint64_t number = i * 7919 % kAddresses;
      const uint16_t port = PortOf(fdb_, number);
      if (port == kNoPort) continue;
      found_.fetch_add(1, std::memory_order_relaxed);
      if (port != HomePort(number) && port != HomePort(number) + 1) wrong_.fetch_add(1);
    }
  }
  void Learn(uint64_t round) {
    for (uint64_t i = round * kEach; i < (round + 1) * kEach; ++i) {
      const uint64_t number = i * 104'729 % kAddresses;
      tsvswitch::Learn(fdb_, number, static_cast<uint16_t>(HomePort(number) + number / 8 % 2));
    }
  }
  // Now and then some of it has aged.
  void Sweep(uint64_t round) { fdb_.Sweep(64, round % 64 == 0 ? kNow + 2 : kNow); }

  Fdb& fdb_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> wrong_{0};
  std::atomic<uint64_t> found_{0};
  std::atomic<uint32_t> rounds_[3] = {};
  std::vector<std::thread> threads_;
};

FACT("lookups give the right port or none while others learn, flush, sweep, set and let it grow") {
  constexpr uint64_t kStatic = 64;
  Fdb fdb;
  fdb.SetAgeing(1);
  for (uint16_t port = 0; port < 16; ++port) SetNoLimits(fdb, port);
  for (uint64_t i = 0; i < kStatic; ++i) {
    CHECK(fdb.Set({.mac = kMac + i,
                   .vlan = 0,
                   .port = HomePort(i),
                   .via = 0,
                   .flags = kFdbStatic,
                   .seen_s = kNow}));
  }
  Busy busy(fdb);
  uint32_t growths = 0;
  uint16_t flushed = 0;
  for (uint64_t turn = 0; growths < 3; ++turn) {
    Learn(fdb, turn * 31 % Busy::kAddresses, HomePort(turn * 31 % Busy::kAddresses));
    if (!fdb.wants_growth()) continue;
    fdb.Flush(flushed++ % 16);
    if (!fdb.Grow(256)) continue;
    ++growths;
    busy.Pause();
    fdb.DropOld();
  }
  busy.Stop();
  CHECK_EQ(busy.wrong(), 0u);
  CHECK(busy.found() > 0);
  for (uint64_t i = 0; i < kStatic; ++i) CHECK_EQ(PortOf(fdb, i), HomePort(i));
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
