// Facts about the ring in which a worker tells control of rare things.

#include "core/port/events.h"

#include "test/check.h"

using namespace tsvswitch;

namespace {

void Count(void* notified) { ++*static_cast<int*>(notified); }

Event Learned(uint64_t mac) { return {.type = Event::Type::kMacLearned, .mac = mac}; }

}  // namespace

FACT("events come out in order, and only the first into an empty ring notifies") {
  int notified = 0;
  EventRing ring(Count, &notified);
  for (uint64_t mac = 1; mac <= 3; ++mac) ring.Push(Learned(mac));
  CHECK_EQ(notified, 1);
  Event event;
  for (uint64_t mac = 1; mac <= 3; ++mac) {
    CHECK(ring.Pop(&event));
    CHECK_EQ(event.mac, mac);
  }
  CHECK(!ring.Pop(&event));
  ring.Push(Learned(4));
  CHECK_EQ(notified, 2);
}

FACT("a flood of addresses leaves room for the news of a broken queue") {
  int notified = 0;
  EventRing ring(Count, &notified);
  for (uint64_t mac = 1; mac <= 2 * EventRing::kSlots; ++mac) ring.Push(Learned(mac));
  ring.Push({.type = Event::Type::kQueueBroken, .reason = BreakReason::kChainTooLong, .port = 7});
  uint32_t learned = 0;
  Event event;
  while (ring.Pop(&event) && event.type == Event::Type::kMacLearned) ++learned;
  CHECK_EQ(learned, EventRing::kSlots / 2);
  CHECK(event.type == Event::Type::kQueueBroken);
  CHECK_EQ(event.port, 7);
}

FACT("a ring full of broken queues takes no more, and works on once it was read") {
  int notified = 0;
  EventRing ring(Count, &notified);
  const Event broken = {.type = Event::Type::kQueueBroken};
  for (uint32_t i = 0; i < EventRing::kSlots + 5; ++i) ring.Push(broken);
  uint32_t read = 0;
  Event event;
  while (ring.Pop(&event)) ++read;
  CHECK_EQ(read, EventRing::kSlots);
  ring.Push(broken);
  CHECK(ring.Pop(&event));
}

int main() { return HoldFacts(); }
