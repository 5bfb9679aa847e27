// Which stages a port's frames go through, in which order, and that they see private bytes.

#include "core/policy/stages.h"

#include <memory>

#include "core/frame/packet_headers.h"
#include "core/policy/source_guard.h"
#include "driver/packet.h"
#include "test/check.h"
#include "test/net_guest.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kOwn = MacOf(1);
constexpr uint64_t kOther = MacOf(2);

// Frames of a bound port, before its stage and without a bridge.
struct BoundQueue {
  BoundQueue() {
    queue.port = &port;
    auto sources = std::make_unique<Sources>(SourceRule{.macs = {kOwn}, .networks = {}});
    port.policies.Swap(sources);
    FindStages(port);
    CHECK_EQ(port.ingress, BitOf(Ingress::kSourceRule));
    CHECK_EQ(port.egress, 0u);
  }
  // What becomes of it.
  Fate Judge(Frame* frame) {
    batch.Begin();
    batch.frames[0] = *frame;
    batch.count = 1;
    RunStages(port.ingress, context, queue, batch);
    *frame = batch.frames[0];
    return batch.outcomes.fate[0];
  }

  Queue queue;
  Port port{1};
  EventRing events{[](void*) {}, nullptr};
  uint64_t work = 0;
  StageContext context{events, false, work, nullptr};
  Batch batch;
};

FACT("a frame whose first piece is 3 bytes long is judged by all of its pieces") {
  BoundQueue from;
  for (const bool honest : {true, false}) {
    FrameBytes bytes = MakeFrame(kBroadcast, honest ? kOwn : kOther, 60);
    bytes[12] = 0x08;
    std::vector<Piece> pieces = {{&bytes[0], 3}, {&bytes[3], 1}, {&bytes[4], 25}, {&bytes[29], 31}};
    Frame frame = {.destination = 0, .source = 0, .body = {pieces.data(), 0, 60}, .offload = {}};
    CHECK(from.Judge(&frame) == (honest ? Fate::kUnderWay : Fate::kSpoofedMac));
  }
}

FACT("a guest that rewrites a frame after it was judged changes none of the bytes that were") {
  BoundQueue from;
  const FrameBytes good = MakeFrame(kBroadcast, kOwn, 1000);
  Scattered guest(good);
  // As parsed before the guest changed it for the first time.
  Frame frame = {.destination = 1, .source = kOther, .body = guest.slice(), .offload = {}};
  CHECK(from.Judge(&frame) == Fate::kUnderWay);
  CHECK_EQ(frame.source, kOwn);
  CHECK_EQ(frame.destination, kBroadcast);
  for (size_t at = 0; at < good.size(); ++at) *guest.at(at) = 0xee;
  Bytes delivered(good.size());
  CHECK_EQ(Gather(frame.body, delivered.data(), 1000), 1000u);
  CHECK(std::equal(good.begin(), good.begin() + kPacketHeaderBytesMax, delivered.begin()));
  CHECK_EQ(delivered[kPacketHeaderBytesMax], 0xee);
}

FACT("heads are copied once a batch, whoever asks, and anew for the next one") {
  Batch batch;
  FrameBytes bytes = MakeFrame(kBroadcast, kOwn, 60);
  const Piece piece = {bytes.data(), 60};
  for (const uint8_t value : {uint8_t{1}, uint8_t{2}}) {
    batch.Begin();
    batch.frames[0] = {.destination = 0, .source = 0, .body = {&piece, 0, 60}, .offload = {}};
    batch.count = 1;
    bytes[20] = value;
    batch.Shield();
    bytes[20] = 99;
    batch.Shield();
    CHECK_EQ(batch.head(0)[20], value);
  }
}

FACT("what has ended is left alone by the stages behind, and counted once by its fate") {
  Outcomes outcomes;
  FrameList list;
  for (uint32_t i = 0; i < kBatchFramesMax; ++i) {
    list.Append(i);
    if (i % 4 == 1) outcomes.End(i, Fate::kLost);
    if (i % 4 == 2) outcomes.End(i, Fate::kHeld);
    if (i % 4 == 3) outcomes.End(i, Fate::kSpoofedMac);
  }
  FateCounters counters;
  CountDrops(counters, outcomes, list);
  for (uint8_t fate = 0; fate < kFates; ++fate) {
    const bool counted = Fate{fate} == Fate::kLost || Fate{fate} == Fate::kSpoofedMac;
    CHECK_EQ(counters.Read(Fate{fate}), counted ? uint64_t{kBatchFramesMax / 4} : 0u);
  }
}

FACT("stages run in the order of their list") {
  CHECK_EQ(Behind(BitOf(Ingress::kSourceRule)) & BitOf(Ingress::kSourceRule), 0u);
  CHECK(BitOf(Ingress::kSourceRule) < BitOf(Ingress::kFromGuestLink));
  CHECK((Behind(BitOf(Egress::kBetweenLink)) & BitOf(Egress::kToGuestLink)) != 0);
  CHECK((Behind(BitOf(Egress::kToGuestLink)) & BitOf(Egress::kMtu)) != 0);
  CHECK_EQ(Behind(BitOf(Egress::kToGuestLink)) & BitOf(Egress::kPartition), 0u);
  // None that judges runs behind route, none behind delivery.
  CHECK_EQ(kBehindRoute & kJudgeContent, 0u);
  CHECK_EQ(kBehindRoute & (kBehindRoute - 1), 0u);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
