// When the driver is called, and how the driver learns whether to kick.
//
// Sources: virtio 1.2 §2.7.7 (used buffer notification suppression), §2.7.10 (available buffer
// notification suppression).

#include "test/check.h"
#include "test/one_queue.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kFlags = VIRTIO_F_VERSION_1;
constexpr uint64_t kEventIdx = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX;
constexpr uint16_t kNoInterrupt = 1;
constexpr uint16_t kNoNotify = 1;

// Passes `count` chains through the queue: the used index moves by as many at once.
void PassChains(OneQueue& guest, uint32_t count) {
  guest.driver.WriteDescriptor(0, {1 << 20, 60}, 0);
  for (uint32_t i = 0; i < count; ++i) guest.driver.Put(0);
  guest.driver.Publish();
  CHECK_EQ(guest.Take(), count);
  guest.queue.Return(guest.chains, count);
}

FACT("virtio 1.2 §2.7.7: without EVENT_IDX a call is wanted unless the driver says no") {
  OneQueue guest(256, kFlags);
  PassChains(guest, 3);
  CHECK(guest.queue.CallWanted());
  guest.driver.WriteAvailFlags(kNoInterrupt);
  PassChains(guest, 3);
  CHECK(!guest.queue.CallWanted());
  guest.driver.WriteAvailFlags(0);
  PassChains(guest, 1);
  CHECK(guest.queue.CallWanted());
}

FACT("virtio 1.2 §2.7.7: with EVENT_IDX a call is wanted once used_event is passed, also at wrap") {
  for (const uint16_t start : {uint16_t{0}, uint16_t{65530}, uint16_t{65535}, uint16_t{32767}}) {
    for (int ahead = 0; ahead < 8; ++ahead) {
      OneQueue guest(256, kEventIdx, start);
      // The entry after whose use the driver wants to hear is number start + ahead.
      guest.driver.WriteUsedEvent(static_cast<uint16_t>(start + ahead));
      PassChains(guest, 4);
      CHECK_EQ(guest.queue.CallWanted(), ahead < 4);
      PassChains(guest, 4);
      CHECK_EQ(guest.queue.CallWanted(), ahead >= 4);
      PassChains(guest, 4);
      CHECK(!guest.queue.CallWanted());
    }
  }
}

FACT("with EVENT_IDX the interrupt flag does not count") {
  OneQueue guest(256, kEventIdx);
  guest.driver.WriteAvailFlags(kNoInterrupt);
  guest.driver.WriteUsedEvent(0);
  PassChains(guest, 1);
  CHECK(guest.queue.CallWanted());
}

FACT("a call is not wanted twice for the same used buffers") {
  OneQueue guest(256, kEventIdx);
  guest.driver.WriteUsedEvent(0);
  PassChains(guest, 1);
  CHECK(guest.queue.CallWanted());
  CHECK(!guest.queue.CallWanted());
}

FACT("virtio 1.2 §2.7.10: without EVENT_IDX, NO_NOTIFY is set from the start and with kicks off") {
  OneQueue guest(256, kFlags);
  CHECK_EQ(guest.driver.used_flags(), kNoNotify);
  guest.queue.EnableKicks();
  CHECK_EQ(guest.driver.used_flags(), 0);
  guest.queue.DisableKicks();
  CHECK_EQ(guest.driver.used_flags(), kNoNotify);
}

FACT("virtio 1.2 §2.7.10: with EVENT_IDX the next chain after EnableKicks is kicked") {
  for (const uint16_t start : {uint16_t{0}, uint16_t{65533}, uint16_t{65535}}) {
    OneQueue guest(256, kEventIdx, start);
    PassChains(guest, 3);
    guest.queue.EnableKicks();
    const uint16_t before = guest.driver.avail_index();
    guest.driver.Offer(0);
    CHECK(guest.driver.WantsKick(before, true));
    CHECK_EQ(guest.Take(), 1u);
    guest.queue.Return(guest.chains, 1);
    guest.queue.DisableKicks();
    const uint16_t after = guest.driver.avail_index();
    guest.driver.Offer(0);
    CHECK(!guest.driver.WantsKick(after, true));
  }
}

FACT("with EVENT_IDX the used ring's flags stay 0, as the specification demands") {
  OneQueue guest(256, kEventIdx);
  CHECK_EQ(guest.driver.used_flags(), 0);
  guest.queue.EnableKicks();
  guest.queue.DisableKicks();
  CHECK_EQ(guest.driver.used_flags(), 0);
}

FACT("rings that moved go on where they were") {
  OneQueue guest(256, kEventIdx, 65535);
  PassChains(guest, 3);
  guest.memory = guest.ram.Map(&guest.lost);
  guest.queue.Move(guest.driver.RingsIn(*guest.memory));
  guest.driver.WriteUsedEvent(2);
  PassChains(guest, 3);
  CHECK_EQ(guest.driver.used_index(), 5);
  CHECK_EQ(guest.queue.base(), 5);
  CHECK(guest.queue.CallWanted());
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
