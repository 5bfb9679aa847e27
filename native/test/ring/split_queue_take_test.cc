// A transmitq: which chains Take() accepts, what it makes of them, and what breaks the queue.
//
// Sources: virtio 1.2 §2.7.4 (chains), §2.7.5.3 (indirect), §2.7.6 (avail ring), §2.7.8 (used
// ring).

#include <functional>

#include "test/check.h"
#include "test/one_queue.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC;
constexpr uint16_t kNext = SplitDriver::kNext;
constexpr uint16_t kWrite = SplitDriver::kWrite;
constexpr uint16_t kIndirect = SplitDriver::kIndirect;
constexpr uint64_t kNowhere = 0xdead'0000'0000;

FACT("nothing offered, nothing taken, nothing broken") {
  OneQueue guest(256, kModern);
  CHECK_EQ(guest.Take(), 0u);
  CHECK_EQ(guest.broken, BreakReason::kNone);
  CHECK_EQ(guest.driver.used_index(), 0);
}

FACT("a chain of 1 to 12 buffers is taken as its bytes, in order") {
  OneQueue guest(256, kModern);
  uint16_t head = 0;
  for (uint32_t count = 1; count <= 12; ++count) {
    std::vector<Buffer> buffers;
    for (uint32_t i = 0; i < count; ++i) buffers.push_back(guest.NewFilledBuffer(1 + 5 * i));
    guest.driver.WriteChain(head, buffers, 0);
    guest.driver.Offer(head);
    CHECK_EQ(guest.Take(), 1u);
    CHECK_EQ(guest.chains[0].id, head);
    CHECK_EQ(guest.chains[0].piece_count, count);
    CHECK_EQ(guest.chains[0].bytes, guest.BytesOf(buffers).size());
    CHECK(guest.BytesOf(guest.chains[0]) == guest.BytesOf(buffers));
    guest.queue.Return(guest.chains, 1);
    head = static_cast<uint16_t>(head + count);
  }
}

FACT("virtio 1.2 §2.7.4.2: a chain follows next, whatever the order of the table") {
  OneQueue guest(8, kModern);
  const std::vector<Buffer> buffers = {guest.NewFilledBuffer(3), guest.NewFilledBuffer(4),
                                       guest.NewFilledBuffer(5)};
  guest.driver.WriteDescriptor(7, buffers[0], kNext, 0);
  guest.driver.WriteDescriptor(0, buffers[1], kNext, 4);
  guest.driver.WriteDescriptor(4, buffers[2], 0, 7);
  guest.driver.Offer(7);
  CHECK_EQ(guest.Take(), 1u);
  CHECK(guest.BytesOf(guest.chains[0]) == guest.BytesOf(buffers));
}

FACT("virtio 1.2 §2.7.5.3: an indirect table stands for its chain, alone or after direct buffers") {
  for (const bool after_direct : {false, true}) {
    OneQueue guest(8, kModern);
    const std::vector<Buffer> buffers = {guest.NewFilledBuffer(10), guest.NewFilledBuffer(20),
                                         guest.NewFilledBuffer(30)};
    const uint64_t table = guest.ram.Allocate(3 * 16, 16);
    uint32_t entry = 0;
    uint32_t in_table = 0;
    if (after_direct) guest.driver.WriteDescriptor(entry++, buffers[in_table++], kNext, 1);
    const uint32_t entries = 3 - in_table;
    guest.driver.WriteDescriptor(entry, {table, 16 * entries}, kIndirect);
    for (uint32_t i = 0; i < entries; ++i) {
      guest.driver.WriteIndirect(table, i, buffers[in_table + i], i + 1 < entries ? kNext : 0,
                                 static_cast<uint16_t>(i + 1));
    }
    guest.driver.Offer(0);
    CHECK_EQ(guest.Take(), 1u);
    CHECK(guest.BytesOf(guest.chains[0]) == guest.BytesOf(buffers));
    guest.queue.Return(guest.chains, 1);
    CHECK_EQ(guest.driver.used(0).id, 0u);
  }
}

FACT("a descriptor of an indirect table may lie across two regions") {
  constexpr uint64_t kBorder = (1 << 20) + (1 << 16);
  OneQueue guest(GuestRam({{1 << 20, 1 << 16}, {kBorder, 1 << 16}}), 8, kModern);
  const std::vector<Buffer> buffers = {guest.NewFilledBuffer(4), guest.NewFilledBuffer(5)};
  const uint64_t table = kBorder - 24;
  guest.driver.WriteIndirect(table, 0, buffers[0], kNext, 1);
  guest.driver.WriteIndirect(table, 1, buffers[1], 0);
  guest.driver.WriteDescriptor(0, {table, 32}, kIndirect);
  guest.driver.Offer(0);
  CHECK_EQ(guest.Take(), 1u);
  CHECK(guest.BytesOf(guest.chains[0]) == guest.BytesOf(buffers));
}

FACT("a buffer across two regions is two pieces of one chain") {
  constexpr uint64_t kBorder = (1 << 20) + (1 << 16);
  OneQueue guest(GuestRam({{1 << 20, 1 << 16}, {kBorder, 1 << 16}}), 8, kModern);
  guest.driver.WriteDescriptor(0, {kBorder - 30, 100}, 0);
  guest.driver.Offer(0);
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.chains[0].piece_count, 2u);
  CHECK_EQ(guest.chains[0].bytes, 100u);
  CHECK(guest.BytesOf(guest.chains[0]) == guest.ram.Read(kBorder - 30, 100));
}

FACT("empty buffers are no pieces, and an empty chain is taken and returned") {
  OneQueue guest(8, kModern);
  const Buffer full = guest.NewFilledBuffer(20);
  guest.driver.WriteChain(0, {{full.guest, 0}, full, {kNowhere, 0}}, 0);
  guest.driver.WriteDescriptor(3, {kNowhere, 0}, 0);
  guest.driver.Offer(0);
  guest.driver.Offer(3);
  CHECK_EQ(guest.Take(), 2u);
  CHECK_EQ(guest.chains[0].piece_count, 1u);
  CHECK_EQ(guest.chains[0].bytes, 20u);
  CHECK_EQ(guest.chains[1].piece_count, 0u);
  CHECK_EQ(guest.chains[1].bytes, 0u);
  guest.queue.Return(guest.chains, 2);
  CHECK_EQ(guest.driver.used_index(), 2);
}

FACT("a chain stops counting just above the longest frame") {
  OneQueue guest(8, kModern);
  const uint32_t parts[] = {kChainBytesMax, kChainBytesMax + 1, 1 << 20, 0xffffffff};
  uint16_t head = 0;
  for (const uint32_t bytes : parts) {
    const Buffer start = {1 << 20, bytes};  // up to the whole memory and beyond
    guest.driver.WriteDescriptor(head, start, 0);
    guest.driver.Offer(head++);
  }
  CHECK_EQ(guest.Take(), 4u);
  CHECK_EQ(guest.chains[0].bytes, kChainBytesMax);
  for (int i = 1; i < 4; ++i) CHECK_EQ(guest.chains[i].bytes, kChainBytesMax + 1);
}

// Chains of one buffer through the ring, `total` of them in batches of at most `batch`.
void Circulate(uint32_t size, uint16_t index, uint32_t total, uint32_t batch) {
  OneQueue guest(size, kModern, index);
  const Buffer buffer = guest.NewFilledBuffer(60);
  for (uint32_t i = 0; i < size; ++i) guest.driver.WriteDescriptor(i, buffer, 0);
  uint32_t offered = 0;
  uint32_t taken = 0;
  while (taken < total) {
    while (offered < taken + size) guest.driver.Put(static_cast<uint16_t>(7 * offered++ % size));
    guest.driver.Publish();
    const uint32_t count = guest.Take(batch);
    CHECK_EQ(guest.broken, BreakReason::kNone);
    CHECK_EQ(count, std::min(batch, size));
    guest.queue.Return(guest.chains, count);
    CHECK_EQ(guest.driver.used_index(), static_cast<uint16_t>(index + taken + count));
    for (uint32_t i = 0; i < count; ++i) {
      const UsedEntry used = guest.driver.used(static_cast<uint16_t>(index + taken + i));
      CHECK_EQ(used.id, 7 * (taken + i) % size);
      CHECK_EQ(used.bytes, 0u);
    }
    taken += count;
    CHECK_EQ(guest.queue.base(), static_cast<uint16_t>(index + taken));
  }
}

FACT("queues of 1, 2, 256 and 32768 wrap, and so does the 16-bit index") {
  for (const uint32_t size : {1u, 2u, 256u, 32768u}) {
    Circulate(size, 0, 3 * size + 100, kBatchFramesMax);
    Circulate(size, 65530, 200, kBatchFramesMax);
  }
  Circulate(32768, 0, 70000, kBatchFramesMax);
}

FACT("a batch takes no more than asked for, and the rest stays offered") {
  Circulate(256, 65500, 1000, 1);
  Circulate(256, 65500, 1000, 63);
}

FACT("what Take handed out is returned even if the driver rewrites everything meanwhile") {
  OneQueue guest(8, kModern);
  const Buffer buffer = guest.NewFilledBuffer(60);
  const std::vector<uint8_t> bytes = guest.BytesOf({buffer});
  guest.driver.WriteDescriptor(5, buffer, 0);
  guest.driver.Offer(5);
  CHECK_EQ(guest.Take(), 1u);
  guest.driver.WriteDescriptor(5, {kNowhere, 0xffffffff}, kNext | kWrite | kIndirect, 99);
  CHECK(guest.BytesOf(guest.chains[0]) == bytes);
  guest.queue.Return(guest.chains, 1);
  CHECK_EQ(guest.driver.used(0).id, 5u);
}

FACT("virtio 1.2 §2.7.8.2: nothing is visible to the driver before Return") {
  OneQueue guest(8, kModern);
  guest.driver.WriteDescriptor(3, guest.NewBuffer(60), 0);
  guest.driver.Offer(3);
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.driver.used_index(), 0);
  guest.queue.Return(guest.chains, 1);
  CHECK_EQ(guest.driver.used_index(), 1);
}

// --- what breaks a queue -------------------------------------------------------------------------

struct Offence {
  const char* what;
  BreakReason reason;
  uint64_t features;
  // Writes a chain that begins in descriptor 2; 1 is a good buffer's, 3 to 7 are free.
  std::function<void(OneQueue&)> write;
};

const std::vector<Offence> kOffences = {
    {"a loop of one", BreakReason::kChainTooLong, kModern,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, g.NewBuffer(1), kNext, 2); }},
    {"a loop of empty buffers", BreakReason::kChainTooLong, kModern,
     [](OneQueue& g) {
       g.driver.WriteDescriptor(2, {kNowhere, 0}, kNext, 3);
       g.driver.WriteDescriptor(3, {kNowhere, 0}, kNext, 2);
     }},
    {"a loop inside an indirect table", BreakReason::kChainTooLong, kModern,
     [](OneQueue& g) {
       const uint64_t table = g.ram.Allocate(32, 16);
       g.driver.WriteDescriptor(2, {table, 32}, kIndirect);
       g.driver.WriteIndirect(table, 0, g.NewBuffer(1), kNext, 1);
       g.driver.WriteIndirect(table, 1, g.NewBuffer(1), kNext, 0);
     }},
    {"next beyond the queue", BreakReason::kNextOutOfRange, kModern,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, g.NewBuffer(1), kNext, 8); }},
    {"next beyond the indirect table", BreakReason::kNextOutOfRange, kModern,
     [](OneQueue& g) {
       const uint64_t table = g.ram.Allocate(32, 16);
       g.driver.WriteDescriptor(2, {table, 32}, kIndirect);
       g.driver.WriteIndirect(table, 0, g.NewBuffer(1), kNext, 2);
     }},
    {"a buffer nowhere", BreakReason::kAddressUnmapped, kModern,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, {kNowhere, 60}, 0); }},
    {"a buffer that ends outside", BreakReason::kAddressUnmapped, kModern,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, {(5 << 20) - 59, 60}, 0); }},
    {"a buffer that wraps", BreakReason::kAddressUnmapped, kModern,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, {~uint64_t{0} - 10, 60}, 0); }},
    {"an indirect table nowhere", BreakReason::kAddressUnmapped, kModern,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, {kNowhere, 32}, kIndirect); }},
    {"the second half of an indirect table nowhere", BreakReason::kAddressUnmapped, kModern,
     [](OneQueue& g) {
       const uint64_t table = (5 << 20) - 16;
       g.driver.WriteDescriptor(2, {table, 32}, kIndirect);
       g.driver.WriteIndirect(table, 0, g.NewBuffer(1), kNext, 1);
     }},
    {"a buffer for the device to write", BreakReason::kWrongDirection, kModern,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, g.NewBuffer(60), kWrite); }},
    {"a second buffer for the device to write", BreakReason::kWrongDirection, kModern,
     [](OneQueue& g) {
       g.driver.WriteDescriptor(2, g.NewBuffer(60), kNext, 3);
       g.driver.WriteDescriptor(3, g.NewBuffer(60), kWrite);
     }},
    {"indirect, not negotiated", BreakReason::kIndirectNotNegotiated, VIRTIO_F_VERSION_1,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, {1 << 20, 16}, kIndirect); }},
    {"an empty indirect table", BreakReason::kIndirectBadTable, kModern,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, {1 << 20, 0}, kIndirect); }},
    {"an indirect table of odd size", BreakReason::kIndirectBadTable, kModern,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, {1 << 20, 24}, kIndirect); }},
    {"an indirect table longer than the queue", BreakReason::kIndirectBadTable, kModern,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, {1 << 20, 9 * 16}, kIndirect); }},
    {"indirect in an indirect table", BreakReason::kIndirectNested, kModern,
     [](OneQueue& g) {
       const uint64_t table = g.ram.Allocate(32, 16);
       g.driver.WriteDescriptor(2, {table, 32}, kIndirect);
       g.driver.WriteIndirect(table, 0, g.NewBuffer(1), kNext, 1);
       g.driver.WriteIndirect(table, 1, {table, 32}, kIndirect);
     }},
    {"indirect first in an indirect table", BreakReason::kIndirectNested, kModern,
     [](OneQueue& g) {
       const uint64_t table = g.ram.Allocate(16, 16);
       g.driver.WriteDescriptor(2, {table, 16}, kIndirect);
       g.driver.WriteIndirect(table, 0, {table, 16}, kIndirect);
     }},
    {"indirect with next", BreakReason::kIndirectNested, kModern,
     [](OneQueue& g) { g.driver.WriteDescriptor(2, {1 << 20, 16}, kIndirect | kNext, 3); }},
};

FACT("every offence breaks the queue for its own reason, after the chains before it") {
  for (const Offence& offence : kOffences) {
    OneQueue guest(8, offence.features);
    const Buffer good = guest.NewFilledBuffer(60);
    guest.driver.WriteDescriptor(1, good, 0);
    offence.write(guest);
    guest.driver.Offer(1);
    guest.driver.Offer(2);
    guest.driver.Offer(1);
    if (guest.Take() != 1) Fail(__FILE__, __LINE__, std::string(offence.what) + ": chains taken");
    if (guest.broken != offence.reason) {
      Fail(__FILE__, __LINE__, std::string(offence.what) + ": " + BreakReasonCode(guest.broken));
    }
    CHECK(guest.BytesOf(guest.chains[0]) == guest.BytesOf({good}));
    CHECK_EQ(guest.queue.base(), 1);
  }
}

FACT("virtio 1.2 §2.7.6: a head beyond the table breaks the queue") {
  OneQueue guest(8, kModern);
  guest.driver.WriteDescriptor(1, guest.NewBuffer(60), 0);
  guest.driver.Offer(1);
  guest.driver.Offer(8);
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.broken, BreakReason::kHeadOutOfRange);
}

FACT("an avail index may lead by the queue size, and by no more") {
  for (const uint16_t index : {uint16_t{0}, uint16_t{65533}}) {
    OneQueue guest(8, kModern, index);
    for (uint32_t i = 0; i < 8; ++i) guest.driver.WriteDescriptor(i, guest.NewBuffer(60), 0);
    for (uint16_t i = 0; i < 8; ++i) guest.driver.Put(i);
    guest.driver.PublishIndex(static_cast<uint16_t>(index + 9));
    CHECK_EQ(guest.Take(), 0u);
    CHECK_EQ(guest.broken, BreakReason::kAvailIndexJump);
    guest.driver.PublishIndex(static_cast<uint16_t>(index - 1));
    CHECK_EQ(guest.Take(), 0u);
    CHECK_EQ(guest.broken, BreakReason::kAvailIndexJump);
    guest.driver.Publish();
    CHECK_EQ(guest.Take(), 8u);
    CHECK_EQ(guest.broken, BreakReason::kNone);
  }
}

FACT("a chain as long as the queue is whole, through a table as well") {
  OneQueue guest(8, kModern);
  const Buffer part = guest.NewFilledBuffer(3);
  guest.driver.WriteChain(0, std::vector<Buffer>(8, part), 0);
  guest.driver.Offer(0);
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.chains[0].bytes, 24u);
  guest.queue.Return(guest.chains, 1);
  const uint64_t table = guest.ram.Allocate(8 * 16, 16);
  guest.driver.WriteDescriptor(0, {table, 8 * 16}, kIndirect);
  for (uint32_t i = 0; i < 8; ++i) {
    guest.driver.WriteIndirect(table, i, part, i < 7 ? kNext : 0, static_cast<uint16_t>(i + 1));
  }
  guest.driver.Offer(0);
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.chains[0].bytes, 24u);
}

FACT("chains of the most pieces are taken one at a time and stay inside the store") {
  // 500 regions of one byte behind the rings' own: a buffer over them is 500 pieces.
  std::vector<GuestRam::Region> regions = {{1 << 20, 1 << 16}};
  const uint64_t bytes_begin = (1 << 20) + (1 << 16);
  for (uint64_t i = 0; i < 500; ++i) regions.push_back({bytes_begin + i, 1});
  OneQueue guest(GuestRam(regions), 256, kModern);
  guest.driver.WriteChain(0, std::vector<Buffer>(150, {bytes_begin, 500}), 0);
  guest.driver.WriteDescriptor(200, {1 << 20, 60}, 0);
  for (const int head : {0, 0, 200, 200, 0, 200}) guest.driver.Offer(static_cast<uint16_t>(head));
  CHECK_EQ(guest.Take(), 1u);
  CHECK_EQ(guest.queue.walked(), 150u + kChainBytesMax + 1);
  CHECK_EQ(guest.Take(), 3u);
  CHECK_EQ(guest.broken, BreakReason::kNone);
  CHECK_EQ(guest.chains[0].piece_count, kChainBytesMax + 1);
  CHECK_EQ(guest.chains[2].piece_count, 1u);
  CHECK(guest.pieces.used() <= PieceStore::kCapacity);
  CHECK_EQ(guest.Take(), 2u);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
