// Fuzz target: the forwarding database against a map.
//
// An input is a sequence of frames seen, lookups, entries set and removed, limits, sweeps and
// flushes while time passes and the table grows by pieces, over few ports and few addresses, most
// of which share their buckets. The model knows what was seen or set where and when, and so what is
// live. Of what has aged it knows that it must not be found and that a sweep tells of it once; how
// an address is learned again shows whether it is still stored.

#include <map>
#include <optional>
#include <vector>

#include "core/bridge/fdb.h"
#include "input.h"

namespace tsvswitch {
namespace {

constexpr uint16_t kPorts = 4;
constexpr uint32_t kPairEntries = 2 * FdbTable::kEntriesPerBucket;

// More addresses of two buckets than these have room for, and some elsewhere.
const std::vector<uint64_t>& Keys() {
  static const std::vector<uint64_t> keys = [] {
    const FdbTable table(Fdb::kBucketsMin, 0, false);
    const auto is_near = [&table](uint32_t home) {
      return home / 4 == table.HomesOf(Fdb::Key(1, 0)).first / 4;
    };
    std::vector<uint64_t> chosen;
    for (uint64_t mac = 1; chosen.size() < 3 * kPairEntries; ++mac) {
      const uint64_t key = Fdb::Key(mac, static_cast<uint16_t>(mac % 3));
      const FdbTable::Homes homes = table.HomesOf(key);
      if (is_near(homes.first) && is_near(homes.second)) chosen.push_back(key);
    }
    for (uint64_t mac = 0; mac < 16; ++mac) chosen.push_back(Fdb::Key(mac << 40, 0));
    return chosen;
  }();
  return keys;
}

class FdbRun {
 public:
  explicit FdbRun(Input& input) : input_(input), ageing_s_(input.Byte()) {
    fdb_.SetAgeing(ageing_s_);
  }

  void Run() {
    while (!input_.Done()) {
      const uint32_t operation = input_.Below(32);
      // Each of these walks through the whole table, which takes as long as a thousand of the
      // others.
      if (operation < 2 && ++walks_ > kWalksMax) continue;
      switch (operation) {
        case 0: Read(); break;
        case 1: Sweep(fdb_.bucket_count()); break;
        case 2: Sweep(input_.Byte()); break;
        case 3: Flush(); break;
        case 4:
        case 5: now_s_ += input_.Byte(); break;
        case 6: Limit(); break;
        case 7: Grow(); break;
        case 8:
        case 9:
        case 10: Set(TakeKey()); break;
        case 11: Remove(TakeKey()); break;
        case 12:
        case 13: Lookup(TakeKey()); break;
        default: Learn(TakeKey(), static_cast<uint16_t>(input_.Below(kPorts)));
      }
    }
    for (const uint64_t key : Keys()) Lookup(key);
    Read();
  }

 private:
  struct Seen {
    uint16_t port;
    uint16_t via;
    uint8_t flags;
    uint32_t at_s;
    bool fixed() const { return (flags & (kFdbStatic | kFdbDrop | kFdbExtern)) != 0; }
    bool stays() const { return (flags & (kFdbStatic | kFdbDrop)) != 0; }
  };

  uint64_t TakeKey() { return Keys()[input_.Below(static_cast<uint32_t>(Keys().size()))]; }

  bool IsLive(const Seen& seen) const {
    const auto age = static_cast<int32_t>(now_s_ - seen.at_s);
    return ageing_s_ == 0 || seen.fixed() || age <= 0 || static_cast<uint32_t>(age) <= ageing_s_;
  }
  const Seen* Live(uint64_t key) const {
    const auto found = model_.find(key);
    return found != model_.end() && IsLive(found->second) ? &found->second : nullptr;
  }
  uint32_t LearnedOn(std::optional<uint16_t> port) const {
    uint32_t count = 0;
    for (const auto& [key, seen] : model_) {
      count += !seen.fixed() && (!port || seen.port == *port) ? 1 : 0;
    }
    return count;
  }

  void Sweep(uint32_t buckets) {
    const auto note = [](void* context, const FdbRecord& aged) {
      FdbRun& run = *static_cast<FdbRun*>(context);
      const uint64_t key = Fdb::Key(aged.mac, aged.vlan);
      const auto known = run.model_.find(key);
      MUST(known != run.model_.end() && !run.IsLive(known->second));
      MUST(known->second.port == aged.port && known->second.via == aged.via);
      run.model_.erase(known);
    };
    fdb_.Sweep(buckets, now_s_, note, this);
    if (buckets < fdb_.bucket_count()) return;
    for (const auto& [key, seen] : model_) MUST(IsLive(seen));
  }

  void Flush() {
    const auto port = static_cast<uint16_t>(input_.Below(kPorts + 1));
    const bool every = port == kPorts;
    const bool fixed = !every && input_.Flag();
    const uint32_t before = fdb_.revision();
    if (fixed) {
      fdb_.FlushAll(port);
    } else {
      fdb_.Flush(every ? kNoPort : port);
    }
    MUST(fdb_.revision() != before);
    std::erase_if(model_, [every, fixed, port](const auto& entry) {
      return (fixed || !entry.second.fixed()) && (every || entry.second.port == port);
    });
  }

  void Limit() {
    const auto port = static_cast<uint16_t>(input_.Below(kPorts + 1));
    if (port == kPorts) {
      limit_ = input_.Below(32);
      fdb_.SetLimit(limit_);
    } else {
      port_limits_[port] = input_.Below(16);
      fdb_.SetPortLimit(port, port_limits_[port]);
    }
  }

  void Grow() {
    if (!fdb_.wants_growth()) return;
    if (fdb_.Grow(input_.Flag() ? Fdb::kBucketsMin : input_.Below(64) + 1)) fdb_.DropOld();
  }

  void Set(uint64_t key) {
    const auto flags = static_cast<uint8_t>(input_.Below(kFdbAllFlags + 1));
    const bool nowhere = (flags & kFdbDrop) != 0 && input_.Flag();
    const uint16_t port = nowhere ? kNoPort : static_cast<uint16_t>(input_.Below(kPorts));
    const auto via = static_cast<uint16_t>(input_.Below(3));
    const uint32_t before = fdb_.revision();
    const bool set = fdb_.Set({.mac = key & 0xffffffffffff,
                               .vlan = static_cast<uint16_t>(key >> 48 & 0xfff),
                               .port = port,
                               .via = via,
                               .flags = flags,
                               .seen_s = now_s_});
    if (!set) {
      MUST(!Live(key) && model_.size() >= kPairEntries && fdb_.wants_growth());
      return;
    }
    MUST(fdb_.revision() != before);
    model_[key] = {port, via, flags, now_s_};
    Lookup(key);
  }

  void Remove(uint64_t key) {
    MUST(fdb_.Remove(key) == model_.contains(key));
    model_.erase(key);
    Lookup(key);
  }

  void Lookup(uint64_t key) const {
    const Seen* seen = Live(key);
    const Destination found = fdb_.Lookup(key, now_s_);
    if (seen == nullptr) {
      MUST(found == Destination{});
      return;
    }
    const bool drop = (seen->flags & kFdbDrop) != 0;
    MUST(found.kind == (drop ? Destination::Kind::kDrop : Destination::Kind::kPort));
    MUST(found.port == seen->port && found.via == seen->via);
  }

  // What a frame from `port` does to an entry that is stored.
  LearnResult Expected(const Seen& seen, uint16_t port, uint32_t clock_s) const {
    if (seen.stays() || seen.port == port) return LearnResult::kKnown;
    const auto age = static_cast<int32_t>(clock_s - seen.at_s);
    const bool aged =
        !seen.fixed() && ageing_s_ != 0 && age > 0 && static_cast<uint32_t>(age) > ageing_s_;
    if ((seen.flags & kFdbSticky) != 0 && !aged) return LearnResult::kKnown;
    if (LearnedOn(port) >= port_limits_[port]) return LearnResult::kRefused;
    const bool no_more = seen.fixed() && LearnedOn({}) >= limit_;
    return no_more ? LearnResult::kRefused : LearnResult::kMoved;
  }

  void Learn(uint64_t key, uint16_t port) {
    uint16_t from = kNoPort;
    const uint32_t before = fdb_.revision();
    // This worker's clock may be behind.
    const uint32_t clock_s = now_s_ - input_.Below(3);
    const LearnResult result = fdb_.Learn(key, port, clock_s, &from);
    MUST((result == LearnResult::kMoved) == (fdb_.revision() != before));
    const auto known = model_.find(key);
    if (known != model_.end()) {
      Seen& seen = known->second;
      MUST(result == Expected(seen, port, clock_s));
      if (result == LearnResult::kMoved) {
        MUST(from == seen.port);
        seen = {port, 0, 0, clock_s};
      } else if (result == LearnResult::kKnown && !seen.fixed() && seen.port == port) {
        seen.at_s = clock_s;
      }
    } else if (LearnedOn(port) >= port_limits_[port] || LearnedOn({}) >= limit_) {
      MUST(result == LearnResult::kRefused);
    } else if (result == LearnResult::kRefused) {
      // Only for want of room, which only others can have taken.
      MUST(model_.size() >= kPairEntries && fdb_.wants_growth());
    } else {
      MUST(result == LearnResult::kLearned);
      model_[key] = {port, 0, 0, clock_s};
    }
    Lookup(key);
  }

  void Read() const {
    std::map<uint64_t, Seen> read;
    for (const FdbRecord& record : fdb_.Read(now_s_)) {
      const uint64_t key = Fdb::Key(record.mac, record.vlan);
      MUST(read.emplace(key, Seen{record.port, record.via, record.flags, record.seen_s}).second);
      const Seen* seen = Live(key);
      MUST(seen != nullptr && seen->port == record.port && seen->via == record.via);
      MUST(seen->flags == record.flags && seen->at_s == record.seen_s);
    }
    for (const auto& [key, seen] : model_) MUST(read.contains(key) == IsLive(seen));
  }

  static constexpr uint32_t kWalksMax = 6;

  Input& input_;
  const uint32_t ageing_s_;
  Fdb fdb_;
  std::map<uint64_t, Seen> model_;
  uint32_t port_limits_[kPorts] = {kFdbEntriesPerPortMax, kFdbEntriesPerPortMax,
                                   kFdbEntriesPerPortMax, kFdbEntriesPerPortMax};
  uint32_t limit_ = kFdbEntriesLearnedMax;
  uint32_t now_s_ = 1000;
  uint32_t walks_ = 0;
};

}  // namespace
}  // namespace tsvswitch

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  tsvswitch::Input input(data, bytes);
  tsvswitch::FdbRun(input).Run();
  return 0;
}
