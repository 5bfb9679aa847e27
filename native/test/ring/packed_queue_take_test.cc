// A packed transmitq: what Take() accepts and makes of it, what breaks the queue, how Return()
// looks.
//
// Sources: virtio 1.2 §2.8.1 (wrap counters), §2.8.6 (chains), §2.8.7 (indirect), §2.8.8 (in
// order), §2.8.13 (descriptors), §2.8.17 (lists).

#include <signal.h>
#include <sys/mman.h>

#include <functional>

#include "test/check.h"
#include "test/one_queue.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = OnePackedQueue::kModern;
constexpr uint16_t kNext = PackedDriver::kNext;
constexpr uint16_t kWrite = PackedDriver::kWrite;
constexpr uint16_t kIndirect = PackedDriver::kIndirect;
constexpr uint64_t kNowhere = 0xdead'0000'0000;
constexpr uint32_t kSizes[] = {1, 3, 7, 256, 1000, 32768};

FACT("nothing offered, nothing taken, nothing broken, on an odd and on an even lap") {
  for (const bool wrap : {true, false}) {
    for (const uint32_t position : {0u, 3u, 6u}) {
      OnePackedQueue guest(7, kModern, {position, wrap});
      BreakReason broken = BreakReason::kNone;
      CHECK_EQ(guest.queue.Offered(1, &broken), 0u);
      CHECK_EQ(guest.Take(), 0u);
      CHECK_EQ(guest.broken, BreakReason::kNone);
      CHECK(!guest.AnyUsed());
    }
  }
}

// Offers, takes and returns for some laps: every third chain has several descriptors, every fifth a
// table. Batches grow and shrink, so that the ring's end falls into all of them.
void RunLaps(uint32_t size, uint64_t features) {
  OnePackedQueue guest(GuestRam::OfBytes(16 << 20), size, features);
  const std::vector<Buffer> buffers = {guest.NewFilledBuffer(14), guest.NewFilledBuffer(1),
                                       guest.NewFilledBuffer(60), guest.NewFilledBuffer(2)};
  const bool in_order = (features & VIRTIO_F_IN_ORDER) != 0;
  uint64_t passed = 0;
  uint32_t number = 0;
  for (uint32_t round = 0; passed < 3 * uint64_t{size} + 5; ++round) {
    std::vector<std::vector<Buffer>> offered;
    uint32_t descriptors = 0;
    const uint16_t first_id = static_cast<uint16_t>(number % size);
    const uint32_t chains_max = 1 + round * 7 % kBatchFramesMax;
    while (offered.size() < chains_max) {
      const uint32_t length = number % 3 == 1 ? std::min(size, 3u) : 1;
      if (descriptors + length > size) break;
      descriptors += length;
      const uint16_t id = static_cast<uint16_t>(number % size);
      if (number % 5 == 4 && length == 1 && passed < size && size < 1000) {
        offered.emplace_back(buffers.begin(), buffers.begin() + std::min(size, 3u));
        guest.driver.OfferTable(offered.back(), 0, id);
      } else {
        offered.emplace_back(buffers.begin(), buffers.begin() + length);
        guest.driver.Offer(offered.back(), 0, id);
      }
      ++number;
    }
    BreakReason broken = BreakReason::kNone;
    const uint32_t count = static_cast<uint32_t>(offered.size());
    CHECK_EQ(guest.queue.Offered(count + 1, &broken), count);
    CHECK_EQ(guest.Take(), count);
    CHECK_EQ(guest.broken, BreakReason::kNone);
    CHECK_EQ(guest.queue.Offered(1, &broken), 0u);
    for (uint32_t i = 0; i < count; ++i) {
      CHECK_EQ(guest.chains[i].id, (first_id + i) % size);
      CHECK(guest.BytesOf(guest.chains[i]) == guest.BytesOf(offered[i]));
    }
    CHECK(!guest.AnyUsed());
    guest.queue.Return(guest.chains, count);
    if (in_order) {
      PackedUsed used;
      CHECK(guest.driver.Peek(&used));
      CHECK_EQ(used.id, (first_id + count - 1) % size);
      guest.driver.next_used = guest.driver.next_avail;
    } else {
      for (uint32_t i = 0; i < count; ++i) CHECK_EQ(guest.Used().id, (first_id + i) % size);
    }
    CHECK(!guest.AnyUsed());
    const uint16_t word = guest.driver.next_avail.Word();
    CHECK_EQ(guest.driver.next_used.Word(), word);
    CHECK_EQ(guest.queue.base(), word | uint32_t{word} << 16);
    passed += descriptors;
  }
}

FACT("virtio 1.2 §2.8.1: rings of any size go round and round, with chains and tables") {
  for (const uint32_t size : kSizes) RunLaps(size, kModern);
}

FACT("virtio 1.2 §2.8.8: in order, one used element with the last id stands for the batch") {
  for (const uint32_t size : kSizes) RunLaps(size, kModern | VIRTIO_F_IN_ORDER);
}

FACT("virtio 1.2 §2.8.8: the next batch is returned behind the last descriptor of this one") {
  OnePackedQueue guest(8, kModern | VIRTIO_F_IN_ORDER);
  const Buffer buffer = guest.NewFilledBuffer(60);
  guest.driver.Offer({buffer, buffer, buffer}, 0, 5);
  guest.driver.Offer({buffer, buffer}, 0, 6);
  CHECK_EQ(guest.Take(), 2u);
  guest.queue.Return(guest.chains, 2);
  PackedUsed used;
  CHECK(guest.driver.Peek(&used));
  CHECK_EQ(used.id, 6);
  guest.driver.Offer({buffer}, 0, 7);
  CHECK_EQ(guest.Take(), 1u);
  guest.queue.Return(guest.chains, 1);
  guest.driver.next_used.Step(5, 8);
  CHECK_EQ(guest.Used().id, 7);
}

FACT("a used transmit buffer says that nothing was written and keeps its address") {
  OnePackedQueue guest(4);
  const Buffer buffer = guest.NewFilledBuffer(60);
  guest.driver.Offer({buffer}, 0, 2);
  CHECK_EQ(guest.Take(), 1u);
  guest.queue.Return(guest.chains, 1);
  CHECK_EQ(guest.Used().flags & kWrite, 0);
  CHECK_EQ(guest.driver.ReadDescriptor(0).address, buffer.guest);
}

FACT("a chain is invisible until its head is available, whatever the rest says") {
  OnePackedQueue guest(4);
  const Buffer buffer = guest.NewFilledBuffer(20);
  for (uint32_t i : {1u, 2u}) {
    guest.driver.WriteBody(i, buffer, 9);
    guest.driver.WriteFlags(i, PackedDriver::AvailableFlags({i, true}, i == 1 ? kNext : 0));
  }
  CHECK_EQ(guest.Take(), 0u);
  CHECK_EQ(guest.broken, BreakReason::kNone);
  guest.driver.WriteBody(0, buffer, 0);
  guest.driver.WriteFlags(0, PackedDriver::AvailableFlags({0, true}, kNext));
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.chains[0].bytes, 60u);
  CHECK_EQ(guest.chains[0].id, 9);
}

FACT("a chain as long as the queue is whole, wherever it begins, through a table as well") {
  for (const bool table : {false, true}) {
    for (uint32_t begin = 0; begin < 7; ++begin) {
      OnePackedQueue guest(7, kModern, {begin, true});
      std::vector<Buffer> buffers;
      for (uint32_t i = 0; i < 7; ++i) buffers.push_back(guest.NewFilledBuffer(5 + i));
      if (table) {
        guest.driver.OfferTable(buffers, 0, 3);
      } else {
        guest.driver.Offer(buffers, 0, 3);
      }
      CHECK_EQ(guest.Take(), 1u);
      CHECK(guest.BytesOf(guest.chains[0]) == guest.BytesOf(buffers));
      guest.queue.Return(guest.chains, 1);
      CHECK_EQ(guest.Used().id, 3);
    }
  }
}

FACT("a buffer id is the driver's: any 16 bits go back as they came") {
  OnePackedQueue guest(4);
  for (const uint32_t number : {0u, 4u, 32768u, 65535u}) {
    const auto id = static_cast<uint16_t>(number);
    guest.driver.Offer({guest.NewFilledBuffer(60)}, 0, id);
    CHECK_EQ(guest.Take(), 1u);
    guest.queue.Return(guest.chains, 1);
    CHECK_EQ(guest.Used().id, id);
  }
}

FACT("flags that mean nothing are ignored") {
  OnePackedQueue guest(4);
  guest.driver.Offer({guest.NewFilledBuffer(60)}, 0x7f78, 1);
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.chains[0].piece_count, 1u);
  // §2.8.7: WRITE means nothing beside INDIRECT.
  const uint64_t table = guest.ram.Allocate(16, 16);
  guest.driver.WriteTable(table, 0, guest.NewFilledBuffer(60), 0);
  guest.driver.Offer({{table, 16}}, kIndirect | kWrite, 2);
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.chains[0].bytes, 60u);
}

FACT("an empty buffer is a chain without pieces, and too much is cut just above the most") {
  OnePackedQueue guest(4);
  guest.driver.Offer({{kNowhere, 0}}, 0, 0);
  guest.driver.Offer({guest.NewBuffer(kChainBytesMax), guest.NewBuffer(100)}, 0, 1);
  CHECK_EQ(guest.Take(), 2u);
  CHECK_EQ(guest.chains[0].piece_count, 0u);
  CHECK_EQ(guest.chains[0].bytes, 0u);
  CHECK_EQ(guest.chains[1].bytes, kChainBytesMax + 1);
}

FACT("buffers and tables may lie across two regions") {
  constexpr uint64_t kBorder = (1 << 20) + (1 << 16);
  OnePackedQueue guest(GuestRam({{1 << 20, 1 << 16}, {kBorder, 1 << 16}}), 4);
  const Buffer buffer = {kBorder - 30, 60};
  guest.driver.Offer({buffer}, 0, 0);
  guest.driver.WriteTable(kBorder - 8, 0, buffer, 0);
  guest.driver.Offer({{kBorder - 8, 16}}, kIndirect, 1);
  CHECK_EQ(guest.Take(), 2u);
  for (const uint32_t i : {0u, 1u}) {
    CHECK_EQ(guest.chains[i].piece_count, 2u);
    CHECK(guest.BytesOf(guest.chains[i]) == guest.BytesOf({buffer}));
  }
}

// Offers something honest and then what `hostile` writes at position 1 of a ring of 8.
void Breaks(BreakReason reason, const std::function<void(OnePackedQueue&)>& hostile,
            uint64_t features = kModern) {
  OnePackedQueue guest(8, features);
  guest.driver.Offer({guest.NewFilledBuffer(60)}, 0, 0);
  hostile(guest);
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.broken, reason);
  BreakReason broken = BreakReason::kNone;
  CHECK_EQ(guest.queue.Offered(1, &broken), 1u);  // the worker does not sleep on it
  guest.queue.Return(guest.chains, 1);
  CHECK_EQ(guest.Used().id, 0);
  CHECK(!guest.AnyUsed());
  CHECK_EQ(guest.Take(), 0u);
  CHECK_EQ(guest.broken, reason);
}

FACT("a chain that runs into descriptors that are not available breaks the queue") {
  Breaks(BreakReason::kChainIncomplete,
         [](OnePackedQueue& guest) { guest.driver.Offer({guest.NewBuffer(10)}, kNext, 1); });
}

FACT("virtio 1.2 §2.8.17: a chain longer than the queue breaks it, empty buffers or not") {
  for (const uint32_t bytes : {0u, 1u}) {
    for (const uint32_t size : {1u, 3u, 256u}) {
      OnePackedQueue guest(size);
      const Buffer buffer = {guest.NewBuffer(1).guest, bytes};
      for (uint32_t i = 0; i < size; ++i) guest.driver.Offer({buffer}, kNext, 0);
      CHECK_EQ(guest.Take(), 0u);
      CHECK_EQ(guest.broken, BreakReason::kChainTooLong);
    }
  }
}

FACT("a buffer outside memory breaks the queue, be it all, the end, a chain's or a table's") {
  const uint64_t end = (1 << 20) + (8 << 20);
  for (const Buffer& buffer : {Buffer{kNowhere, 60}, {end - 30, 60}, {~uint64_t{0} - 9, 60}}) {
    const auto reason = BreakReason::kAddressUnmapped;
    Breaks(reason, [&](OnePackedQueue& guest) { guest.driver.Offer({buffer}, 0, 1); });
    Breaks(reason,
           [&](OnePackedQueue& guest) { guest.driver.Offer({guest.NewBuffer(10), buffer}, 0, 1); });
    Breaks(reason, [&](OnePackedQueue& guest) { guest.driver.OfferTable({buffer}, 0, 1); });
    Breaks(reason,
           [&](OnePackedQueue& guest) { guest.driver.Offer({{buffer.guest, 64}}, kIndirect, 1); });
  }
}

FACT("a buffer for the device to write breaks a transmitq, in a table as well") {
  const auto reason = BreakReason::kWrongDirection;
  Breaks(reason,
         [](OnePackedQueue& guest) { guest.driver.Offer({guest.NewBuffer(60)}, kWrite, 1); });
  Breaks(reason,
         [](OnePackedQueue& guest) { guest.driver.OfferTable({guest.NewBuffer(60)}, kWrite, 1); });
}

FACT("virtio 1.2 §2.8.19: indirect tables that break the queue") {
  const auto table = [](uint32_t bytes, uint16_t flags) {
    return [bytes, flags](OnePackedQueue& guest) {
      guest.driver.Offer({guest.NewBuffer(bytes)}, flags, 1);
    };
  };
  Breaks(BreakReason::kIndirectNotNegotiated, table(16, kIndirect),
         kModern & ~VIRTIO_F_INDIRECT_DESC);
  for (const uint32_t bytes : {0u, 8u, 17u, 9 * 16u}) {
    Breaks(BreakReason::kIndirectBadTable, table(bytes, kIndirect));
  }
  Breaks(BreakReason::kIndirectNested, table(16, kIndirect | kNext));
  Breaks(BreakReason::kIndirectNested, [](OnePackedQueue& guest) {
    guest.driver.Offer({guest.NewBuffer(10), guest.NewBuffer(16)}, 0, 1);
    guest.driver.WriteFlags(2, PackedDriver::AvailableFlags({2, true}, kIndirect));
  });
}

FACT("a descriptor that was taken is not taken again before it was returned") {
  OnePackedQueue guest(4);
  for (uint16_t i = 0; i < 4; ++i) guest.driver.Offer({guest.NewFilledBuffer(60)}, 0, i);
  CHECK_EQ(guest.Take(), 4u);
  // The driver takes none back and marks all available for the next lap.
  for (uint16_t i = 0; i < 4; ++i) guest.driver.Offer({guest.NewFilledBuffer(60)}, 0, i);
  BreakReason broken = BreakReason::kNone;
  CHECK_EQ(guest.queue.Offered(1, &broken), 0u);
  CHECK_EQ(guest.Take(), 0u);
  CHECK_EQ(guest.broken, BreakReason::kNone);
}

FACT("chains of the most pieces are taken one at a time and stay inside the store") {
  constexpr uint32_t kEntries = 32768;
  constexpr uint64_t kBorder = (1 << 20) + (4 << 20);
  OnePackedQueue guest(GuestRam({{1 << 20, 4 << 20}, {kBorder, 1 << 16}}), kEntries);
  const uint64_t table = guest.ram.Allocate(16 * kEntries, 16);
  for (uint32_t i = 0; i < kEntries; ++i) guest.driver.WriteTable(table, i, {kBorder - 1, 2}, 0);
  const Buffer plain = guest.NewFilledBuffer(60);
  guest.driver.Offer({{table, 16 * kEntries}}, kIndirect, 0);
  guest.driver.Offer({{table, 16 * kEntries}}, kIndirect, 1);
  for (uint16_t i = 2; i < kBatchFramesMax - 1; ++i) guest.driver.Offer({plain}, 0, i);
  guest.driver.Offer({{table, 16 * kEntries}}, kIndirect, 99);
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.queue.walked(), 1 + kEntries + 2 * kEntries);
  CHECK_EQ(guest.Take(), kBatchFramesMax - 2);
  CHECK_EQ(guest.broken, BreakReason::kNone);
  CHECK_EQ(guest.chains[0].piece_count, 2 * kEntries);
  CHECK(guest.pieces.used() <= PieceStore::kCapacity);
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.chains[0].id, 99);
}

// Stops the device at its first write to a page and looks at the ring as the driver has it just
// then.
struct PageWatch {
  static void OnWrite(int, siginfo_t*, void*) {
    first_was_used = guest->AnyUsed();
    writes = writes + 1;
    mprotect(page, kPageBytes, PROT_READ | PROT_WRITE);
  }
  static constexpr size_t kPageBytes = 4096;
  static inline OnePackedQueue* guest = nullptr;
  static inline void* page = nullptr;
  static inline volatile sig_atomic_t writes = 0;
  static inline volatile sig_atomic_t first_was_used = 0;
};

FACT("the driver sees a batch whole: its first descriptor is used after all others") {
  // Descriptors 256 and on lie in the ring's second page; batches reach into it, or come out of it.
  for (const uint32_t begin : {250u, 510u}) {
    OnePackedQueue guest(512, kModern, {begin, true});
    for (uint16_t i = 0; i < 10; ++i) guest.driver.Offer({guest.NewFilledBuffer(60)}, 0, i);
    CHECK_EQ(guest.Take(), 10u);
    PageWatch::guest = &guest;
    PageWatch::page =
        guest.driver.RingsIn(*guest.memory).desc + (begin == 250 ? PageWatch::kPageBytes : 0);
    PageWatch::writes = 0;
    struct sigaction watch = {};
    struct sigaction before = {};
    watch.sa_sigaction = PageWatch::OnWrite;
    watch.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &watch, &before);
    mprotect(PageWatch::page, PageWatch::kPageBytes, PROT_READ);
    guest.queue.Return(guest.chains, 10);
    sigaction(SIGSEGV, &before, nullptr);
    CHECK_EQ(int{PageWatch::writes}, 1);
    CHECK_EQ(int{PageWatch::first_was_used}, 0);
    for (uint16_t i = 0; i < 10; ++i) CHECK_EQ(guest.Used().id, i);
  }
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
