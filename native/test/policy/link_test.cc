// What one impaired link decides, frame by frame, and the pool that holds frames back.

#include "core/policy/link.h"

#include <algorithm>
#include <vector>

#include "core/policy/held_frames.h"
#include "core/policy/stages.h"
#include "core/port/port.h"
#include "driver/guest_ram.h"
#include "test/check.h"
#include "test/net_guest.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr uint32_t kFrames = 100'000;

LinkSettings Seeded(uint64_t seed) {
  LinkSettings settings = {};
  settings.seed = seed;
  return settings;
}

std::vector<bool> LossesOf(const LinkSettings& settings, uint32_t frames = kFrames) {
  Link link(settings);
  std::vector<bool> lost;
  for (uint32_t i = 0; i < frames; ++i) {
    lost.push_back(link.Judge(60, false, i).fate == Fate::kLost);
  }
  return lost;
}

FACT("a link with nothing set passes every frame at once") {
  Link link(Seeded(1));
  for (uint32_t i = 0; i < 1000; ++i) {
    const Verdict verdict = link.Judge(14 + i * 60, false, i);
    CHECK(verdict.fate == Fate::kUnderWay);
    CHECK_EQ(verdict.due_ns, i);
    CHECK(!verdict.duplicated && !verdict.reordered && !verdict.corrupted);
  }
}

FACT("the same seed loses the same frames, another seed others, both about as many as asked for") {
  LinkSettings settings = Seeded(7);
  settings.loss_good = 0.05;
  const std::vector<bool> losses = LossesOf(settings);
  CHECK(losses == LossesOf(settings));
  settings.seed = 8;
  const std::vector<bool> others = LossesOf(settings);
  CHECK(losses != others);
  for (const auto& list : {losses, others}) {
    // Five standard deviations of a binomial distribution are 345.
    const auto count = std::count(list.begin(), list.end(), true);
    CHECK(count > 5000 - 345 && count < 5000 + 345);
  }
}

FACT("probabilities 0 and 1 are never and always") {
  LinkSettings settings = Seeded(3);
  for (const uint32_t share : {0, 1}) {
    settings.loss_good = share;
    const std::vector<bool> losses = LossesOf(settings);
    CHECK_EQ(std::count(losses.begin(), losses.end(), true), share * kFrames);
  }
}

FACT("what else a link does to frames changes nothing about which it loses") {
  LinkSettings settings = Seeded(7);
  settings.loss_good = 0.05;
  const std::vector<bool> losses = LossesOf(settings);
  settings.delay_ns = 5 * kMs;
  settings.jitter_ns = 2 * kMs;
  settings.duplicate = settings.corrupt = settings.reorder = 0.1;
  settings.reorder_ns = kMs;
  CHECK(losses == LossesOf(settings));
}

FACT("losses of a Gilbert-Elliott link come in bursts as long as its bad times") {
  LinkSettings settings = Seeded(11);
  settings.turns_bad = 0.01;
  settings.turns_good = 0.2;
  settings.loss_bad = 1;
  const std::vector<bool> losses = LossesOf(settings, 10 * kFrames);
  uint32_t lost = 0, bursts = 0;
  for (size_t i = 0; i < losses.size(); ++i) {
    lost += losses[i];
    bursts += losses[i] && (i == 0 || !losses[i - 1]);
  }
  const double length = static_cast<double>(lost) / bursts;
  CHECK(length > 4.8 && length < 5.2);
  const double share = static_cast<double>(lost) / static_cast<double>(losses.size());
  CHECK(share > 0.0455 && share < 0.0497);  // 0.01 / 0.21
}

FACT("a rate spaces frames by their length, and drops what its queue has no room for") {
  LinkSettings settings = Seeded(1);
  settings.bits_per_second = 8'000'000;  // a byte a microsecond
  settings.queue_bytes = 3000;
  Link link(settings);
  for (uint32_t i = 1; i <= 4; ++i) CHECK_EQ(link.Judge(1000, false, 0).due_ns, i * kMs);
  CHECK(link.Judge(1000, false, 0).fate == Fate::kOverRate);
  // A millisecond later one of them is gone.
  CHECK_EQ(link.Judge(1000, false, 1 * kMs).due_ns, 5 * kMs);
  CHECK(link.Judge(14, false, 1 * kMs).fate == Fate::kOverRate);
  CHECK_EQ(link.Judge(1000, false, 100 * kMs).due_ns, 101 * kMs);
}

FACT("jitter stays within its bounds, uses all of them, and alone reorders nothing") {
  LinkSettings settings = Seeded(5);
  settings.delay_ns = 10 * kMs;
  settings.jitter_ns = 4 * kMs;
  Link link(settings);
  uint64_t last_ns = 0, least_ns = ~0ull, most_ns = 0;
  for (uint64_t now_ns = 0; now_ns < 100'000 * kMs; now_ns += 10 * kMs) {
    const uint64_t due_ns = link.Judge(60, false, now_ns).due_ns;
    CHECK(due_ns >= last_ns);
    last_ns = due_ns;
    least_ns = std::min(least_ns, due_ns - now_ns);
    most_ns = std::max(most_ns, due_ns - now_ns);
  }
  CHECK(least_ns >= 6 * kMs && least_ns < 6 * kMs + 10'000);
  CHECK(most_ns <= 14 * kMs && most_ns > 14 * kMs - 10'000);
}

FACT("a reordered frame is late, and those behind it are not") {
  LinkSettings settings = Seeded(9);
  settings.delay_ns = 2 * kMs;
  settings.reorder = 0.25;
  settings.reorder_ns = 3 * kMs;
  Link link(settings);
  uint32_t reordered = 0;
  for (uint64_t now_ns = 0; now_ns < 10'000; ++now_ns) {
    const Verdict verdict = link.Judge(60, false, now_ns);
    CHECK_EQ(verdict.due_ns, now_ns + (verdict.reordered ? 5 : 2) * kMs);
    reordered += verdict.reordered;
  }
  CHECK(reordered > 2250 && reordered < 2750);
}

FACT("frames over the MTU are dropped, a VLAN tag not counted, and a blackhole drops everything") {
  LinkSettings settings = Seeded(1);
  settings.frame_bytes_max = 1514;
  Link link(settings);
  CHECK(link.Judge(1514, false, 0).fate == Fate::kUnderWay);
  CHECK(link.Judge(1515, false, 0).fate == Fate::kOverMtu);
  CHECK(link.Judge(1518, true, 0).fate == Fate::kUnderWay);
  CHECK(link.Judge(1519, true, 0).fate == Fate::kOverMtu);
  settings.blackhole = true;
  link.Set(settings);
  CHECK(link.Judge(60, false, 0).fate == Fate::kBlackhole);
}

// A pool and a frame for it, of two pieces and some private bytes.
struct Pool {
  explicit Pool(uint32_t frames) : held(frames), bytes(70'000) {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 31 >> 3);
    transmitq.port = &port;
  }
  Parcel Frame(uint32_t length) {
    const uint32_t before = length / 3;
    pieces[0] = {bytes.data(), before};
    pieces[1] = {bytes.data() + before + 4, length - before - 4};
    Parcel parcel = {};
    parcel.before = {&pieces[0], 0, before};
    parcel.private_bytes = 4;
    std::copy_n(bytes.data() + before, 4, parcel.private_data);
    parcel.after = {&pieces[1], 0, length - before - 4};
    return parcel;
  }
  bool Hold(uint32_t length, uint64_t due_ns, uint32_t corrupted_bit = HeldFrames::kNoBit) {
    return held.Hold(Frame(length), corrupted_bit, due_ns, hop);
  }
  std::vector<uint8_t> BytesOf(const HeldFrame& frame) {
    store.Clear();
    std::vector<uint8_t> copy(frame.bytes);
    Gather(held.Body(frame, store), copy.data(), frame.bytes);
    return copy;
  }
  HeldFrames held;
  std::vector<uint8_t> bytes;
  Piece pieces[2];
  PieceStore store;
  Port port{1};
  Queue transmitq;
  Hop hop = {.stage = BitOf(Ingress::kFromGuestLink), .from = &transmitq, .to = nullptr};
};

FACT("frames of every length come back whole, those due first first, and in order among equals") {
  Pool pool(256);
  uint32_t length = 14;
  std::vector<std::vector<uint8_t>> expected;
  for (uint32_t round = 0; round < 200; ++round) {
    for (uint32_t i = 0; i < 5; ++i) {
      CHECK(pool.Hold(length + i, 100 - i / 2));
    }
    CHECK_EQ(pool.held.next_due_ns(), 98u);
    for (const uint32_t i : {4u, 2u, 3u, 0u, 1u}) {
      HeldFrame frame;
      CHECK(!pool.held.TakeDue(97, &frame));
      CHECK(pool.held.TakeDue(100, &frame));
      CHECK_EQ(frame.bytes, length + i);
      CHECK(std::equal(pool.bytes.begin(), pool.bytes.begin() + frame.bytes,
                       pool.BytesOf(frame).begin()));
      pool.held.Free(frame);
    }
    length = 14 + (length * 7919 + round) % 65500;
  }
  CHECK_EQ(pool.held.next_due_ns(), HeldFrames::kNever);
}

FACT("the pool takes as many frames as it is made for, and as many again when they are freed") {
  Pool pool(64);
  for (uint32_t round = 0; round < 3; ++round) {
    uint32_t small = 0;
    while (pool.Hold(HeldFrames::kChunkBytes, small)) ++small;
    CHECK_EQ(small, 64u);
    HeldFrame frame;
    for (uint32_t i = 0; i < 64; ++i) {
      CHECK(pool.held.TakeDue(64, &frame));
      pool.held.Free(frame);
    }
    CHECK(pool.Hold(65550, 0));   // 33 chunks
    CHECK(!pool.Hold(65550, 0));  // 31 are left
    CHECK(pool.Hold(31 * HeldFrames::kChunkBytes, 0));
    CHECK(!pool.Hold(14, 0));
    while (pool.held.TakeDue(0, &frame)) pool.held.Free(frame);
  }
}

FACT("a spoilt bit is inverted wherever it lies, and nothing else is") {
  Pool pool(64);
  for (const uint32_t bit : {0u, 7u, 2048u * 8, 5000u * 8 + 3, 6000u * 8 - 1}) {
    CHECK(pool.Hold(6000, 0, bit));
    HeldFrame frame;
    CHECK(pool.held.TakeDue(0, &frame));
    std::vector<uint8_t> copy = pool.BytesOf(frame);
    copy[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    CHECK(std::equal(copy.begin(), copy.end(), pool.bytes.begin()));
    pool.held.Free(frame);
  }
}

FACT("frames of a port are forgotten, those of a transmitq handed over, others keep their order") {
  Pool pool(64);
  HeldFrames other(3);
  Port leaving{1};
  const Hop to_leaving = {.stage = BitOf(Egress::kToGuestLink), .from = nullptr, .to = &leaving};
  const Hop to_staying = {.stage = BitOf(Egress::kToGuestLink), .from = nullptr, .to = &pool.port};
  for (uint32_t i = 0; i < 5; ++i) {
    CHECK(pool.held.Hold(pool.Frame(100 + i), HeldFrames::kNoBit, 50 - i, to_leaving));
    CHECK(pool.held.Hold(pool.Frame(200 + i), HeldFrames::kNoBit, 50 - i, to_staying));
    CHECK(pool.Hold(300 + i, 50 - i));
  }
  pool.held.Forget(leaving);
  CHECK_EQ(pool.held.count(), 10u);
  CHECK_EQ(pool.held.GiveTo(other, &pool.transmitq), 2u);
  for (const uint32_t i : {4u, 3u, 2u, 1u, 0u}) {
    HeldFrame frame;
    CHECK(pool.held.TakeDue(50, &frame));
    CHECK_EQ(frame.bytes, 200 + i);
    pool.held.Free(frame);
    if (i < 2) continue;
    CHECK(other.TakeDue(50, &frame));
    CHECK_EQ(frame.bytes, 300 + i);
    CHECK(frame.hop == pool.hop);
  }
  CHECK_EQ(pool.held.count() + other.count(), 0u);
  // Everything that was forgotten can be used again.
  for (uint32_t i = 0; i < 64; ++i) CHECK(pool.Hold(2048, 0));
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
