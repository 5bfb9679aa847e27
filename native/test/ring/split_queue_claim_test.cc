// A receiveq: which buffers Claim() finds for a list of frames, and what it tells the driver.
//
// Sizes count the virtio-net header. Sources: virtio 1.2 §5.1.6.3.2 (receive buffers),
// §5.1.6.4 (mergeable buffers), §2.7.8 (used ring).

#include <functional>
#include <iterator>

#include "test/check.h"
#include "test/one_queue.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC;
constexpr uint64_t kMerge = kModern | VIRTIO_NET_F_MRG_RXBUF;
constexpr uint16_t kNext = SplitDriver::kNext;
constexpr uint16_t kWrite = SplitDriver::kWrite;
constexpr uint16_t kIndirect = SplitDriver::kIndirect;
constexpr uint64_t kNowhere = 0xdead'0000'0000;

// Offers `count` chains of one buffer of `bytes` in descriptors first, first + 1, ...
std::vector<Buffer> OfferBuffers(OneQueue& guest, uint32_t count, uint32_t bytes,
                                 uint32_t first = 0) {
  std::vector<Buffer> buffers;
  for (uint32_t i = 0; i < count; ++i) {
    buffers.push_back(guest.NewBuffer(bytes));
    guest.driver.WriteDescriptor(first + i, buffers.back(), kWrite);
    guest.driver.Offer(static_cast<uint16_t>(first + i));
  }
  return buffers;
}

// Writes 1, 2, 3 ... where the landing is and returns what was written.
std::vector<uint8_t> WriteInto(OneQueue& guest, const Landing& landing, uint32_t bytes) {
  std::vector<uint8_t> written(bytes);
  std::iota(written.begin(), written.end(), uint8_t{1});
  if (landing.data != nullptr) {
    std::copy(written.begin(), written.end(), landing.data);
    return written;
  }
  uint32_t at = 0;
  for (uint32_t i = 0; i < landing.piece_count; ++i) {
    const Piece& piece = *guest.pieces.at(landing.first_piece + i);
    const uint32_t part = std::min(piece.bytes, bytes - at);
    std::copy_n(&written[at], part, piece.data);
    at += part;
  }
  CHECK_EQ(at, bytes);
  return written;
}

// Claims one frame of `bytes`, fills and publishes it; it must be in the front of `buffers`.
void CheckLanding(OneQueue& guest, uint32_t bytes, const std::vector<Buffer>& buffers,
                  uint16_t num_buffers) {
  CHECK_EQ(guest.Claim({bytes}), 1u);
  CHECK_EQ(guest.landings[0].num_buffers, num_buffers);
  const std::vector<uint8_t> written = WriteInto(guest, guest.landings[0], bytes);
  std::vector<uint8_t> seen = guest.BytesOf(buffers);
  CHECK(seen.size() >= bytes);
  CHECK(std::equal(written.begin(), written.end(), seen.begin()));
  CHECK(std::all_of(seen.begin() + bytes, seen.end(), [](uint8_t byte) { return byte == 0; }));
  guest.queue.Publish();
}

FACT("no buffer, no landing") {
  OneQueue guest(8, kMerge);
  CHECK_EQ(guest.Claim({72}), 0u);
  CHECK_EQ(guest.broken, BreakReason::kNone);
  CHECK_EQ(guest.queue.base(), 0);
}

FACT("a frame that fits exactly fills the buffer, and a larger buffer keeps its rest") {
  for (const uint32_t buffer_bytes : {72u, 73u, 2048u}) {
    OneQueue guest(8, kModern);
    const std::vector<Buffer> buffers = OfferBuffers(guest, 1, buffer_bytes, 5);
    CheckLanding(guest, 72, buffers, 1);
    CHECK_EQ(guest.driver.used_index(), 1);
    CHECK_EQ(guest.driver.used(0).id, 5u);
    CHECK_EQ(guest.driver.used(0).bytes, 72u);
  }
}

FACT("a frame is scattered over a chain of several buffers, used as one") {
  OneQueue guest(8, kModern);
  const std::vector<Buffer> buffers = {guest.NewBuffer(12), guest.NewBuffer(1), guest.NewBuffer(30),
                                       guest.NewBuffer(100)};
  guest.driver.WriteChain(0, buffers, kWrite);
  guest.driver.Offer(0);
  CheckLanding(guest, 72, buffers, 1);
  CHECK_EQ(guest.driver.used_index(), 1);
  CHECK_EQ(guest.driver.used(0).id, 0u);
  CHECK_EQ(guest.driver.used(0).bytes, 72u);
}

FACT("an indirect receive buffer and one across two regions are filled piece by piece") {
  constexpr uint64_t kBorder = (1 << 20) + (1 << 16);
  OneQueue guest(GuestRam({{1 << 20, 1 << 16}, {kBorder, 1 << 16}}), 8, kModern);
  const std::vector<Buffer> buffers = {guest.NewBuffer(12), {kBorder - 20, 100}};
  const uint64_t table = guest.ram.Allocate(32, 16);
  guest.driver.WriteIndirect(table, 0, buffers[0], kNext | kWrite, 1);
  guest.driver.WriteIndirect(table, 1, buffers[1], kWrite);
  guest.driver.WriteDescriptor(0, {table, 32}, kIndirect);
  guest.driver.Offer(0);
  CheckLanding(guest, 72, buffers, 1);
}

FACT("virtio 1.2 §5.1.6.4: a frame is merged from 2 to 8 buffers, each with its own used length") {
  for (uint32_t count = 2; count <= 8; ++count) {
    OneQueue guest(8, kMerge);
    const std::vector<Buffer> buffers = OfferBuffers(guest, 8, 100);
    CheckLanding(guest, 100 * count - 1, buffers, static_cast<uint16_t>(count));
    CHECK_EQ(guest.driver.used_index(), count);
    for (uint32_t i = 0; i < count; ++i) {
      CHECK_EQ(guest.driver.used(static_cast<uint16_t>(i)).id, i);
      CHECK_EQ(guest.driver.used(static_cast<uint16_t>(i)).bytes, i + 1 < count ? 100u : 99u);
    }
    CHECK_EQ(guest.queue.base(), count);
  }
}

FACT("merged chains may differ in size and shape") {
  OneQueue guest(8, kMerge);
  std::vector<Buffer> buffers = OfferBuffers(guest, 1, 12);
  const std::vector<Buffer> chain = {guest.NewBuffer(5), guest.NewBuffer(7), guest.NewBuffer(40)};
  guest.driver.WriteChain(2, chain, kWrite);
  guest.driver.Offer(2);
  buffers.insert(buffers.end(), chain.begin(), chain.end());
  const std::vector<Buffer> rest = OfferBuffers(guest, 1, 2000, 6);
  buffers.insert(buffers.end(), rest.begin(), rest.end());
  CheckLanding(guest, 12 + 52 + 500, buffers, 3);
  CHECK_EQ(guest.driver.used(0).bytes, 12u);
  CHECK_EQ(guest.driver.used(1).bytes, 52u);
  CHECK_EQ(guest.driver.used(2).bytes, 500u);
}

FACT("merging crosses the end of the ring and of the 16-bit index") {
  OneQueue guest(8, kMerge, 65533);
  const std::vector<Buffer> buffers = OfferBuffers(guest, 8, 100);
  CheckLanding(guest, 750, buffers, 8);
  CHECK_EQ(guest.driver.used_index(), 5);
  CHECK_EQ(guest.driver.used(65533).id, 0u);
  CHECK_EQ(guest.driver.used(4).id, 7u);
  CHECK_EQ(guest.driver.used(4).bytes, 50u);
}

FACT("without merging, a frame that does not fit is decided as dropped and costs no buffer") {
  OneQueue guest(8, kModern);
  const std::vector<Buffer> buffers = OfferBuffers(guest, 2, 100);
  CHECK_EQ(guest.Claim({101, 100, 200, 72}), 4u);
  CHECK_EQ(guest.landings[0].num_buffers, 0);
  CHECK_EQ(guest.landings[1].num_buffers, 1);
  CHECK_EQ(guest.landings[2].num_buffers, 0);
  CHECK_EQ(guest.landings[3].num_buffers, 1);
  guest.queue.Publish();
  CHECK_EQ(guest.driver.used_index(), 2);
  CHECK_EQ(guest.driver.used(0).id, 0u);
  CHECK_EQ(guest.driver.used(0).bytes, 100u);
  CHECK_EQ(guest.driver.used(1).id, 1u);
  CHECK_EQ(guest.driver.used(1).bytes, 72u);
}

FACT("a frame that the whole ring cannot hold is decided as dropped, with merging too") {
  OneQueue guest(4, kMerge);
  OfferBuffers(guest, 4, 100);
  CHECK_EQ(guest.Claim({401, 400}), 2u);
  CHECK_EQ(guest.landings[0].num_buffers, 0);
  CHECK_EQ(guest.landings[1].num_buffers, 4);
}

FACT("a claim that lacks buffers consumes none, and succeeds when they come") {
  OneQueue guest(8, kMerge);
  std::vector<Buffer> buffers = OfferBuffers(guest, 2, 100);
  CHECK_EQ(guest.Claim({300}), 0u);
  CHECK_EQ(guest.broken, BreakReason::kNone);
  CHECK_EQ(guest.queue.base(), 0);
  CHECK_EQ(guest.pieces.used(), 0u);
  guest.queue.Publish();
  CHECK_EQ(guest.driver.used_index(), 0);
  buffers.push_back(OfferBuffers(guest, 1, 100, 2)[0]);
  CheckLanding(guest, 300, buffers, 3);
}

FACT("a batch gets buffers in order until there are no more") {
  OneQueue guest(8, kModern);
  OfferBuffers(guest, 3, 2048);
  CHECK_EQ(guest.Claim({72, 1512, 100, 72, 72}), 3u);
  guest.queue.Publish();
  CHECK_EQ(guest.driver.used_index(), 3);
  CHECK_EQ(guest.driver.used(1).bytes, 1512u);
  CHECK_EQ(guest.Claim({72}), 0u);
}

FACT("virtio 1.2 §2.7.8.2: nothing is visible to the driver before Publish") {
  OneQueue guest(8, kMerge);
  OfferBuffers(guest, 8, 100);
  CHECK_EQ(guest.Claim({72, 250}), 2u);
  CHECK_EQ(guest.driver.used_index(), 0);
  guest.queue.Publish();
  CHECK_EQ(guest.driver.used_index(), 4);
}

FACT("queues of 1, 2, 256 and 32768 wrap while buffers go round") {
  for (const uint32_t size : {1u, 2u, 256u, 32768u}) {
    OneQueue guest(size, kModern, 65000);
    const Buffer buffer = guest.NewBuffer(100);
    for (uint32_t i = 0; i < size; ++i) guest.driver.WriteDescriptor(i, buffer, kWrite);
    uint16_t offered = 0;
    for (uint32_t i = 0; i < size; ++i) guest.driver.Offer(offered++ % static_cast<uint16_t>(size));
    for (uint32_t i = 0; i < 2 * size + 1000; ++i) {
      CHECK_EQ(guest.Claim({72}), 1u);
      guest.queue.Publish();
      const UsedEntry used = guest.driver.used(static_cast<uint16_t>(65000 + i));
      CHECK_EQ(used.id, i % size);
      CHECK_EQ(used.bytes, 72u);
      guest.driver.Offer(offered++ % static_cast<uint16_t>(size));
    }
  }
}

FACT("a used element is written if it differs from that of the last lap in length or id alone") {
  OneQueue guest(1, kModern);
  OneQueue other(2, kModern);
  const Buffer buffer = guest.NewBuffer(2048);
  guest.driver.WriteDescriptor(0, buffer, kWrite);
  const uint32_t lengths[] = {72, 72, 1512, 72, 73};
  for (uint16_t lap = 0; lap < std::size(lengths); ++lap) {
    guest.driver.Offer(0);
    CHECK_EQ(guest.Claim({lengths[lap]}), 1u);
    guest.queue.Publish();
    CHECK_EQ(guest.driver.used(lap).bytes, lengths[lap]);
  }
  for (uint32_t i = 0; i < 2; ++i) other.driver.WriteDescriptor(i, other.NewBuffer(100), kWrite);
  const uint16_t heads[] = {0, 1, 1, 0, 1, 1};
  for (uint16_t turn = 0; turn < std::size(heads); ++turn) {
    other.driver.Offer(heads[turn]);
    CHECK_EQ(other.Claim({72}), 1u);
    other.queue.Publish();
    CHECK_EQ(other.driver.used(turn).id, heads[turn]);
  }
}

FACT("a descriptor that is rewritten after Claim changes nothing") {
  OneQueue guest(8, kModern);
  const std::vector<Buffer> buffers = OfferBuffers(guest, 1, 100);
  CHECK_EQ(guest.Claim({72}), 1u);
  guest.driver.WriteDescriptor(0, {kNowhere, 1}, kNext, 99);
  const std::vector<uint8_t> written = WriteInto(guest, guest.landings[0], 72);
  CHECK(guest.ram.Read(buffers[0].guest, 72) == written);
  guest.queue.Publish();
  CHECK_EQ(guest.driver.used(0).id, 0u);
}

struct Offence {
  const char* what;
  BreakReason reason;
  std::function<void(OneQueue&)> write;  // a chain that begins in descriptor 2
};

FACT("every offence of a receiveq breaks it for its own reason, after the buffers before it") {
  const std::vector<Offence> offences = {
      {"for the device to read", BreakReason::kWrongDirection,
       [](OneQueue& g) { g.driver.WriteDescriptor(2, g.NewBuffer(100), 0); }},
      {"second part for the device to read", BreakReason::kWrongDirection,
       [](OneQueue& g) {
         g.driver.WriteDescriptor(2, g.NewBuffer(100), kWrite | kNext, 3);
         g.driver.WriteDescriptor(3, g.NewBuffer(100), 0);
       }},
      {"smaller than the header", BreakReason::kBufferBelowHeader,
       [](OneQueue& g) { g.driver.WriteDescriptor(2, g.NewBuffer(11), kWrite); }},
      {"empty", BreakReason::kBufferBelowHeader,
       [](OneQueue& g) { g.driver.WriteDescriptor(2, {kNowhere, 0}, kWrite); }},
      {"nowhere", BreakReason::kAddressUnmapped,
       [](OneQueue& g) { g.driver.WriteDescriptor(2, {kNowhere, 100}, kWrite); }},
      {"ends outside", BreakReason::kAddressUnmapped,
       [](OneQueue& g) { g.driver.WriteDescriptor(2, {(5 << 20) - 71, 72}, kWrite); }},
      {"a loop", BreakReason::kChainTooLong,
       [](OneQueue& g) { g.driver.WriteDescriptor(2, g.NewBuffer(100), kWrite | kNext, 2); }},
      {"next beyond the queue", BreakReason::kNextOutOfRange,
       [](OneQueue& g) { g.driver.WriteDescriptor(2, g.NewBuffer(10), kWrite | kNext, 8); }},
      {"indirect table of odd size", BreakReason::kIndirectBadTable,
       [](OneQueue& g) { g.driver.WriteDescriptor(2, {1 << 20, 17}, kIndirect); }},
  };
  for (const uint64_t features : {kModern, kMerge}) {
    for (const Offence& offence : offences) {
      OneQueue guest(8, features);
      OfferBuffers(guest, 1, 100, 1);
      offence.write(guest);
      guest.driver.Offer(2);
      if (guest.Claim({72, 72, 72}) != 1 || guest.broken != offence.reason) {
        Fail(__FILE__, __LINE__, std::string(offence.what) + ": " + BreakReasonCode(guest.broken));
      }
      CHECK_EQ(guest.landings[0].num_buffers, 1);
      CHECK_EQ(guest.queue.base(), 1);
    }
  }
}

FACT("a head beyond the table and an avail index that jumps break a receiveq") {
  OneQueue guest(8, kMerge);
  guest.driver.Offer(8);
  CHECK_EQ(guest.Claim({72}), 0u);
  CHECK_EQ(guest.broken, BreakReason::kHeadOutOfRange);
  OneQueue jumping(8, kMerge);
  jumping.driver.PublishIndex(9);
  CHECK_EQ(jumping.Claim({72}), 0u);
  CHECK_EQ(jumping.broken, BreakReason::kAvailIndexJump);
}

FACT("an avail index that jumps between two claims does not make them more than the ring holds") {
  OneQueue guest(2, kMerge);
  OfferBuffers(guest, 1, 100);
  CHECK_EQ(guest.queue.Offered(1, &guest.broken), 1u);
  guest.driver.PublishIndex(3);
  CHECK_EQ(guest.Claim({72, 72, 72}), 1u);
  CHECK_EQ(guest.broken, BreakReason::kAvailIndexJump);
  CHECK_EQ(guest.queue.base(), 1);
}

FACT("an offence in the middle of a merge consumes nothing") {
  OneQueue guest(8, kMerge);
  OfferBuffers(guest, 2, 100);
  guest.driver.WriteDescriptor(2, {kNowhere, 100}, kWrite);
  guest.driver.Offer(2);
  CHECK_EQ(guest.Claim({250}), 0u);
  CHECK_EQ(guest.broken, BreakReason::kAddressUnmapped);
  CHECK_EQ(guest.queue.base(), 0);
  guest.queue.Publish();
  CHECK_EQ(guest.driver.used_index(), 0);
}

FACT("the header is 10 bytes for a legacy driver without merging, and 12 for every other") {
  CHECK_EQ(OneQueue(8, 0).queue.header_bytes(), 10u);
  CHECK_EQ(OneQueue(8, VIRTIO_NET_F_MRG_RXBUF).queue.header_bytes(), 12u);
  CHECK_EQ(OneQueue(8, VIRTIO_F_VERSION_1).queue.header_bytes(), 12u);
  OneQueue legacy(8, 0);
  OfferBuffers(legacy, 1, 10);
  CHECK_EQ(legacy.Claim({10}), 1u);
  CHECK_EQ(legacy.landings[0].num_buffers, 1);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
