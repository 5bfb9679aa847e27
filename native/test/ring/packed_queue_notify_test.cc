// A packed queue and the control plane: where it starts and stops, when it calls, when it wants
// kicks.
//
// Sources: virtio 1.2 §2.8.10, §2.8.14 (event suppression); vhost-user "Vring descriptor indices
// for packed virtqueues".

#include "test/check.h"
#include "test/one_queue.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kFlags = OnePackedQueue::kModern;
constexpr uint64_t kEventIdx = kFlags | VIRTIO_F_EVENT_IDX;
using Place = PackedDriver::Place;

// Passes `count` chains through the queue: as many descriptors become used at once.
void PassChains(OnePackedQueue& guest, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    guest.driver.Offer({{1 << 20, 60}}, 0, static_cast<uint16_t>(i));
  }
  CHECK_EQ(guest.Take(), count);
  guest.queue.Return(guest.chains, count);
  guest.driver.next_used = guest.driver.next_avail;
}

FACT("virtio 1.2 §2.8.10: a call is wanted as the driver's flags say") {
  for (const uint64_t features : {kFlags, kEventIdx}) {
    OnePackedQueue guest(8, features);
    PassChains(guest, 3);
    CHECK(guest.queue.CallWanted());  // zero is RING_EVENT_FLAGS_ENABLE
    guest.driver.WriteDriverEvent(PackedDriver::kDisable);
    PassChains(guest, 3);
    CHECK(!guest.queue.CallWanted());
    guest.driver.WriteDriverEvent(PackedDriver::kEnable);
    PassChains(guest, 1);
    CHECK(guest.queue.CallWanted());
  }
}

FACT("virtio 1.2 §2.8.14: with EVENT_IDX a call is wanted when just that descriptor was used") {
  constexpr uint32_t kSize = 5;
  for (uint32_t begin = 0; begin < 2 * kSize; ++begin) {
    for (uint32_t count = 1; count <= kSize; ++count) {
      for (uint32_t ahead = 0; ahead < 2 * kSize; ++ahead) {
        OnePackedQueue guest(GuestRam::OfBytes(1 << 14), kSize, kEventIdx,
                             {begin % kSize, begin < kSize});
        Place event = guest.driver.next_used;
        event.Step(ahead, kSize);
        guest.driver.WriteDriverEvent(PackedDriver::kDescriptor, event.Word());
        PassChains(guest, count);
        CHECK_EQ(guest.queue.CallWanted(), ahead < count);
        CHECK(!guest.queue.CallWanted());  // asked for once
      }
    }
  }
}

FACT("a descriptor inside a used chain, or skipped in order, counts as used") {
  for (const uint64_t features : {kEventIdx, kEventIdx | VIRTIO_F_IN_ORDER}) {
    OnePackedQueue guest(8, features);
    guest.driver.WriteDriverEvent(PackedDriver::kDescriptor, Place{4, true}.Word());
    guest.driver.Offer({{1 << 20, 60}}, 0, 0);
    guest.driver.Offer({{1 << 20, 60}, {1 << 20, 60}}, 0, 1);
    guest.driver.Offer({{1 << 20, 60}, {1 << 20, 60}}, 0, 2);
    CHECK_EQ(guest.Take(), 3u);
    guest.queue.Return(guest.chains, 3);
    CHECK(guest.queue.CallWanted());
  }
}

FACT("an event that makes no sense is a call rather than silence") {
  OnePackedQueue without(8, kFlags);
  without.driver.WriteDriverEvent(PackedDriver::kDescriptor, Place{7, true}.Word());
  PassChains(without, 1);
  CHECK(without.queue.CallWanted());
  OnePackedQueue guest(8, kEventIdx);
  guest.driver.WriteDriverEvent(PackedDriver::kDescriptor, Place{8, true}.Word());
  PassChains(guest, 1);
  CHECK(guest.queue.CallWanted());
  guest.driver.WriteDriverEvent(3);
  PassChains(guest, 1);
  CHECK(guest.queue.CallWanted());
}

FACT("virtio 1.2 §2.8.10: kicks are wanted only between EnableKicks and DisableKicks") {
  OnePackedQueue guest(8, kFlags);
  CHECK_EQ(guest.driver.device_event_flags(), PackedDriver::kDisable);
  guest.queue.EnableKicks();
  CHECK_EQ(guest.driver.device_event_flags(), PackedDriver::kEnable);
  guest.queue.DisableKicks();
  CHECK_EQ(guest.driver.device_event_flags(), PackedDriver::kDisable);
}

FACT("virtio 1.2 §2.8.14: with EVENT_IDX a kick is wanted for the next descriptor, on its lap") {
  OnePackedQueue guest(3, kEventIdx);
  for (uint32_t i = 0; i < 7; ++i) {
    guest.queue.EnableKicks();
    CHECK_EQ(guest.driver.device_event_flags(), PackedDriver::kDescriptor);
    CHECK_EQ(guest.driver.device_event_place(), guest.driver.next_avail.Word());
    guest.queue.DisableKicks();
    CHECK_EQ(guest.driver.device_event_flags(), PackedDriver::kDisable);
    PassChains(guest, 1);
  }
}

FACT("a ring of 1 to 32768 descriptors may begin at any of them") {
  const PackedQueue queue;
  for (const uint32_t size : {1u, 3u, 1000u, 32768u}) {
    const uint32_t last = size - 1;
    for (const uint32_t half : {0u, 0x8000u, last, last | 0x8000}) {
      CHECK(queue.Accepts(size, half | half << 16));
    }
    if (size == 32768) continue;
    CHECK(!queue.Accepts(size, size));
    CHECK(!queue.Accepts(size, size << 16));
  }
  CHECK(!queue.Accepts(0, 0));
  CHECK(!queue.Accepts(32769, 0));
}

uint32_t BaseAfterStart(uint32_t size, uint32_t base) {
  OnePackedQueue guest(size);
  guest.queue.Start(guest.driver.RingsIn(*guest.memory), size, base, kFlags);
  return guest.queue.base();
}

FACT("vhost-user \"Vring descriptor indices\": a ring stops where it was told to start") {
  for (const uint32_t base : {0x8000'8000u, 0x8005'8006u, 0x8006'0001u, 0x0002'0002u}) {
    CHECK_EQ(BaseAfterStart(7, base), base);
  }
}

FACT("a base of 0 means a fresh ring where no device has used a descriptor, else an even lap") {
  CHECK_EQ(BaseAfterStart(7, 0), 0x8000'8000u);
  OnePackedQueue guest(4, kFlags);
  PassChains(guest, 4);
  CHECK_EQ(guest.queue.base(), 0u);
  guest.queue.Start(guest.driver.RingsIn(*guest.memory), 4, 0, kFlags);
  CHECK_EQ(guest.queue.base(), 0u);
  PassChains(guest, 1);
  // The driver has gone round: what it offers there is seen as what it is.
  guest.driver.Offer({{1 << 20, 60}}, 0, 0);
  guest.queue.Start(guest.driver.RingsIn(*guest.memory), 4, 1u << 16 | 1u, kFlags);
  CHECK_EQ(guest.Take(), 1u);
}

FACT("a ring whose driver counts laps the other way stands still, and shows it") {
  OnePackedQueue guest(4, kFlags);
  CHECK(!guest.queue.OutOfStep());
  guest.driver.Offer({{1 << 20, 60}}, 0, 0);
  CHECK(!guest.queue.OutOfStep());
  guest.queue.Start(guest.driver.RingsIn(*guest.memory), 4, 0x0001'0001, kFlags);
  guest.driver.Offer({{1 << 20, 60}}, 0, 1);
  CHECK(guest.queue.OutOfStep());
  CHECK_EQ(guest.Take(), 0u);
}

FACT("a base without its used half means that nothing is in flight") {
  CHECK_EQ(BaseAfterStart(7, 0x0000'8000), 0x8000'8000u);
  CHECK_EQ(BaseAfterStart(7, 0x0000'8003), 0x8003'8003u);
}

FACT("buffers that another device left in flight stay out of reach, and new ones are returned") {
  OnePackedQueue guest(4, kFlags);
  for (uint16_t id = 0; id < 3; ++id) guest.driver.Offer({{1 << 20, 60}}, 0, id);
  // The two first are in flight.
  guest.queue.Start(guest.driver.RingsIn(*guest.memory), 4, 0x8000'8002, kFlags);
  CHECK_EQ(guest.Take(), 1u);
  guest.queue.Return(guest.chains, 1);
  CHECK_EQ(guest.Used().id, 2);
  guest.driver.Offer({{1 << 20, 60}}, 0, 2);
  CHECK_EQ(guest.Take(), 1u);
  guest.queue.Return(guest.chains, 1);
  CHECK_EQ(guest.Used().id, 2);
}

FACT("a ring that moved goes on where it was, at its new place") {
  OnePackedQueue guest(4);
  PassChains(guest, 3);
  const uint32_t base = guest.queue.base();
  PackedDriver moved(guest.ram, 4, guest.driver.next_avail);
  guest.queue.Move(moved.RingsIn(*guest.memory));
  CHECK_EQ(guest.queue.base(), base);
  guest.driver.Offer({{1 << 20, 60}}, 0, 1);
  CHECK_EQ(guest.Take(), 0u);
  moved.Offer({{1 << 20, 60}}, 0, 2);
  CHECK_EQ(guest.Take(), 1u);
  guest.queue.Return(guest.chains, 1);
  PackedUsed used;
  CHECK(moved.TakeUsed(&used));
  CHECK_EQ(used.id, 2);
}

FACT("how large the parts of a ring are, and how they are aligned") {
  const Virtqueue::Layout layout = PackedQueue().LayoutOf(1000);
  CHECK_EQ(layout.desc_bytes, 16000u);
  CHECK_EQ(layout.avail_bytes, 4u);
  CHECK_EQ(layout.used_bytes, 4u);
  CHECK_EQ(layout.avail_alignment, 4u);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
