// What becomes of a frame: in which order it arrives, what ends it, and which counter says so.

#include "core/forward/forward.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "test/check.h"
#include "test/guests_with_buffers.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1;
constexpr uint64_t kMerge = VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF;

FACT("frames of 14 and of 65550 bytes are forwarded; a byte less or more is dropped and returned") {
  for (const uint64_t features : {uint64_t{0}, kModern}) {
    const size_t header = features == 0 ? 10 : 12;
    Guests bridge(2, features, {4, 1, 65600});
    for (const size_t bytes : {size_t{0}, size_t{1}, header - 1, header, header + 13}) {
      CHECK(bridge.guest(0).SendRaw(std::vector<uint8_t>(bytes)));
    }
    CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 14)));
    CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 65550)));
    CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 65551)));
    CHECK_EQ(bridge.Run(0), 8u);
    CHECK_EQ(bridge.guest(0).Sending(), 0u);
    const std::vector<FrameBytes> received = bridge.guest(1).Receive();
    CHECK_EQ(received.size(), 2u);
    CHECK_EQ(received[0].size(), 14u);
    CHECK_EQ(received[1].size(), 65550u);
    CHECK_EQ(bridge.Drops(0, Fate::kTooShort), 5u);
    CHECK_EQ(bridge.Drops(0, Fate::kTooLong), 1u);
  }
}

FACT("a header that asks for what was not negotiated costs that frame only") {
  constexpr uint8_t kNeedsChecksum = 1;
  constexpr uint8_t kTcp4 = 1;
  Guests bridge(2);
  bridge.guest(0).SetHeader(kNeedsChecksum, 0);
  CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 60)));
  bridge.guest(0).SetHeader(0, kTcp4);
  CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 60), 5));
  bridge.guest(0).SetHeader(0, 0);
  CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 60)));
  CHECK_EQ(bridge.Run(0), 3u);
  CHECK_EQ(bridge.Received(1), 1u);
  CHECK_EQ(bridge.Drops(0, Fate::kBadHeader), 2u);
  CHECK_EQ(bridge.FromGuest(0, kFrames), 1u);
}

FACT("frames arrive in the order in which they were sent, over many batches and destinations") {
  Guests bridge(4);
  for (uint32_t port = 0; port < 4; ++port) bridge.Learn(port);
  std::vector<uint32_t> last(4, 0);
  uint32_t sent = 0;
  uint32_t received = 0;
  while (received < 5000) {
    while (sent < 5000) {
      if (!bridge.guest(0).Send(MakeFrame(MacOf(1 + sent % 3), MacOf(0), 60, sent + 1),
                                1 + sent % 4))
        break;
      ++sent;
    }
    CHECK(bridge.Run(0) > 0);
    for (uint32_t port = 1; port < 4; ++port) {
      for (const FrameBytes& frame : bridge.guest(port).Receive()) {
        const uint32_t number =
            static_cast<uint32_t>(frame[14]) << 24 | frame[15] << 16 | frame[16] << 8 | frame[17];
        CHECK_EQ((number - 1) % 3 + 1, port);
        CHECK(number > last[port]);
        last[port] = number;
        ++received;
      }
      bridge.guest(port).Post();
    }
  }
  CHECK_EQ(received, 5000u);
}

FACT("every frame is in exactly one counter") {
  Guests bridge(3);
  bridge.Learn(0);
  bridge.Learn(1);
  constexpr uint32_t kRounds = 50;
  for (uint32_t round = 0; round < kRounds; ++round) {
    NetGuest& guest = bridge.guest(0);
    guest.Send(MakeFrame(MacOf(1), MacOf(0), 60));    // one place
    guest.Send(MakeFrame(kBroadcast, MacOf(0), 60));  // two places
    guest.Send(MakeFrame(MacOf(0), MacOf(0), 60));    // hairpin
    guest.Send(MakeFrame(MacOf(1), kBroadcast, 60));  // bad source
    guest.Send(MakeFrame(MacOf(1), MacOf(0), 4000));  // too large for its buffer
    guest.SendRaw(std::vector<uint8_t>(20));          // too short
    CHECK_EQ(bridge.Run(0), 6u);
  }
  // 128 buffers each and none posted again: guest 1 runs out of them, guest 2 does not.
  const auto from = [&](Fate fate) { return bridge.Drops(0, fate); };
  CHECK_EQ(bridge.FromGuest(0, kFrames), 5 * kRounds);
  CHECK_EQ(from(Fate::kTooShort), kRounds);
  CHECK_EQ(from(Fate::kHairpin), kRounds);
  CHECK_EQ(from(Fate::kBadSource), kRounds);
  CHECK_EQ(bridge.FromGuest(0, kFloodedFrames), kRounds);
  CHECK_EQ(from(Fate::kNoDestination) + from(Fate::kBadHeader) + from(Fate::kTooLong), 0u);
  CHECK_EQ(bridge.ToGuest(1, kFrames) + bridge.Drops(1, Fate::kNoBuffer) +
               bridge.Drops(1, Fate::kBufferTooSmall),
           3 * kRounds);
  CHECK_EQ(bridge.ToGuest(1, kFrames), 2 * kRounds);
  CHECK_EQ(bridge.Drops(1, Fate::kBufferTooSmall), kRounds);
  CHECK_EQ(bridge.ToGuest(2, kFrames), kRounds);
  CHECK_EQ(bridge.Received(1), 2 * kRounds);
}

FACT("a receiver without buffers loses its own frames, and takes new ones once it has some") {
  Guests bridge(3);
  bridge.Add(kModern);  // guest 3 posts nothing
  for (uint32_t number = 0; number < 10; ++number) {
    bridge.SendAndRun(0, kBroadcast, MacOf(0), number);
  }
  CHECK_EQ(bridge.Received(1), 10u);
  CHECK_EQ(bridge.Received(2), 10u);
  CHECK_EQ(bridge.Drops(3, Fate::kNoBuffer), 10u);
  CHECK_EQ(bridge.guest(3).Post(4), 4u);
  for (uint32_t number = 0; number < 10; ++number) {
    bridge.SendAndRun(0, kBroadcast, MacOf(0), number);
  }
  CHECK_EQ(bridge.Received(3), 4u);
  CHECK_EQ(bridge.Drops(3, Fate::kNoBuffer), 16u);
  CHECK_EQ(bridge.Received(1), 10u);
}

FACT("a receiver with too few buffers to merge holds nobody up and loses nothing later") {
  Guests bridge(2);
  NetGuest& small = bridge.Add(kMerge, {512, 1, 256});
  small.Post(2);
  CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 1500)));
  CHECK_EQ(bridge.Run(0), 1u);
  CHECK_EQ(bridge.Received(1), 1u);
  CHECK_EQ(small.Receive().size(), 0u);
  CHECK_EQ(bridge.Drops(2, Fate::kNoBuffer), 1u);
  small.Post();
  const FrameBytes frame = MakeFrame(kBroadcast, MacOf(0), 1500, 1);
  CHECK(bridge.guest(0).Send(frame));
  CHECK_EQ(bridge.Run(0), 1u);
  const std::vector<FrameBytes> received = small.Receive();
  CHECK_EQ(received.size(), 1u);
  CHECK(received[0] == frame);
}

FACT("a frame larger than all that is offered is dropped alone, and those behind it arrive") {
  Guests bridge(2);
  NetGuest& small = bridge.Add(kMerge, {512, 1, 256});
  small.Post(16);
  for (const uint64_t destination : {kBroadcast, MacOf(2)}) {
    const FrameBytes behind[] = {MakeFrame(destination, MacOf(0), 60, 1),
                                 MakeFrame(destination, MacOf(0), 300, 2),
                                 MakeFrame(destination, MacOf(0), 60, 4)};
    CHECK(bridge.guest(0).Send(MakeFrame(destination, MacOf(0), 9000)));
    CHECK(bridge.guest(0).Send(behind[0]));
    CHECK(bridge.guest(0).Send(behind[1]));
    CHECK(bridge.guest(0).Send(MakeFrame(destination, MacOf(0), 9000, 3), 5));
    CHECK(bridge.guest(0).Send(behind[2]));
    const uint64_t unfit = bridge.Drops(2, Fate::kBufferTooSmall);
    CHECK_EQ(bridge.Run(0), 5u);
    const std::vector<FrameBytes> received = small.Receive();
    CHECK_EQ(received.size(), 3u);
    for (size_t i = 0; i < 3; ++i) CHECK(received[i] == behind[i]);
    CHECK_EQ(bridge.Drops(2, Fate::kBufferTooSmall) - unfit, 2u);
    CHECK_EQ(bridge.Drops(2, Fate::kNoBuffer), 0u);
    small.Post(4);
    // From now on its address is known.
    CHECK(small.Send(MakeFrame(MacOf(0), MacOf(2), 60)));
    CHECK_EQ(bridge.Run(2), 1u);
  }
}

FACT("a frame of a size that arrived before counts as without a buffer, not as too large") {
  Guests bridge(2);
  NetGuest& small = bridge.Add(kMerge, {512, 1, 256});
  small.Post(60);
  for (uint32_t number = 0; number < 2; ++number) {
    CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 9000, number)));
  }
  CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 60, 2)));
  CHECK_EQ(bridge.Run(0), 3u);
  CHECK_EQ(small.Receive().size(), 2u);
  CHECK_EQ(bridge.Drops(2, Fate::kNoBuffer), 1u);
  CHECK_EQ(bridge.Drops(2, Fate::kBufferTooSmall), 0u);
}

FACT("a batch of the longest frames into the smallest merged buffers needs several claims") {
  Guests bridge(2, kMerge, {512, 1, 2048});
  for (uint32_t number = 0; number < 12; ++number) {
    CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 65550, number), 8));
  }
  CHECK_EQ(bridge.Run(0), 12u);
  const std::vector<FrameBytes> received = bridge.guest(1).Receive();
  CHECK_EQ(received.size(), 12u);
  for (uint32_t number = 0; number < 12; ++number) {
    CHECK(received[number] == MakeFrame(kBroadcast, MacOf(0), 65550, number));
  }
}

FACT("a broken receiveq is reported once and drops at its port; the others go on") {
  Guests bridge(3);
  SplitDriver& driver = bridge.guest(1).receiveq();
  driver.PublishIndex(static_cast<uint16_t>(driver.avail_index() + 2000));
  const int err = eventfd(0, EFD_NONBLOCK);
  bridge.receiveq(1).err_fd = err;
  for (int i = 0; i < 200; ++i) bridge.SendAndRun(0, kBroadcast, MacOf(0));
  uint64_t signals = 0;
  CHECK_EQ(read(err, &signals, sizeof(signals)), 8);
  CHECK_EQ(signals, 1u);
  close(err);
  CHECK_EQ(bridge.receiveq(1).broken.load(), BreakReason::kAvailIndexJump);
  CHECK_EQ(bridge.ToGuest(1, kFrames) + bridge.Drops(1, Fate::kNotReady), 200u);
  CHECK_EQ(bridge.ToGuest(2, kFrames) + bridge.Drops(2, Fate::kNoBuffer), 200u);
  CHECK_EQ(bridge.Received(2), 128u);
  uint32_t reports = 0;
  for (const Event& event : bridge.Events()) {
    if (event.type != Event::Type::kQueueBroken) continue;
    CHECK_EQ(event.port, 1);
    CHECK_EQ(event.queue, 0);
    CHECK_EQ(event.reason, BreakReason::kAvailIndexJump);
    ++reports;
  }
  CHECK_EQ(reports, 1u);
  // Its transmitq is another queue and still forwards.
  bridge.SendAndRun(1, kBroadcast, MacOf(1));
  CHECK_EQ(bridge.Received(0), 1u);
}

FACT("a descriptor loop breaks only that transmitq, after the frames before it") {
  Guests bridge(2);
  CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 60)));
  SplitDriver& driver = bridge.guest(0).transmitq();
  driver.WriteDescriptor(500, {1 << 20, 60}, SplitDriver::kNext, 500);
  driver.Offer(500);
  CHECK_EQ(bridge.Run(0), 1u);
  CHECK_EQ(bridge.transmitq(0).broken.load(), BreakReason::kChainTooLong);
  CHECK_EQ(bridge.Run(0), 0u);
  CHECK_EQ(bridge.Received(1), 1u);
  bridge.SendAndRun(1, kBroadcast, MacOf(1));
  CHECK_EQ(bridge.Received(0), 1u);
}

FACT("a receiveq that is not enabled or not started counts what it misses") {
  Guests bridge(2);
  bridge.receiveq(1).enabled = false;
  bridge.SendAndRun(0, kBroadcast, MacOf(0));
  bridge.receiveq(1).enabled = true;
  bridge.receiveq(1).started = false;
  bridge.SendAndRun(0, kBroadcast, MacOf(0));
  CHECK_EQ(bridge.Drops(1, Fate::kNotReady), 2u);
  CHECK_EQ(bridge.Received(1), 0u);
}

// Whether guests 1 and 2 still exchange frames, and guest 0 is reported lost exactly once.
void CheckOnlyFirstIsLost(Guests& bridge) {
  for (uint32_t queue = 0; queue < 2; ++queue) {
    CHECK_EQ(bridge.port(0).queues[queue].broken.load(), BreakReason::kMemoryLost);
  }
  uint32_t reports = 0;
  for (const Event& event : bridge.Events()) {
    if (event.type == Event::Type::kMemoryLost) ++reports;
  }
  CHECK_EQ(reports, 1u);
  bridge.Received(1);
  bridge.Received(2);
  for (uint32_t number = 0; number < 10; ++number) {
    bridge.SendAndRun(1, kBroadcast, MacOf(1), number);
    bridge.SendAndRun(2, kBroadcast, MacOf(2), number);
  }
  CHECK_EQ(bridge.Received(1), 10u);
  CHECK_EQ(bridge.Received(2), 10u);
}

FACT("a receiver whose memory file is truncated is lost alone") {
  Guests bridge(3);
  bridge.guest(0).ram().TruncateFile(0, 0);
  bridge.SendAndRun(1, kBroadcast, MacOf(1));
  CheckOnlyFirstIsLost(bridge);
}

FACT("a sender whose memory file is truncated is lost alone, even with nothing to send") {
  Guests bridge(3);
  bridge.guest(0).ram().TruncateFile(0, 0);
  CHECK_EQ(bridge.Run(0), 0u);
  CheckOnlyFirstIsLost(bridge);
}

FACT("virtio 1.2 §2.7.7: one batch makes one call on each side, and none when not wanted") {
  Guests bridge(2);
  const int sender_call = eventfd(0, EFD_NONBLOCK);
  const int receiver_call = eventfd(0, EFD_NONBLOCK);
  bridge.transmitq(0).call_fd = sender_call;
  bridge.receiveq(1).call_fd = receiver_call;
  const auto signals = [](int fd) {
    uint64_t count = 0;
    return read(fd, &count, sizeof(count)) == 8 ? count : 0;
  };
  for (int i = 0; i < 20; ++i) bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 60));
  CHECK_EQ(bridge.Run(0), 20u);
  CHECK_EQ(signals(sender_call), 1u);
  CHECK_EQ(signals(receiver_call), 1u);
  bridge.guest(0).transmitq().WriteAvailFlags(1);
  bridge.guest(1).receiveq().WriteAvailFlags(1);
  bridge.SendAndRun(0, kBroadcast, MacOf(0));
  CHECK_EQ(signals(sender_call), 0u);
  CHECK_EQ(signals(receiver_call), 0u);
  CHECK_EQ(bridge.FromGuest(0, kNotifications), 1u);
  CHECK_EQ(bridge.ToGuest(1, kNotifications), 1u);
  close(sender_call);
  close(receiver_call);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
