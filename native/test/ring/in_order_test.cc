// VIRTIO_F_IN_ORDER on a split queue: one used entry for a batch of transmit buffers. What packed
// queues do with it is among their other facts.
//
// Sources: virtio 1.2 §2.7.9 (in-order use of descriptors).

#include "test/check.h"
#include "test/one_queue.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kInOrder = VIRTIO_F_VERSION_1 | VIRTIO_F_IN_ORDER;

void Offer(OneQueue& guest, uint16_t head, uint16_t flags) {
  guest.driver.WriteDescriptor(head, {1 << 20, 2000}, flags);
  guest.driver.Put(head);
}

FACT("virtio 1.2 §2.7.9: one used entry, with the last head, stands at the batch's first place") {
  for (const uint16_t start : {uint16_t{0}, uint16_t{6}, uint16_t{65534}}) {
    OneQueue guest(8, kInOrder, start);
    for (uint16_t i = 0; i < 5; ++i) Offer(guest, static_cast<uint16_t>((start + i) % 8), 0);
    guest.driver.Publish();
    CHECK_EQ(guest.Take(), 5u);
    guest.queue.Return(guest.chains, 5);
    CHECK_EQ(guest.driver.used_index(), static_cast<uint16_t>(start + 5));
    CHECK_EQ(guest.driver.used(start).id, (start + 4u) % 8);
  }
}

FACT("virtio 1.2 §2.7.9: the next batch has its entry behind the places skipped") {
  OneQueue guest(8, kInOrder);
  for (uint16_t i = 0; i < 3; ++i) Offer(guest, i, 0);
  guest.driver.Publish();
  CHECK_EQ(guest.Take(), 3u);
  guest.queue.Return(guest.chains, 3);
  for (uint16_t i = 3; i < 5; ++i) Offer(guest, i, 0);
  guest.driver.Publish();
  CHECK_EQ(guest.Take(), 2u);
  guest.queue.Return(guest.chains, 2);
  CHECK_EQ(guest.driver.used(0).id, 2u);
  CHECK_EQ(guest.driver.used(3).id, 4u);
  CHECK_EQ(guest.driver.used_index(), 5);
}

FACT("returning nothing writes no entry") {
  OneQueue guest(8, kInOrder);
  guest.queue.Return(guest.chains, 0);
  CHECK_EQ(guest.driver.used_index(), 0);
}

FACT("receive buffers have their own entries: skipped ones would count as filled to the end") {
  OneQueue guest(8, kInOrder);
  for (uint16_t i = 0; i < 3; ++i) Offer(guest, i, SplitDriver::kWrite);
  guest.driver.Publish();
  CHECK_EQ(guest.Claim({100, 200, 300}), 3u);
  guest.queue.Publish();
  CHECK_EQ(guest.driver.used_index(), 3);
  for (uint16_t i = 0; i < 3; ++i) {
    CHECK_EQ(guest.driver.used(i).id, i);
    CHECK_EQ(guest.driver.used(i).bytes, 100u * (i + 1u));
  }
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
