// Every byte of every frame arrives, whatever shape the sender and the receiver give their buffers.

#include "test/bridge_of_guests.h"
#include "test/check.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kLegacy = 0;
constexpr uint64_t kModern = VIRTIO_F_VERSION_1;
constexpr uint64_t kMerge = VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF;

constexpr uint32_t kFrameSizes[] = {14,  15,  16,  29,   30,   31,   60,   64,
                                    399, 400, 401, 1500, 1514, 9000, 65550};

// Two guests, every frame size and cut, both ways; the receivers' shape as given.
void CheckAllSizes(uint64_t features, const ReceiveShape& shape) {
  BridgeOfGuests bridge;
  bridge.Add(features, shape);
  bridge.Add(features, shape);
  uint16_t from = kNoPort;
  for (uint16_t port = 0; port < 2; ++port) {
    bridge.fdb().Learn(Fdb::Key(MacOf(port), 0), port, BridgeOfGuests::kSecond, &from);
  }
  uint32_t number = 0;
  for (const uint32_t bytes : kFrameSizes) {
    for (const uint32_t pieces : {1u, 2u, 3u, 5u, 8u}) {
      const uint32_t sender = number % 2;
      const uint32_t to = 1 - sender;
      bridge.guest(to).Post();
      const FrameBytes frame = MakeFrame(MacOf(to), MacOf(sender), bytes, ++number);
      CHECK(bridge.guest(sender).Send(frame, pieces));
      CHECK_EQ(bridge.Run(sender), 1u);
      CHECK_EQ(bridge.guest(sender).Sending(), 0u);
      const std::vector<FrameBytes> received = bridge.guest(to).Receive();
      if (received.size() != 1 || received[0] != frame) {
        Fail(__FILE__, __LINE__,
             std::to_string(received.size()) + " frames or wrong bytes: frame of " +
                 std::to_string(bytes) + " bytes in " + std::to_string(pieces) + " pieces");
      }
    }
  }
  CHECK_EQ(bridge.ToGuest(0, kFrames) + bridge.ToGuest(1, kFrames), number);
}

FACT("into one large buffer, header of 10") { CheckAllSizes(kLegacy, {8, 1, 65600}); }
FACT("into one large buffer, header of 12") { CheckAllSizes(kModern, {8, 1, 65600}); }
FACT("into chains of small buffers, header of 10") { CheckAllSizes(kLegacy, {2, 256, 300}); }
FACT("into chains of small buffers, header of 12") { CheckAllSizes(kModern, {2, 256, 300}); }
FACT("into chains whose buffers cut the header") { CheckAllSizes(kModern, {1, 512, 129}); }
FACT("into merged buffers of 1 KiB") { CheckAllSizes(kMerge, {128, 1, 1024}); }
FACT("into merged buffers of 256 bytes") { CheckAllSizes(kMerge, {512, 1, 256}); }
FACT("into merged chains of two small buffers") { CheckAllSizes(kMerge, {200, 2, 200}); }
FACT("into merged buffers where one is enough") { CheckAllSizes(kMerge, {8, 1, 65600}); }

FACT("between guests with different headers and shapes") {
  const struct {
    uint64_t features;
    ReceiveShape shape;
  } kinds[] = {{kLegacy, {8, 1, 65600}}, {kModern, {2, 256, 300}}, {kMerge, {512, 1, 256}}};
  for (const auto& sender : kinds) {
    for (const auto& receiver : kinds) {
      BridgeOfGuests bridge;
      bridge.Add(sender.features, sender.shape);
      bridge.Add(receiver.features, receiver.shape);
      for (const uint32_t bytes : kFrameSizes) {
        bridge.guest(1).Post();
        const FrameBytes frame = MakeFrame(kBroadcast, MacOf(0), bytes, bytes);
        CHECK(bridge.guest(0).Send(frame, bytes % 3 + 1));
        CHECK_EQ(bridge.Run(0), 1u);
        const std::vector<FrameBytes> received = bridge.guest(1).Receive();
        CHECK_EQ(received.size(), 1u);
        CHECK(received[0] == frame);
      }
    }
  }
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
