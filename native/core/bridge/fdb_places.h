// Places that addresses are at: a port, or one remote end of it. Entries of a forwarding database
// name theirs by a number, so that forgetting a place forgets all that is at it, however many
// entries that are.
//
// A place is made when the first address is put there, and retired when its port is flushed: from
// then on whoever looks at an entry with its number sees that it is dead. Its number is given to
// another place only when a sweep of the whole table that began later has removed such entries.
// Learned and fixed addresses (fdb.h) are at different places, so that either can be forgotten.
//
// Thread: At any; the rest under the database's lock.

#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "core/bridge/destination.h"
#include "core/platform/zero_pages.h"

namespace tsvswitch {

class FdbPlaces {
 public:
  static constexpr uint32_t kPlacesMax = 1 << 16;
  static constexpr uint16_t kNone = 0;

  // What a number stands for.
  class Place {
   public:
    static Place Of(uint16_t port, uint16_t via, bool fixed) {
      return Place(kLive | uint64_t{fixed} << 32 | uint64_t{via} << 16 | port);
    }
    explicit Place(uint64_t word) : word_(word) {}
    bool live() const { return (word_ & kLive) != 0; }
    bool fixed() const { return (word_ & kFixed) != 0; }
    uint32_t kind() const { return fixed() ? 1 : 0; }
    uint16_t port() const { return static_cast<uint16_t>(word_); }
    uint16_t via() const { return static_cast<uint16_t>(word_ >> 16); }
    uint64_t word() const { return word_; }
    friend bool operator==(const Place&, const Place&) = default;

   private:
    static constexpr uint64_t kLive = uint64_t{1} << 63;
    static constexpr uint64_t kFixed = uint64_t{1} << 32;
    uint64_t word_;  // 0: none
  };

  FdbPlaces();

  // Acquire: who sees a number stand for its next place sees that no entry has it from before.
  Place At(uint16_t number) const { return Place(words_[number].load(std::memory_order_acquire)); }

  // The place of what is learned on a port; made if there is none. kNone if all numbers are taken.
  uint16_t Learned(uint16_t port) {
    const uint16_t number = ports_[IndexOf(port)].learned;
    return number != kNone ? number : Make(Place::Of(port, 0, false));
  }
  // A new place. kNone if all numbers are taken.
  uint16_t Make(Place place);
  // Retires up to `count` places of a port; how many it did.
  enum class Kind : uint8_t { kLearned, kFixed };
  uint32_t Retire(uint16_t port, Kind kind, uint32_t count);

  // An entry comes to or leaves a place; leaving one that is dead changes nothing.
  void Enter(uint16_t number) { Count(number, 1); }
  void Leave(uint16_t number) { Count(number, ~uint32_t{0}); }
  // Live entries that were learned: of a port, and of all. And those that were fixed.
  uint32_t learned_on(uint16_t port) const { return ports_[IndexOf(port)].entries; }
  uint32_t learned() const { return learned_; }
  uint32_t fixed() const { return fixed_; }

  // A sweep of the whole table begins; and one is done that nothing has interrupted.
  void BeginSweep() { ++sweep_; }
  void EndSweep() { swept_ = sweep_; }

 private:
  struct Made {
    uint32_t entries;
    uint32_t retired_in;  // which sweep was going on then
    uint16_t next;        // of its port and kind, or in the order in which they were retired
  };
  struct PortPlaces {
    uint16_t first[2] = {};  // by Kind
    uint16_t learned = 0;    // the one without a remote end
    uint32_t entries = 0;
  };
  // Addresses that are on no port have places as if there were one more.
  static uint32_t IndexOf(uint16_t port) { return port < kPortsMax ? port : kPortsMax; }
  void Count(uint16_t number, uint32_t change);
  uint16_t TakeNumber();

  const ZeroPages<std::atomic<uint64_t>> words_;
  const ZeroPages<Made> made_;
  std::vector<PortPlaces> ports_;
  uint32_t numbers_ = 1;  // how many were given out so far; 0 is nobody's
  uint16_t oldest_retired_ = kNone;
  uint16_t newest_retired_ = kNone;
  uint32_t learned_ = 0;
  uint32_t fixed_ = 0;
  uint32_t sweep_ = 0;
  uint32_t swept_ = 0;
};

}  // namespace tsvswitch
