// A bridge of guests that wait for frames, and that a test sends one at a time.

#pragma once

#include "test/bridge_of_guests.h"
#include "test/check.h"

namespace tsvswitch {

// `count` guests with buffers posted; guest i's address is MacOf(i) and not yet known.
struct Guests : BridgeOfGuests {
  explicit Guests(uint32_t count, uint64_t features = VIRTIO_F_VERSION_1,
                  const ReceiveShape& shape = {}) {
    for (uint32_t i = 0; i < count; ++i) Add(features, shape).Post();
  }
  // Makes the bridge know guest `number`, as a frame from it would.
  void Learn(uint32_t number) {
    uint16_t from = kNoPort;
    fdb().Learn(Fdb::Key(MacOf(number), 0), static_cast<uint16_t>(number), kSecond, &from);
  }
  // Sends one frame of 60 bytes and runs a round of its sender.
  void SendAndRun(uint32_t from, uint64_t destination, uint64_t source, uint32_t number = 0) {
    CHECK(guest(from).Send(MakeFrame(destination, source, 60, number)));
    CHECK_EQ(Run(from), 1u);
    CHECK_EQ(guest(from).Sending(), 0u);
  }
  size_t Received(uint32_t number) { return guest(number).Receive().size(); }
};

}  // namespace tsvswitch
