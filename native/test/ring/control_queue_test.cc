// A control queue, of both formats: which chains TakeCommand() makes a command of, what breaks the
// queue, and what the driver finds when a command was returned.
//
// Sources: virtio 1.2 §2.7.4 (chains), §2.7.5.3 and §2.8.7 (indirect), §5.1.6.5 (commands).

#include <algorithm>
#include <numeric>

#include "test/check.h"
#include "test/one_queue.h"
#include "test/one_queue.h"

namespace tsvswitch {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kModern = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC;
constexpr uint64_t kNowhere = 0xdead'0000'0000;
constexpr uint32_t kSize = 16;
constexpr uint16_t kNext = 1;
constexpr uint16_t kWrite = 2;
constexpr uint16_t kIndirect = 4;

// A descriptor and its flags, without NEXT.
struct Part {
  Buffer buffer;
  uint16_t flags;
};

// A split or packed queue with the verbs that both formats have.
struct SplitControl : OneQueue {
  SplitControl() : OneQueue(kSize, kModern) {}
  void OfferParts(const std::vector<Part>& parts) {
    for (size_t i = 0; i < parts.size(); ++i) {
      const bool last = i + 1 == parts.size();
      driver.WriteDescriptor(head + static_cast<uint32_t>(i), parts[i].buffer,
                             static_cast<uint16_t>(parts[i].flags | (last ? 0 : kNext)),
                             static_cast<uint16_t>(head + i + 1));
    }
    driver.Offer(head);
    head = static_cast<uint16_t>(head + parts.size());
  }
  Buffer TableOf(const std::vector<Part>& parts) {
    const uint64_t table = ram.Allocate(16 * parts.size(), 16);
    for (size_t i = 0; i < parts.size(); ++i) {
      const bool last = i + 1 == parts.size();
      driver.WriteIndirect(table, static_cast<uint32_t>(i), parts[i].buffer,
                           static_cast<uint16_t>(parts[i].flags | (last ? 0 : kNext)),
                           static_cast<uint16_t>(i + 1));
    }
    return {table, static_cast<uint32_t>(16 * parts.size())};
  }
  uint32_t UsedBytes() {
    CHECK_EQ(driver.used_index(), 1);
    return driver.used(0).bytes;
  }
  bool AnyUsed() const { return driver.used_index() != 0; }

  uint16_t head = 0;
};

struct PackedControl : OnePackedQueue {
  PackedControl() : OnePackedQueue(kSize) {}
  void OfferParts(const std::vector<Part>& parts) {
    PackedDriver::Place at = driver.next_avail;
    std::vector<Buffer> buffers;
    for (const Part& part : parts) buffers.push_back(part.buffer);
    driver.Offer(buffers, parts.front().flags, 7);
    // Offer() gives all of them the same flags.
    for (size_t i = 0; i < parts.size(); ++i) {
      const bool last = i + 1 == parts.size();
      driver.WriteFlags(at.position,
                        PackedDriver::AvailableFlags(
                            at, static_cast<uint16_t>(parts[i].flags | (last ? 0 : kNext))));
      at.Step(1, kSize);
    }
  }
  Buffer TableOf(const std::vector<Part>& parts) {
    const uint64_t table = ram.Allocate(16 * parts.size(), 16);
    for (size_t i = 0; i < parts.size(); ++i) {
      driver.WriteTable(table, static_cast<uint32_t>(i), parts[i].buffer, parts[i].flags);
    }
    return {table, static_cast<uint32_t>(16 * parts.size())};
  }
  uint32_t UsedBytes() { return Used().bytes; }
};

template <class Guest>
struct Taken {
  explicit Taken(Guest& guest) : any(guest.queue.TakeCommand(&command, &broken)) {}
  Bytes bytes() const {
    return {command.data.get(),
            command.data.get() + std::min(command.bytes, CommandChain::kBytesMax)};
  }
  CommandChain command;
  BreakReason broken = BreakReason::kNone;
  bool any;
};

// Each fact holds of both formats.
template <template <class> class Check>
void HoldOfBoth() {
  Check<SplitControl>::Hold();
  Check<PackedControl>::Hold();
}

template <class Guest>
struct TakesAnyCut {
  static void Hold() {
    for (uint32_t pieces = 1; pieces <= 8; ++pieces) {
      for (const bool indirect : {false, true}) {
        Guest guest;
        std::vector<Part> parts;
        std::vector<Buffer> buffers;
        for (uint32_t i = 0; i < pieces; ++i) {
          buffers.push_back(guest.NewFilledBuffer(1 + 3 * i));
          parts.push_back({buffers.back(), 0});
        }
        const Buffer status = guest.NewBuffer(1);
        parts.push_back({status, kWrite});
        if (indirect) {
          guest.OfferParts({{guest.TableOf(parts), kIndirect}});
        } else {
          guest.OfferParts(parts);
        }
        const Taken<Guest> taken(guest);
        CHECK(taken.any);
        CHECK(taken.bytes() == guest.BytesOf(buffers));
        CHECK(taken.command.status != nullptr);
        *taken.command.status = 1;
        CHECK_EQ(guest.ram.Read(status.guest, 1).front(), 1);
        CHECK(!guest.AnyUsed());
        guest.queue.ReturnCommand(taken.command.id, taken.command.descriptors, 1);
        CHECK_EQ(guest.UsedBytes(), 1u);
        const Taken<Guest> nothing(guest);
        CHECK(!nothing.any);
        CHECK_EQ(nothing.broken, BreakReason::kNone);
      }
    }
  }
};

FACT("a command is taken as its bytes, in any cut, in the ring or in a table, and returned") {
  HoldOfBoth<TakesAnyCut>();
}

template <class Guest>
struct LeavesStatus {
  static void Hold() {
    // Not written by the driver at all, or of no bytes; the queue is given up by whoever judges.
    for (const uint16_t flags : {uint16_t{0}, kWrite}) {
      Guest guest;
      const uint32_t bytes = flags == kWrite ? 0 : 1;
      Buffer status = guest.NewBuffer(1);
      status.bytes = bytes;
      guest.OfferParts({{guest.NewFilledBuffer(3), 0}, {status, flags}});
      const Taken<Guest> taken(guest);
      CHECK(taken.any);
      CHECK(taken.command.status == nullptr);
      CHECK_EQ(taken.command.bytes, 3u + bytes);
    }
  }
};

FACT("a status that is missing, read-only or of no bytes is none") { HoldOfBoth<LeavesStatus>(); }

template <class Guest>
struct TakesFirstWritable {
  static void Hold() {
    Guest guest;
    const Buffer first = guest.NewBuffer(8);
    guest.OfferParts({{guest.NewFilledBuffer(2), 0}, {first, kWrite}, {{kNowhere, 16}, kWrite}});
    const Taken<Guest> taken(guest);
    CHECK(taken.any);
    *taken.command.status = 0x5a;
    CHECK_EQ(guest.ram.Read(first.guest, 1).front(), 0x5a);
  }
};

FACT("the status is the first byte that may be written; what is behind it is not looked at") {
  HoldOfBoth<TakesFirstWritable>();
}

template <class Guest>
struct BoundsCommands {
  static void Hold() {
    for (const uint32_t bytes : {CommandChain::kBytesMax, CommandChain::kBytesMax + 1, 65536u}) {
      Guest guest;
      const Buffer command = guest.NewFilledBuffer(bytes);
      guest.OfferParts({{command, 0}, {guest.NewBuffer(1), kWrite}});
      const Taken<Guest> taken(guest);
      CHECK(taken.any);
      CHECK_EQ(taken.command.bytes, bytes);
      Bytes kept = guest.BytesOf(std::vector<Buffer>{command});
      kept.resize(std::min(bytes, CommandChain::kBytesMax));
      CHECK(taken.bytes() == kept);
    }
  }
};

FACT("of a long command the first 16 KiB are kept, and its length shows") {
  HoldOfBoth<BoundsCommands>();
}

template <class Guest>
struct CountsNoFurther {
  static void Hold() {
    Guest guest;
    // Filled up, the rest is not read: it may lie anywhere, and its sum passes 4 GiB.
    guest.OfferParts({{guest.NewFilledBuffer(CommandChain::kBytesMax), 0},
                      {{kNowhere, 0xffff'ffff}, 0},
                      {{kNowhere, 0xffff'ffff}, 0},
                      {guest.NewBuffer(1), kWrite}});
    const Taken<Guest> taken(guest);
    CHECK(taken.any);
    CHECK_EQ(taken.command.bytes, 0xffff'ffffu);
    CHECK(taken.command.status != nullptr);
  }
};

FACT("lengths beyond 4 GiB stay there, and do not wrap to a command") {
  HoldOfBoth<CountsNoFurther>();
}

template <class Guest>
struct Breaks {
  static void Hold() {
    const auto reason_of = [](auto parts_of) {
      Guest guest;
      guest.OfferParts(parts_of(guest));
      const Taken<Guest> taken(guest);
      CHECK(!taken.any);
      CHECK(!guest.AnyUsed());
      return taken.broken;
    };
    using Parts = std::vector<Part>;
    CHECK_EQ(reason_of([](Guest& guest) {
               return Parts{{guest.NewBuffer(1), kWrite}, {guest.NewBuffer(2), 0}};
             }),
             BreakReason::kReadBehindWrite);
    CHECK_EQ(reason_of([](Guest& guest) {
               return Parts{{{kNowhere, 2}, 0}, {guest.NewBuffer(1), kWrite}};
             }),
             BreakReason::kAddressUnmapped);
    CHECK_EQ(reason_of([](Guest& guest) {
               return Parts{{guest.NewBuffer(2), 0}, {{kNowhere, 1}, kWrite}};
             }),
             BreakReason::kAddressUnmapped);
    CHECK_EQ(reason_of([](Guest& guest) {
               Buffer table = guest.TableOf({{guest.NewBuffer(2), 0}});
               table.bytes = 17;
               return Parts{{table, kIndirect}};
             }),
             BreakReason::kIndirectBadTable);
    CHECK_EQ(reason_of([](Guest&) { return Parts{{{kNowhere, 32}, kIndirect}}; }),
             BreakReason::kAddressUnmapped);
  }
};

FACT("a chain of wrong shape breaks the queue with its reason, and is not returned") {
  HoldOfBoth<Breaks>();
}

FACT("a split head beyond the ring, and a loop, break the queue") {
  SplitControl beyond;
  beyond.driver.Offer(kSize);
  const Taken<SplitControl> none(beyond);
  CHECK(!none.any);
  CHECK_EQ(none.broken, BreakReason::kHeadOutOfRange);
  SplitControl loop;
  loop.driver.WriteDescriptor(0, loop.NewBuffer(1), kNext, 0);
  loop.driver.Offer(0);
  const Taken<SplitControl> endless(loop);
  CHECK(!endless.any);
  CHECK_EQ(endless.broken, BreakReason::kChainTooLong);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
