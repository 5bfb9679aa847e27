// See dataplane.h: the forwarding tables of bridges, what is set in them, and that they grow.

#include <sys/random.h>

#include <cassert>
#include <utility>

#include "core/control/dataplane.h"

namespace tsvswitch {

// Nobody outside knows it, so that no guest can choose addresses that get in each other's way. With
// a manual clock all happens in the same way each time.
uint64_t Dataplane::NextFdbSeed() const {
  uint64_t seed = 0;
  // Early in the life of a machine there is none, and 0 is as good as any.
  if (!manual() && getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed)) seed = 0;
  return seed;
}

std::vector<FdbRecord> Dataplane::ReadFdb(uint32_t bridge) const {
  return bridges_[bridge]->fdb.Read(NowSeconds());
}

void Dataplane::SetPortFdbLimit(uint16_t port, uint32_t entries) {
  Port& limited = PortAt(port);
  limited.fdb_entries_max = entries;
  limited.bridge->fdb.SetPortLimit(port, entries);
}

bool Dataplane::SetFdbEntry(uint32_t bridge, FdbRecord entry) {
  Fdb& fdb = bridges_[bridge]->fdb;
  assert(entry.port == kNoPort || IsOn(entry.port, bridge));
  entry.seen_s = NowSeconds();
  bool set = fdb.Set(entry);
  // A caller who sets many is faster than the events that tell of it.
  if (fdb.wants_growth()) {
    Grow(fdb, Fdb::kBucketsMax);
    set = set || fdb.Set(entry);
  }
  return set;
}

void Dataplane::Grow(Fdb& fdb, uint32_t buckets) {
  if (!fdb.wants_growth()) return;
  if (!fdb.Grow(buckets)) return;
  // Whoever reads the old table ends its round.
  {
    const PauseAll pause(*this);
  }
  fdb.DropOld();
}

void Dataplane::GrowTables(uint32_t buckets) {
  for (auto& bridge : bridges_) {
    if (bridge != nullptr) Grow(bridge->fdb, buckets);
  }
}

}  // namespace tsvswitch
