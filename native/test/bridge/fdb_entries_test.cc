// Entries that are set, with their flags; places that are flushed; limits; and news of what aged.

#include <algorithm>
#include <set>
#include <vector>

#include "core/bridge/bridge.h"
#include "test/check.h"

namespace tsvswitch {
namespace {

using Kind = Destination::Kind;

constexpr uint64_t kMac = 0x5254'0000'0000;
constexpr uint32_t kNow = 1000;
constexpr uint32_t kAgeing = 10;
constexpr uint32_t kLater = kNow + kAgeing + 1;

uint64_t KeyOf(uint64_t number) { return Fdb::Key(kMac + number, 0); }

LearnResult Learn(Fdb& fdb, uint64_t number, uint16_t port, uint32_t now_s = kNow) {
  uint16_t from;
  return fdb.Learn(KeyOf(number), port, now_s, &from);
}

FdbRecord Entry(uint64_t number, uint16_t port, uint8_t flags, uint16_t via = 0) {
  return {
      .mac = kMac + number, .vlan = 0, .port = port, .via = via, .flags = flags, .seen_s = kNow};
}

Destination At(uint16_t port, uint16_t via = 0) {
  return {.kind = Kind::kPort, .port = port, .via = via};
}
const Destination kNowhere = {};

struct Ageing : Fdb {
  Ageing() { SetAgeing(kAgeing); }
  // The addresses, as numbers, that a sweep of all says have aged.
  std::vector<uint64_t> SweepAll(uint32_t now_s) {
    std::vector<uint64_t> aged;
    const auto note = [](void* context, const FdbRecord& entry) {
      static_cast<std::vector<uint64_t>*>(context)->push_back(entry.mac - kMac);
    };
    Sweep(bucket_count(), now_s, note, &aged);
    std::sort(aged.begin(), aged.end());
    return aged;
  }
};

FACT("an entry that is set is found with its remote end, and read with its flags") {
  Fdb fdb;
  CHECK(fdb.Set(Entry(1, 1023, kFdbStatic | kFdbSticky, 0xffff)));
  CHECK(fdb.Lookup(KeyOf(1), kNow) == At(1023, 0xffff));
  const std::vector<FdbRecord> records = fdb.Read(kNow);
  CHECK_EQ(records.size(), 1u);
  CHECK_EQ(records[0].port, 1023);
  CHECK_EQ(records[0].via, 0xffff);
  CHECK_EQ(records[0].flags, kFdbStatic | kFdbSticky);
}

FACT("a static entry neither ages nor moves, and is not counted as learned") {
  Ageing fdb;
  fdb.SetPortLimit(2, 1);
  CHECK(fdb.Set(Entry(1, 1, kFdbStatic)));
  CHECK_EQ(Learn(fdb, 1, 2), LearnResult::kKnown);
  CHECK_EQ(Learn(fdb, 2, 2), LearnResult::kLearned);
  CHECK(fdb.Lookup(KeyOf(1), kLater) == At(1));
  CHECK(fdb.SweepAll(kLater) == std::vector<uint64_t>{2});
  CHECK(fdb.Lookup(KeyOf(1), kLater) == At(1));
}

FACT("a sticky entry does not move until it has aged, and is refreshed where it is") {
  Ageing fdb;
  CHECK(fdb.Set(Entry(1, 1, kFdbSticky)));
  CHECK_EQ(Learn(fdb, 1, 2, kNow + kAgeing), LearnResult::kKnown);
  CHECK(fdb.Lookup(KeyOf(1), kNow + kAgeing) == At(1));
  CHECK_EQ(Learn(fdb, 1, 1, kNow + 5), LearnResult::kKnown);
  CHECK_EQ(Learn(fdb, 1, 2, kNow + 5 + kAgeing), LearnResult::kKnown);
  CHECK(fdb.Lookup(KeyOf(1), kNow + 5 + kAgeing) == At(1));
  CHECK_EQ(fdb.Read(kNow)[0].flags, kFdbSticky);
  CHECK_EQ(Learn(fdb, 1, 2, kNow + 5 + kAgeing + 1), LearnResult::kMoved);
  CHECK_EQ(fdb.Read(kNow)[0].flags, 0);
}

FACT("an extern entry does not age, and moves to where its address is seen, learned there") {
  Ageing fdb;
  CHECK(fdb.Set(Entry(1, 1, kFdbExtern, 7)));
  CHECK_EQ(Learn(fdb, 1, 1, kNow + 1), LearnResult::kKnown);
  CHECK(fdb.Lookup(KeyOf(1), kLater) == At(1, 7));
  CHECK(fdb.SweepAll(kLater).empty());
  CHECK_EQ(Learn(fdb, 1, 2, kLater), LearnResult::kMoved);
  CHECK(fdb.Lookup(KeyOf(1), kLater) == At(2));
  CHECK(fdb.SweepAll(kLater + kAgeing + 1) == std::vector<uint64_t>{1});
}

FACT("frames to a drop entry end, whoever speaks with its address") {
  Ageing fdb;
  CHECK(fdb.Set(Entry(1, kNoPort, kFdbDrop)));
  CHECK(fdb.Lookup(KeyOf(1), kLater).kind == Kind::kDrop);
  CHECK_EQ(Learn(fdb, 1, 2, kLater), LearnResult::kKnown);
  CHECK(fdb.SweepAll(kLater).empty());
  CHECK(fdb.Lookup(KeyOf(1), kLater).kind == Kind::kDrop);
}

FACT("a set entry takes the place of a learned one, and back, with the shares of both") {
  Fdb fdb;
  fdb.SetPortLimit(1, 1);
  CHECK_EQ(Learn(fdb, 1, 1), LearnResult::kLearned);
  CHECK_EQ(Learn(fdb, 2, 1), LearnResult::kRefused);
  const uint32_t before = fdb.revision();
  CHECK(fdb.Set(Entry(1, 3, kFdbStatic)));
  CHECK(fdb.revision() != before);
  CHECK_EQ(Learn(fdb, 2, 1), LearnResult::kLearned);
  fdb.SetPortLimit(1, 2);
  CHECK(fdb.Set(Entry(1, 1, 0)));
  CHECK_EQ(Learn(fdb, 3, 1), LearnResult::kRefused);
  CHECK(fdb.Remove(KeyOf(1)));
  CHECK_EQ(Learn(fdb, 3, 1), LearnResult::kLearned);
}

FACT("an entry is removed once, whatever it is") {
  Fdb fdb;
  CHECK(!fdb.Remove(KeyOf(1)));
  CHECK(fdb.Set(Entry(1, 1, kFdbStatic)));
  Learn(fdb, 2, 1);
  CHECK(fdb.Remove(KeyOf(1)));
  CHECK(fdb.Remove(KeyOf(2)));
  CHECK(!fdb.Remove(KeyOf(1)));
  CHECK(fdb.Read(kNow).empty());
  Learn(fdb, 3, 1);
  fdb.Flush(1);
  CHECK(!fdb.Remove(KeyOf(3)));
}

FACT("flushing forgets what was learned, flushing all what was fixed too, and only of that port") {
  Fdb fdb;
  for (uint16_t port = 1; port <= 2; ++port) {
    CHECK(fdb.Set(Entry(port * 10u, port, kFdbStatic)));
    CHECK(fdb.Set(Entry(port * 10u + 1, port, kFdbExtern, 1)));
    CHECK(fdb.Set(Entry(port * 10u + 2, port, kFdbSticky, 1)));
    Learn(fdb, port * 10u + 3, port);
  }
  CHECK(fdb.Set(Entry(3, kNoPort, kFdbDrop)));
  fdb.Flush(1);
  std::set<uint64_t> left;
  for (const FdbRecord& entry : fdb.Read(kNow)) left.insert(entry.mac - kMac);
  CHECK(left == (std::set<uint64_t>{3, 10, 11, 20, 21, 22, 23}));
  fdb.Flush(kNoPort);
  CHECK_EQ(fdb.Read(kNow).size(), 5u);
  fdb.FlushAll(1);
  CHECK_EQ(fdb.Read(kNow).size(), 3u);
  CHECK(fdb.Lookup(KeyOf(10), kNow) == kNowhere);
  // What was flushed is set and learned as if it had never been there.
  CHECK(fdb.Set(Entry(10, 1, kFdbStatic)));
  CHECK_EQ(Learn(fdb, 13, 1), LearnResult::kLearned);
  CHECK(fdb.Lookup(KeyOf(10), kNow) == At(1));
}

FACT("what a port is when its number is given out again has nothing of the one before") {
  Ageing fdb;
  for (uint32_t time = 0; time < 1000; ++time) {
    for (uint64_t i = 0; i < 8; ++i) CHECK_EQ(Learn(fdb, i, 1), LearnResult::kLearned);
    CHECK(fdb.Set(Entry(8, 1, kFdbStatic, static_cast<uint16_t>(time))));
    fdb.FlushAll(1);
    for (uint64_t i = 0; i <= 8; ++i) CHECK(fdb.Lookup(KeyOf(i), kNow) == kNowhere);
    CHECK(fdb.Read(kNow).empty());
  }
  CHECK(fdb.SweepAll(kNow).empty());
}

FACT("numbers of places that were flushed are given out again, after a sweep and not before") {
  Fdb fdb;
  // More remote ends than there are numbers, if none came back.
  const auto fill = [&fdb](uint16_t port, uint64_t mac) {
    uint32_t set = 0;
    for (uint32_t via = 0; via < FdbPlaces::kPlacesMax; ++via) {
      set += fdb.Set(Entry(mac, port, kFdbStatic, static_cast<uint16_t>(via))) ? 1 : 0;
    }
    return set;
  };
  CHECK_EQ(fill(1, 1), FdbPlaces::kPlacesMax - 1);
  CHECK_EQ(Learn(fdb, 9, 5), LearnResult::kRefused);
  fdb.FlushAll(1);
  CHECK(!fdb.Set(Entry(1, 2, kFdbStatic)));
  // The rest of a sweep that is on its way is not enough: a dead entry may lie behind it.
  fdb.Sweep(fdb.bucket_count() / 2, kNow);
  CHECK(!fdb.Set(Entry(1, 2, kFdbStatic)));
  fdb.Sweep(fdb.bucket_count() / 2, kNow);
  CHECK_EQ(fill(2, 2), FdbPlaces::kPlacesMax - 1);
  CHECK(fdb.Lookup(KeyOf(1), kNow) == kNowhere);
  CHECK(fdb.Lookup(KeyOf(2), kNow) == At(2, 0xfffe));
}

FACT("a sweep tells of each entry that aged, once, and of none that was flushed") {
  Ageing fdb;
  for (uint64_t i = 0; i < 10; ++i) Learn(fdb, i, i < 5 ? 1 : 2, i % 2 == 0 ? kNow : kNow + 5);
  fdb.Flush(2);
  CHECK(fdb.SweepAll(kNow + kAgeing).empty());
  CHECK(fdb.SweepAll(kLater) == (std::vector<uint64_t>{0, 2, 4}));
  CHECK(fdb.SweepAll(kLater).empty());
  CHECK(fdb.SweepAll(kLater + 5) == (std::vector<uint64_t>{1, 3}));
}

FACT("a port learns as many as its limit says, and all ports as many as the bridge's") {
  Fdb fdb;
  fdb.SetLimit(150);
  fdb.SetPortLimit(1, 100);
  const auto learned = [&fdb](uint64_t first, uint16_t port) {
    uint32_t count = 0;
    for (uint64_t i = 0; i < 200; ++i) {
      count += Learn(fdb, first + i, port) == LearnResult::kLearned ? 1 : 0;
    }
    return count;
  };
  CHECK_EQ(learned(0, 1), 100u);
  CHECK_EQ(learned(1000, 2), 50u);
  // Addresses that move make the whole no larger; what control sets is not learned.
  CHECK_EQ(Learn(fdb, 0, 2), LearnResult::kMoved);
  CHECK(fdb.Set(Entry(5000, 1, kFdbStatic)));
  CHECK(fdb.Set(Entry(5001, 1, kFdbExtern)));
  CHECK_EQ(Learn(fdb, 5001, 2), LearnResult::kRefused);
  fdb.Flush(1);
  CHECK_EQ(learned(2000, 3), 99u);
}

FACT("a bridge tells unicast, multicast, broadcast and the port itself apart") {
  Bridge bridge;
  Learn(bridge.fdb, 1, 7);
  const auto kind = [&bridge](uint64_t mac, uint16_t from) {
    return bridge.Find(mac, 0, from, kNow).kind;
  };
  CHECK(kind(kMac + 1, 6) == Kind::kPort);
  CHECK(kind(kMac + 1, 7) == Kind::kSelf);
  CHECK(kind(kMac + 2, 7) == Kind::kUnknown);
  CHECK(kind(0xffff'ffff'ffff, 7) == Kind::kBroadcast);
  CHECK(kind(0x0100'5e00'0001, 7) == Kind::kMulticast);
  CHECK(kind(0, 7) == Kind::kUnknown);
  CHECK(bridge.fdb.Set(Entry(3, 7, kFdbDrop)));
  CHECK(kind(kMac + 3, 7) == Kind::kDrop);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
