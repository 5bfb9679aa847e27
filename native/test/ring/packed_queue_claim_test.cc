// A packed receiveq: which buffers Claim() finds for frames, and what Publish() writes.
//
// Sources: virtio 1.2 §2.8.4 (length), §2.8.6 (chains), §2.8.8 (in order), §2.8.9 (multi-buffer
// requests), §5.1.6.3 (receive buffers), §5.1.6.4 (num_buffers).

#include <functional>

#include "test/check.h"
#include "test/one_queue.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kPlain = OnePackedQueue::kModern;
constexpr uint64_t kMergeable = kPlain | VIRTIO_NET_F_MRG_RXBUF;
constexpr uint16_t kNext = PackedDriver::kNext;
constexpr uint16_t kWrite = PackedDriver::kWrite;
constexpr uint16_t kIndirect = PackedDriver::kIndirect;
constexpr uint32_t kHeader = 12;
constexpr uint64_t kNowhere = 0xdead'0000'0000;

// The bytes that a landing has room for, one piece after another.
uint32_t RoomOf(const OnePackedQueue& guest, const Landing& landing) {
  uint32_t room = 0;
  for (uint32_t i = 0; i < landing.piece_count; ++i) {
    room += guest.pieces.at(landing.first_piece + i)->bytes;
  }
  return room;
}

FACT("a frame lands in the next buffer; the driver sees neither before Publish") {
  OnePackedQueue guest(4, kPlain);
  const Buffer first = guest.NewBuffer(2048);
  const Buffer second = guest.NewBuffer(2048);
  guest.driver.Offer({first}, kWrite, 3);
  guest.driver.Offer({second}, kWrite, 1);
  CHECK_EQ(guest.Claim({72, 1512}), 2u);
  CHECK_EQ(guest.landings[0].num_buffers, 1);
  *guest.landings[0].data = 0x11;
  guest.landings[1].data[1511] = 0x22;
  CHECK_EQ(*guest.ram.At(first.guest, 1), 0x11);
  CHECK_EQ(*guest.ram.At(second.guest + 1511, 1), 0x22);
  for (const uint32_t position : {0u, 1u}) {
    CHECK_EQ(guest.driver.ReadFlags(position),
             PackedDriver::AvailableFlags({position, true}, kWrite));
  }
  guest.queue.Publish();
  for (const auto& [id, bytes] : {std::pair{3, 72}, std::pair{1, 1512}}) {
    const PackedUsed used = guest.Used();
    CHECK_EQ(used.id, id);
    CHECK_EQ(used.bytes, bytes);
    CHECK(used.flags & kWrite);  // §2.8.4: without it the length would mean nothing
  }
  CHECK(!guest.AnyUsed());
}

// Claims batches of frames for some laps. Buffers are single descriptors, chains and tables in
// turn.
void RunLaps(uint32_t size, uint64_t features) {
  OnePackedQueue guest(GuestRam::OfBytes(16 << 20), size, features);
  const Buffer half = guest.NewBuffer(800);
  const uint32_t chain_length = std::min(size, 2u);
  const uint32_t chain_bytes = 800 * chain_length;
  const bool mergeable = (features & VIRTIO_NET_F_MRG_RXBUF) != 0;
  uint64_t passed = 0;
  for (uint32_t round = 0; passed < 3 * uint64_t{size} + 5; ++round) {
    uint32_t chains = 0;
    uint32_t descriptors = 0;
    const uint32_t chains_max = 2 + round * 7 % 30;
    while (chains < chains_max && descriptors + chain_length <= size) {
      guest.driver.Offer(std::vector<Buffer>(chain_length, half), kWrite,
                         static_cast<uint16_t>(chains++));
      descriptors += chain_length;
    }
    // With merging, every frame but the last of an odd number takes two chains.
    const uint32_t per_frame = mergeable && chains > 1 ? 2 : 1;
    const uint32_t frames = chains / per_frame;
    const uint32_t bytes = chain_bytes * per_frame - 100;
    CHECK_EQ(guest.Claim(std::vector<uint32_t>(frames, bytes)), frames);
    for (uint32_t i = 0; i < frames; ++i) CHECK_EQ(guest.landings[i].num_buffers, per_frame);
    CHECK(!guest.AnyUsed());
    guest.queue.Publish();
    for (uint32_t i = 0; i < frames * per_frame; ++i) {
      const PackedUsed used = guest.Used();
      CHECK_EQ(used.id, i);
      CHECK_EQ(used.bytes, (i + 1) % per_frame == 0 ? chain_bytes - 100 : chain_bytes);
    }
    CHECK(!guest.AnyUsed());
    if (chains % per_frame != 0) {
      CHECK_EQ(guest.Claim({64}), 1u);
      guest.queue.Publish();
      CHECK_EQ(guest.Used().id, chains - 1);
    }
    const uint16_t word = guest.driver.next_avail.Word();
    CHECK_EQ(guest.driver.next_used.Word(), word);
    CHECK_EQ(guest.queue.base(), word | uint32_t{word} << 16);
    passed += descriptors;
  }
}

FACT("virtio 1.2 §2.8.1: rings of any size go round and round, with chains, merged or not") {
  for (const uint32_t size : {1u, 3u, 7u, 256u, 1000u, 32768u}) {
    for (const uint64_t features : {kPlain, kMergeable}) RunLaps(size, features);
  }
}

FACT("virtio 1.2 §2.8.8: in order, receive buffers still have their own lengths") {
  for (const uint32_t size : {1u, 7u, 256u}) RunLaps(size, kMergeable | VIRTIO_F_IN_ORDER);
}

FACT("a frame lands in chains and tables of any shape, and only as many bytes are used") {
  OnePackedQueue guest(8, kPlain);
  const std::vector<Buffer> buffers = {guest.NewBuffer(1), guest.NewBuffer(11),
                                       guest.NewBuffer(2000)};
  guest.driver.Offer(buffers, kWrite, 0);
  guest.driver.OfferTable(buffers, kWrite, 1);
  CHECK_EQ(guest.Claim({100, 100}), 2u);
  for (const uint32_t i : {0u, 1u}) {
    CHECK_EQ(guest.landings[i].piece_count, 3u);
    CHECK_EQ(RoomOf(guest, guest.landings[i]), 2012u);
  }
  guest.queue.Publish();
  for (const uint16_t id : {uint16_t{0}, uint16_t{1}}) {
    const PackedUsed used = guest.Used();
    CHECK_EQ(used.id, id);
    CHECK_EQ(used.bytes, 100u);
  }
}

FACT("virtio 1.2 §5.1.6.4: a frame larger than a buffer is merged from as many as it needs") {
  OnePackedQueue guest(8, kMergeable, {6, true});
  for (uint16_t id = 0; id < 8; ++id) guest.driver.Offer({guest.NewBuffer(1000)}, kWrite, id);
  CHECK_EQ(guest.Claim({500, 2500, 1000, 1001}), 4u);
  const uint16_t buffers[] = {1, 3, 1, 2};
  for (uint32_t i = 0; i < 4; ++i) CHECK_EQ(guest.landings[i].num_buffers, buffers[i]);
  guest.queue.Publish();
  const uint32_t bytes[] = {500, 1000, 1000, 500, 1000, 1000, 1};
  for (uint16_t id = 0; id < 7; ++id) {
    const PackedUsed used = guest.Used();
    CHECK_EQ(used.id, id);
    CHECK_EQ(used.bytes, bytes[id]);
  }
  CHECK(!guest.AnyUsed());
}

FACT("without merging a frame larger than the buffer lands nowhere, and the buffer waits") {
  OnePackedQueue guest(4, kPlain);
  guest.driver.Offer({guest.NewBuffer(1000)}, kWrite, 0);
  CHECK_EQ(guest.Claim({1001, 900}), 2u);
  CHECK_EQ(guest.landings[0].num_buffers, 0);
  CHECK_EQ(guest.landings[1].num_buffers, 1);
  guest.queue.Publish();
  CHECK_EQ(guest.Used().bytes, 900u);
}

FACT("a frame for which buffers are missing waits and keeps none") {
  OnePackedQueue guest(4, kMergeable);
  guest.driver.Offer({guest.NewBuffer(1000)}, kWrite, 0);
  guest.driver.Offer({guest.NewBuffer(1000)}, kWrite, 1);
  CHECK_EQ(guest.Claim({500, 2000}), 1u);
  CHECK_EQ(guest.broken, BreakReason::kNone);
  CHECK_EQ(guest.pieces.used(), 0u);
  guest.queue.Publish();
  CHECK_EQ(guest.Used().id, 0);
  guest.driver.Offer({guest.NewBuffer(1000)}, kWrite, 0);
  CHECK_EQ(guest.Claim({2000}), 1u);
  CHECK_EQ(guest.landings[0].num_buffers, 2);
  guest.queue.Publish();
  CHECK_EQ(guest.Used().id, 1);
  CHECK_EQ(guest.Used().id, 0);
}

FACT("a frame larger than the whole ring lands nowhere, but only when the whole ring was there") {
  for (uint32_t begin = 0; begin < 4; ++begin) {
    OnePackedQueue guest(4, kMergeable, {begin, false});
    for (uint16_t id = 0; id < 4; ++id) guest.driver.Offer({guest.NewBuffer(1000)}, kWrite, id);
    CHECK_EQ(guest.Claim({4001, 4000}), 2u);
    CHECK_EQ(guest.landings[0].num_buffers, 0);
    CHECK_EQ(guest.landings[1].num_buffers, 4);
    guest.queue.Publish();
    for (uint16_t id = 0; id < 4; ++id) {
      CHECK_EQ(guest.Used().id, id);
      guest.driver.Offer({guest.NewBuffer(1000)}, kWrite, id);
    }
    CHECK_EQ(guest.Claim({500, 4000}), 1u);
    CHECK_EQ(guest.broken, BreakReason::kNone);
    guest.queue.Publish();
    CHECK_EQ(guest.Used().id, 0);
  }
}

FACT("Publish without a claim writes nothing") {
  OnePackedQueue guest(4, kPlain);
  guest.driver.Offer({guest.NewBuffer(1000)}, kWrite, 0);
  guest.queue.Publish();
  CHECK(!guest.AnyUsed());
  CHECK_EQ(guest.Claim({100}), 1u);
  guest.queue.Publish();
  guest.queue.Publish();
  CHECK_EQ(guest.Used().id, 0);
  CHECK(!guest.AnyUsed());
}

// One good buffer, then what `hostile` offers: the first frame lands and the second breaks the
// queue.
void Breaks(BreakReason reason, const std::function<void(OnePackedQueue&)>& hostile,
            uint64_t features = kMergeable) {
  OnePackedQueue guest(8, features);
  guest.driver.Offer({guest.NewBuffer(1000)}, kWrite, 0);
  hostile(guest);
  CHECK_EQ(guest.Claim({100, 100}), 1u);
  CHECK_EQ(guest.broken, reason);
  guest.queue.Publish();
  CHECK_EQ(guest.Used().id, 0);
  CHECK(!guest.AnyUsed());
  CHECK_EQ(guest.Claim({100}), 0u);
  CHECK_EQ(guest.broken, reason);
}

FACT("receive buffers that break the queue") {
  const auto offer = [](const Buffer& buffer, uint16_t flags) {
    return [=](OnePackedQueue& guest) { guest.driver.Offer({buffer}, flags, 1); };
  };
  const Buffer good = {1 << 20, 1000};
  Breaks(BreakReason::kWrongDirection, offer(good, 0));
  Breaks(BreakReason::kAddressUnmapped, offer({kNowhere, 1000}, kWrite));
  Breaks(BreakReason::kAddressUnmapped, offer({(1 << 20) + (8 << 20) - 50, 1000}, kWrite));
  Breaks(BreakReason::kBufferBelowHeader, offer({1 << 20, kHeader - 1}, kWrite));
  Breaks(BreakReason::kBufferBelowHeader, offer({1 << 20, 0}, kWrite));
  Breaks(BreakReason::kChainIncomplete, offer(good, kWrite | kNext));
  Breaks(BreakReason::kIndirectNotNegotiated, offer({1 << 20, 16}, kIndirect),
         kMergeable & ~VIRTIO_F_INDIRECT_DESC);
  Breaks(BreakReason::kIndirectBadTable, offer({1 << 20, 24}, kIndirect));
  Breaks(BreakReason::kIndirectNested, offer({1 << 20, 16}, kIndirect | kNext));
  Breaks(BreakReason::kWrongDirection,
         [](OnePackedQueue& guest) { guest.driver.OfferTable({guest.NewBuffer(1000)}, 0, 1); });
}

FACT("virtio 1.2 §2.8.17: a chain longer than the queue breaks a receiveq, empty buffers or not") {
  for (const uint32_t bytes : {0u, 20u}) {
    OnePackedQueue guest(8, kMergeable);
    for (int i = 0; i < 8; ++i) guest.driver.Offer({{1 << 20, bytes}}, kWrite | kNext, 1);
    CHECK_EQ(guest.Claim({100}), 0u);
    CHECK_EQ(guest.broken, BreakReason::kChainTooLong);
  }
}

FACT("a violation in the middle of a merged frame takes nothing of it") {
  OnePackedQueue guest(8, kMergeable);
  guest.driver.Offer({guest.NewBuffer(1000)}, kWrite, 0);
  guest.driver.Offer({{kNowhere, 1000}}, kWrite, 1);
  CHECK_EQ(guest.Claim({1500}), 0u);
  CHECK_EQ(guest.broken, BreakReason::kAddressUnmapped);
  CHECK_EQ(guest.pieces.used(), 0u);
  guest.queue.Publish();
  CHECK(!guest.AnyUsed());
}

FACT("a buffer that was claimed is not claimed again before it was published") {
  // Found at once, and after a frame for which the general case had to look.
  for (const uint32_t first_bytes : {100u, 1001u}) {
    OnePackedQueue guest(4, kPlain);
    const Buffer buffer = guest.NewBuffer(1000);
    for (uint16_t id = 0; id < 4; ++id) guest.driver.Offer({buffer}, kWrite, id);
    CHECK_EQ(guest.Claim({100, 100}), 2u);
    // The driver marks the first two available for the next lap.
    for (uint16_t id = 0; id < 2; ++id) guest.driver.Offer({buffer}, kWrite, id);
    CHECK_EQ(guest.Claim({first_bytes, 100, 100, 100}), first_bytes == 100 ? 2u : 3u);
    CHECK_EQ(guest.broken, BreakReason::kNone);
  }
  OnePackedQueue guest(4, kMergeable);
  const Buffer buffer = guest.NewBuffer(1000);
  for (uint16_t id = 0; id < 4; ++id) guest.driver.Offer({buffer}, kWrite, id);
  CHECK_EQ(guest.Claim({100, 100}), 2u);
  for (uint16_t id = 0; id < 2; ++id) guest.driver.Offer({buffer}, kWrite, id);
  CHECK_EQ(guest.Claim({2001}), 0u);
  CHECK_EQ(guest.broken, BreakReason::kNone);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
