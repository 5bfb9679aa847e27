// Fuzz target: the forwarding database against a map.
//
// An input is a sequence of frames seen, lookups, sweeps and flushes while time passes, over few
// ports and few addresses, many of which fall into the same buckets. The model knows what was seen
// where and when, and so what has not aged. Of what has aged it only knows that it must not be
// found: whether it is still stored shows in nothing but how an address is learned again.

#include <map>
#include <vector>

#include "core/bridge/fdb.h"
#include "input.h"

namespace tsvswitch {
namespace {

constexpr uint32_t kPorts = 4;
constexpr uint32_t kWindow = Fdb::kProbeBuckets * Fdb::kEntriesPerBucket;

// The bucket where the search for a key begins, as fdb.h has it.
uint32_t HomeOf(uint64_t key) {
  return static_cast<uint32_t>((key * 0x9e3779b97f4a7c15u) >> 40) % Fdb::kBuckets;
}

// More addresses of neighbouring buckets than these have room for, and some elsewhere.
const std::vector<uint64_t>& Keys() {
  static const std::vector<uint64_t> keys = [] {
    std::vector<uint64_t> chosen;
    const uint32_t home = HomeOf(Fdb::Key(1, 0));
    for (uint64_t mac = 1; chosen.size() < 3 * kWindow; ++mac) {
      const uint64_t key = Fdb::Key(mac, static_cast<uint16_t>(mac % 3));
      if ((HomeOf(key) - home) % Fdb::kBuckets < 3) chosen.push_back(key);
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
      if (operation < 3 && ++walks_ > kWalksMax) continue;
      switch (operation) {
        case 0: Read(); break;
        case 1: Flush(); break;
        case 2: Sweep(); break;
        case 3:
        case 4: now_s_ += input_.Byte(); break;
        case 5:
        case 6: Lookup(TakeKey()); break;
        default: Learn(TakeKey(), static_cast<uint16_t>(input_.Below(kPorts)));
      }
    }
    for (const uint64_t key : Keys()) Lookup(key);
  }

 private:
  struct Seen {
    uint16_t port;
    uint32_t at_s;
  };

  uint64_t TakeKey() { return Keys()[input_.Below(static_cast<uint32_t>(Keys().size()))]; }

  bool IsLive(const Seen& seen) const {
    const auto age = static_cast<int32_t>(now_s_ - seen.at_s);
    return ageing_s_ == 0 || age <= 0 || static_cast<uint32_t>(age) <= ageing_s_;
  }
  const Seen* Live(uint64_t key) const {
    const auto found = model_.find(key);
    return found != model_.end() && IsLive(found->second) ? &found->second : nullptr;
  }

  void Sweep() {
    const bool all = input_.Flag();
    fdb_.Sweep(all ? Fdb::kBuckets : input_.Byte(), now_s_);
    if (all) std::erase_if(model_, [this](const auto& entry) { return !IsLive(entry.second); });
  }

  void Flush() {
    const uint32_t port = input_.Below(kPorts + 1);
    const uint32_t before = fdb_.revision();
    fdb_.Flush(port == kPorts ? kNoPort : static_cast<uint16_t>(port));
    MUST(fdb_.revision() != before);
    std::erase_if(
        model_, [port](const auto& entry) { return port == kPorts || entry.second.port == port; });
  }

  void Lookup(uint64_t key) const {
    const Seen* seen = Live(key);
    MUST(fdb_.Lookup(key, now_s_).port == (seen != nullptr ? seen->port : kNoPort));
  }

  void Learn(uint64_t key, uint16_t port) {
    uint16_t from = kNoPort;
    const uint32_t before = fdb_.revision();
    // This worker's clock may be behind.
    const uint32_t clock_s = now_s_ - input_.Below(3);
    const LearnResult result = fdb_.Learn(key, port, clock_s, &from);
    const auto known = model_.find(key);
    MUST((result == LearnResult::kMoved) == (fdb_.revision() != before));
    if (const Seen* seen = Live(key); seen != nullptr) {
      MUST(result == (seen->port == port ? LearnResult::kKnown : LearnResult::kMoved));
    }
    switch (result) {
      case LearnResult::kKnown: MUST(known != model_.end() && known->second.port == port); break;
      case LearnResult::kMoved:
        MUST(known != model_.end() && known->second.port == from && from != port);
        break;
      case LearnResult::kLearned: MUST(known == model_.end() || !IsLive(known->second)); break;
      case LearnResult::kRefused:
        // Only for want of room, which only others can have taken.
        MUST(!Live(key) && model_.size() >= kWindow);
        return;
    }
    model_[key] = {port, clock_s};
    Lookup(key);
  }

  void Read() const {
    std::map<uint64_t, Seen> read;
    for (const FdbRecord& record : fdb_.Read(now_s_)) {
      const uint64_t key = Fdb::Key(record.mac, record.vlan);
      MUST(read.emplace(key, Seen{record.port, record.seen_s}).second);
      const Seen* seen = Live(key);
      MUST(seen != nullptr && seen->port == record.port && seen->at_s == record.seen_s);
    }
    for (const auto& [key, seen] : model_) MUST(read.contains(key) == IsLive(seen));
  }

  static constexpr uint32_t kWalksMax = 6;

  Input& input_;
  const uint32_t ageing_s_;
  Fdb fdb_;
  std::map<uint64_t, Seen> model_;
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
