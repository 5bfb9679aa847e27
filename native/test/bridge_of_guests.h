// Guests joined by one bridge whose rounds are run by the test itself: no thread, no control.

#pragma once

#include <memory>
#include <vector>

#include "core/forward/forward.h"
#include "core/ring/split_queue.h"
#include "net_guest.h"

namespace tsvswitch {

class BridgeOfGuests {
 public:
  static constexpr uint32_t kSecond = 100;

  // A guest on the next port, its queues started and enabled.
  NetGuest& Add(uint64_t features, const ReceiveShape& shape = {}) {
    places_.push_back(std::make_unique<Place>(features, shape));
    Place& place = *places_.back();
    Port& port = place.port;
    port.number = static_cast<uint16_t>(places_.size() - 1);
    port.bridge = &bridge_;
    port.features = features;
    port.memory = place.guest.ram().Map(&port.lost);
    for (uint16_t i = 0; i < 2; ++i) {
      Queue& queue = port.queues[i];
      SplitDriver& driver = i == 0 ? place.guest.receiveq() : place.guest.transmitq();
      queue.port = &port;
      queue.index = i;
      queue.counters = &place.counters[i];
      queue.HoldNew<SplitQueue>();
      queue.ring->Start(driver.RingsIn(*port.memory), driver.size(), 0, features);
      queue.started = queue.enabled = true;
    }
    port.receivers.push_back(&port.queues[0]);
    bridge_.members[port.number] = &port;
    ++bridge_.member_count;
    bridge_.hearers = bridge_.ListHearers(kNoPort, kNoPort);
    return place.guest;
  }

  NetGuest& guest(uint32_t number) { return places_[number]->guest; }
  Port& port(uint32_t number) { return places_[number]->port; }
  Queue& receiveq(uint32_t number) { return port(number).queues[0]; }
  Queue& transmitq(uint32_t number) { return port(number).queues[1]; }
  Fdb& fdb() { return bridge_.fdb; }

  // One batch from the transmitq of a guest, as its worker would in a round of its own; how many
  // frames were taken.
  uint32_t Run(uint32_t number) {
    forwarder_.BeginRound();
    forwarder_.BeginTurn();
    return transmitq(number).Runs() ? forwarder_.Run(transmitq(number), kSecond) : 0;
  }

  uint64_t Count(uint32_t number, uint32_t queue, Counter counter) {
    return places_[number]->counters[queue].value[counter];
  }
  uint64_t Drops(uint32_t number, Fate fate) {
    return fate == Fate::kNoBuffer ? ToGuest(number, kNoBuffer) : port(number).fates->Read(fate);
  }
  uint64_t FromGuest(uint32_t number, Counter counter) { return Count(number, 1, counter); }
  uint64_t ToGuest(uint32_t number, Counter counter) { return Count(number, 0, counter); }

  std::vector<Event> Events() {
    std::vector<Event> events;
    for (Event event; events_.Pop(&event);) events.push_back(event);
    return events;
  }

 private:
  struct Place {
    Place(uint64_t features, const ReceiveShape& shape) : guest(features, shape) {}
    NetGuest guest;
    Port port{1};
    QueueCounters counters[2] = {};
  };
  Bridge bridge_;
  std::vector<std::unique_ptr<Place>> places_;
  EventRing events_{[](void*) {}, nullptr};
  Forwarder forwarder_{events_, false, 0};
};

}  // namespace tsvswitch
