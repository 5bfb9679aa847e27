// Where a frame goes: what is learned from it, and what the forwarding database says of it.

#include "core/forward/route.h"

#include "test/check.h"
#include "test/guests_with_buffers.h"

namespace tsvswitch {
namespace {

FACT("a frame for a known address goes to its port only") {
  Guests bridge(3);
  bridge.Learn(1);
  const FrameBytes frame = MakeFrame(MacOf(1), MacOf(0), 60);
  CHECK(bridge.guest(0).Send(frame));
  CHECK_EQ(bridge.Run(0), 1u);
  const std::vector<FrameBytes> received = bridge.guest(1).Receive();
  CHECK_EQ(received.size(), 1u);
  CHECK(received[0] == frame);
  CHECK_EQ(bridge.Received(0), 0u);
  CHECK_EQ(bridge.Received(2), 0u);
  CHECK_EQ(bridge.FromGuest(0, kFrames), 1u);
  CHECK_EQ(bridge.FromGuest(0, kBytes), 60u);
  CHECK_EQ(bridge.FromGuest(0, kFloodedFrames), 0u);
  CHECK_EQ(bridge.ToGuest(1, kFrames), 1u);
  CHECK_EQ(bridge.ToGuest(1, kBytes), 60u);
}

FACT("unknown and group destinations go to every other port once, and never back") {
  for (const uint64_t destination : {MacOf(99), kBroadcast, uint64_t{0x0100'5e00'0001}}) {
    Guests bridge(4);
    bridge.SendAndRun(2, destination, MacOf(2));
    for (uint32_t port = 0; port < 4; ++port) CHECK_EQ(bridge.Received(port), port == 2 ? 0u : 1u);
    CHECK_EQ(bridge.FromGuest(2, kFloodedFrames), 1u);
  }
}

FACT("what a queue remembers of its destination ends with the entry, also within the second") {
  Guests bridge(4);
  bridge.Learn(1);
  const auto to_guest_1 = [&] { bridge.SendAndRun(0, MacOf(1), MacOf(0)); };
  to_guest_1();
  to_guest_1();
  CHECK_EQ(bridge.Received(1), 2u);
  // It moves.
  bridge.SendAndRun(2, kBroadcast, MacOf(1));
  for (uint32_t port = 0; port < 4; ++port) bridge.Received(port);
  to_guest_1();
  CHECK_EQ(bridge.Received(2), 1u);
  CHECK_EQ(bridge.Received(1), 0u);
  // Frames to it end.
  CHECK(bridge.fdb().Set(
      {.mac = MacOf(1), .vlan = 0, .port = kNoPort, .via = 0, .flags = kFdbDrop, .seen_s = 0}));
  to_guest_1();
  CHECK_EQ(bridge.Drops(0, Fate::kDropEntry), 1u);
  // It is on a port, is nowhere any more, is on a port again, and that is flushed.
  for (const bool flushed : {false, true}) {
    const auto set = [&](uint16_t port) {
      CHECK(bridge.fdb().Set(
          {.mac = MacOf(1), .vlan = 0, .port = port, .via = 0, .flags = 0, .seen_s = 100}));
    };
    set(3);
    to_guest_1();
    CHECK_EQ(bridge.Received(3), 1u);
    if (flushed) bridge.fdb().Flush(3);
    if (!flushed) CHECK(bridge.fdb().Remove(Fdb::Key(MacOf(1), 0)));
    to_guest_1();
    for (uint32_t port = 1; port < 4; ++port) CHECK_EQ(bridge.Received(port), 1u);
  }
}

FACT("the source of a frame is learned, announced once, and answers find it") {
  Guests bridge(3);
  bridge.SendAndRun(0, kBroadcast, MacOf(0));
  bridge.SendAndRun(0, kBroadcast, MacOf(0));
  const std::vector<Event> events = bridge.Events();
  CHECK_EQ(events.size(), 1u);
  CHECK_EQ(events[0].type, Event::Type::kMacLearned);
  CHECK_EQ(events[0].mac, MacOf(0));
  CHECK_EQ(events[0].port, 0);
  bridge.SendAndRun(1, MacOf(0), MacOf(1));
  CHECK_EQ(bridge.Received(0), 1u);
  CHECK_EQ(bridge.Received(2), 2u);  // the two broadcasts
}

FACT("an address that shows up on another port moves there, and is announced") {
  Guests bridge(3);
  bridge.SendAndRun(0, kBroadcast, MacOf(7));
  bridge.SendAndRun(1, kBroadcast, MacOf(7));
  const std::vector<Event> events = bridge.Events();
  CHECK_EQ(events.size(), 2u);
  CHECK_EQ(events[1].type, Event::Type::kMacMoved);
  CHECK_EQ(events[1].port, 1);
  CHECK_EQ(events[1].from_port, 0);
  for (uint32_t port = 0; port < 3; ++port) bridge.Received(port);
  bridge.SendAndRun(2, MacOf(7), MacOf(2));
  CHECK_EQ(bridge.Received(0), 0u);
  CHECK_EQ(bridge.Received(1), 1u);
}

FACT("a frame whose destination is on its own port is dropped there") {
  Guests bridge(2);
  bridge.Learn(0);
  bridge.SendAndRun(0, MacOf(0), MacOf(5));
  CHECK_EQ(bridge.Received(1), 0u);
  CHECK_EQ(bridge.Drops(0, Fate::kHairpin), 1u);
}

FACT("a frame from a group address or from 0 is dropped and teaches nothing") {
  for (const uint64_t source : {kBroadcast, uint64_t{0x0100'0000'0001}, uint64_t{0}}) {
    Guests bridge(2);
    bridge.SendAndRun(0, MacOf(1), source);
    CHECK_EQ(bridge.Received(1), 0u);
    CHECK_EQ(bridge.Drops(0, Fate::kBadSource), 1u);
    CHECK(bridge.fdb().Read(BridgeOfGuests::kSecond).empty());
  }
}

FACT("a frame on a bridge with no other port is dropped as having no destination") {
  Guests bridge(1);
  bridge.SendAndRun(0, kBroadcast, MacOf(0));
  CHECK_EQ(bridge.Drops(0, Fate::kNoDestination), 1u);
  CHECK_EQ(bridge.FromGuest(0, kFloodedFrames), 0u);
}

FACT("a frame to an address whose entry says drop ends where it came from, and is counted so") {
  Guests bridge(3);
  CHECK(bridge.fdb().Set({.mac = MacOf(9),
                          .vlan = 0,
                          .port = kNoPort,
                          .via = 0,
                          .flags = kFdbDrop,
                          .seen_s = BridgeOfGuests::kSecond}));
  bridge.SendAndRun(0, MacOf(9), MacOf(0));
  CHECK_EQ(bridge.Received(1) + bridge.Received(2), 0u);
  CHECK_EQ(bridge.Drops(0, Fate::kDropEntry), 1u);
  CHECK_EQ(bridge.FromGuest(0, kFloodedFrames), 0u);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
