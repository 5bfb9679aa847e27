// What captures say of the frames of a batch, and that a recorded port gets whole batches.

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <vector>

#include "core/policy/capture.h"
#include "core/policy/port_captures.h"
#include "core/policy/stages.h"
#include "driver/packet.h"
#include "test/bridge_of_guests.h"
#include "test/check.h"
#include "test/packets.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1;
constexpr uint64_t kMerge = VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF;
constexpr auto kFromGuest = Direction::kFromGuest;
constexpr auto kToGuest = Direction::kToGuest;

// Guests whose ports are recorded by one capture.
struct RecordedBridge : BridgeOfGuests {
  void Record(uint32_t number) {
    auto captures = std::make_unique<PortCaptures>();
    captures->list.push_back(capture_.get());
    port(number).policies.Swap(captures);
    FindStages(port(number));
  }
  std::vector<CapturedPacket> Take() {
    std::vector<CapturedPacket> packets;
    ReadPackets(*capture_, 1 << 20, [&](const CapturedPacket& packet) {
      CHECK_EQ(packet.marks, 0u);
      packets.push_back(packet);
    });
    return packets;
  }
  // Learns guest `number`, as from a frame of it.
  void Learn(uint32_t number) {
    uint16_t from = kNoPort;
    fdb().Learn(Fdb::Key(MacOf(number), 0), static_cast<uint16_t>(number), kSecond, &from);
  }

 private:
  const Clock clock_{true};
  std::unique_ptr<Capture> capture_ = std::make_unique<Capture>(clock_, 64, -1);
};

void CheckFates(const std::vector<CapturedPacket>& records, const std::vector<Fate>& fates,
                uint16_t port, Direction direction) {
  CHECK_EQ(records.size(), fates.size());
  for (size_t i = 0; i < fates.size(); ++i) {
    CHECK(records[i].interface == port && records[i].direction == direction);
    CHECK(records[i].fate == fates[i]);
  }
}

FACT("a recorded port gets a batch at once: its guest is called once for all frames of it") {
  RecordedBridge bridge;
  for (int i = 0; i < 2; ++i) bridge.Add(kModern).Post();
  bridge.Record(1);
  const int call = eventfd(0, EFD_NONBLOCK);
  bridge.receiveq(1).call_fd = call;
  for (uint32_t i = 0; i < 50; ++i) {
    CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 60, i)));
  }
  CHECK_EQ(bridge.Run(0), 50u);
  CHECK_EQ(bridge.guest(1).Receive().size(), 50u);
  CHECK_EQ(bridge.ToGuest(1, kNotifications), 1u);
  CheckFates(bridge.Take(), std::vector<Fate>(50, Fate::kDelivered), 1, kToGuest);
  close(call);
}

FACT("a record says why a frame of a batch ended where it came from, in the order of the batch") {
  RecordedBridge bridge;
  for (int i = 0; i < 2; ++i) bridge.Add(kModern).Post();
  bridge.Record(0);
  bridge.Learn(0);
  NetGuest& guest = bridge.guest(0);
  guest.Send(MakeFrame(MacOf(0), MacOf(0), 60));      // to itself
  guest.Send(MakeFrame(kBroadcast, MacOf(0), 61));    // goes on
  guest.Send(MakeFrame(kBroadcast, kBroadcast, 62));  // from a group
  guest.Send(MakeFrame(MacOf(9), MacOf(0), 63));      // unknown, goes on
  CHECK_EQ(bridge.Run(0), 4u);
  const std::vector<CapturedPacket> records = bridge.Take();
  CheckFates(records, {Fate::kHairpin, Fate::kUnderWay, Fate::kBadSource, Fate::kUnderWay}, 0,
             kFromGuest);
  for (uint32_t i = 0; i < 4; ++i) CHECK_EQ(records[i].bytes, 60 + i);
  CHECK_EQ(bridge.Drops(0, Fate::kHairpin), 1u);
  CHECK_EQ(bridge.Drops(0, Fate::kBadSource), 1u);
}

FACT("a record says which frame of a batch found no buffer, and which was too large for any") {
  RecordedBridge bridge;
  bridge.Add(kModern).Post();
  NetGuest& small = bridge.Add(kMerge, {512, 1, 256});
  bridge.Record(1);
  small.Post(16);
  for (const uint32_t bytes : {60u, 9000u, 300u, 9000u, 61u}) {
    CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), bytes)));
  }
  CHECK_EQ(bridge.Run(0), 5u);
  CheckFates(bridge.Take(),
             {Fate::kDelivered, Fate::kBufferTooSmall, Fate::kDelivered, Fate::kBufferTooSmall,
              Fate::kDelivered},
             1, kToGuest);
  CHECK_EQ(small.Receive().size(), 3u);
  // Twelve buffers of 256 bytes are left.
  for (uint32_t i = 0; i < 14; ++i) {
    CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 60, i)));
  }
  CHECK_EQ(bridge.Run(0), 14u);
  std::vector<Fate> fates(12, Fate::kDelivered);
  fates.resize(14, Fate::kNoBuffer);
  CheckFates(bridge.Take(), fates, 1, kToGuest);
  CHECK_EQ(bridge.Drops(1, Fate::kNoBuffer), 2u);
  CHECK_EQ(bridge.Drops(1, Fate::kBufferTooSmall), 2u);
}

FACT("frames over a guest's MTU end in front of it, those behind them arrive, records say which") {
  RecordedBridge bridge;
  for (int i = 0; i < 2; ++i) bridge.Add(kModern).Post();
  bridge.port(1).mtu_bytes = 1000;
  bridge.Record(1);
  for (const uint32_t bytes : {1014u, 1015u, 60u, 1500u, 1014u}) {
    CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), bytes)));
  }
  CHECK_EQ(bridge.Run(0), 5u);
  CHECK_EQ(bridge.guest(1).Receive().size(), 3u);
  CheckFates(bridge.Take(),
             {Fate::kDelivered, Fate::kOverMtu, Fate::kDelivered, Fate::kOverMtu, Fate::kDelivered},
             1, kToGuest);
  CHECK_EQ(bridge.Drops(1, Fate::kOverMtu), 2u);
}

FACT("a frame that was cut counts as delivered if some of it was, and else by what its parts met") {
  constexpr uint64_t kSender = kModern | VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4;
  RecordedBridge bridge;
  bridge.Add(kSender);
  NetGuest& receiver = bridge.Add(kModern);
  bridge.Record(1);
  Packet packet;
  packet.payload = Bytes(3000);
  const VirtioNetHdr header = HeaderOf(packet, VIRTIO_NET_HDR_GSO_TCPV4, 1000);
  const auto* const start = reinterpret_cast<const uint8_t*>(&header);
  Bytes bytes(start, start + sizeof(header));
  Append(&bytes, packet.Frame(Checksum::kPartial));
  const auto fate_with = [&](uint32_t buffers) {
    receiver.Post(buffers);
    CHECK(bridge.guest(0).SendRaw(bytes));
    CHECK_EQ(bridge.Run(0), 1u);
    const std::vector<CapturedPacket> records = bridge.Take();
    CHECK_EQ(records.size(), 1u);
    CHECK_EQ(records[0].bytes, bytes.size() - sizeof(header));
    return records[0].fate;
  };
  CHECK(fate_with(3) == Fate::kDelivered);
  CHECK_EQ(receiver.Receive().size(), 3u);
  CHECK(fate_with(2) == Fate::kDelivered);
  CHECK_EQ(receiver.Receive().size(), 2u);
  CHECK_EQ(bridge.Drops(1, Fate::kNoBuffer), 1u);
  CHECK(fate_with(0) == Fate::kNoBuffer);
  CHECK_EQ(bridge.Drops(1, Fate::kNoBuffer), 4u);
  bridge.port(1).mtu_bytes = 500;
  FindStages(bridge.port(1));
  CHECK(fate_with(3) == Fate::kOverMtu);
  CHECK_EQ(bridge.Drops(1, Fate::kOverMtu), 1u);
}

FACT("frames for a port that is not ready are recorded as that, and counted once each") {
  RecordedBridge bridge;
  for (int i = 0; i < 2; ++i) bridge.Add(kModern).Post();
  bridge.Record(1);
  bridge.receiveq(1).enabled = false;
  bridge.port(1).FindReceivers();
  for (uint32_t i = 0; i < 3; ++i) {
    CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 60, i)));
  }
  CHECK_EQ(bridge.Run(0), 3u);
  CheckFates(bridge.Take(), std::vector<Fate>(3, Fate::kNotReady), 1, kToGuest);
  CHECK_EQ(bridge.Drops(1, Fate::kNotReady), 3u);
  // The next batch is not taken for the last one.
  bridge.receiveq(1).enabled = true;
  bridge.port(1).FindReceivers();
  CHECK(bridge.guest(0).Send(MakeFrame(kBroadcast, MacOf(0), 60)));
  CHECK_EQ(bridge.Run(0), 1u);
  CheckFates(bridge.Take(), {Fate::kDelivered}, 1, kToGuest);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
