// Rare things a worker reports to the control plane, through a bounded ring per worker.
//
// Single producer (the worker), single consumer (the control thread). What does not fit is lost: a
// guest that floods MAC addresses must not be able to make a worker wait. News of addresses gets
// half of the ring, so that such a guest cannot hide a broken queue or lost memory either, and so
// does that of spoofed sources.
//
// An event names the session it is about. One that comes out when another frontend is served at its
// port, or when its number is another port's, is about somebody who is gone (Dataplane::PopEvent).

#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "core/frame/fate.h"
#include "core/ring/chain.h"

namespace tsvswitch {

// What a frame says it comes from, and may not.
struct SpoofedSource {
  enum class Kind : uint8_t { kMac, kIpv4, kIpv6, kUnknown };
  Kind kind = Kind::kMac;
  uint8_t address[16] = {};  // kUnknown: the EtherType

  Fate fate() const { return kind == Kind::kMac ? Fate::kSpoofedMac : Fate::kSpoofedAddress; }
};

struct Event {
  enum class Type : uint8_t {
    kMacLearned,
    kMacMoved,
    kMacAged,
    kFdbCrowded,  // for the data plane itself: a forwarding table is to grow
    kSpoofed,
    kQueueBroken,
    kMemoryLost,
    kEventfdBlocked
  };
  Type type = Type::kMacLearned;
  BreakReason reason = BreakReason::kNone;  // kQueueBroken
  uint32_t session = 0;                     // of `port` (port.h)
  uint16_t port = 0;
  uint16_t from_port = 0;      // kMacMoved
  uint32_t from_session = 0;   // of `from_port`, which may have gone since
  uint16_t queue = 0;          // kQueueBroken
  uint16_t vlan = 0;           // kMac*
  uint64_t mac = 0;            // kMac*
  SpoofedSource spoofed = {};  // kSpoofed
};

class EventRing {
 public:
  // Called on the worker after an event was put into an empty ring; must not block.
  using Notify = void (*)(void* context);
  EventRing(Notify notify, void* context) : notify_(notify), context_(context) {}

  void Push(const Event& event) {
    const uint32_t end = end_.load(std::memory_order_relaxed);
    // Acquire: the consumer is done with the slot before it is written again.
    const uint32_t begin = begin_.load(std::memory_order_acquire);
    if (end - begin >= RoomFor(event.type)) return;
    slots_[end % kSlots] = event;
    // Sequentially consistent on both sides: either the consumer's last look sees this event, or we
    // see its `begin` and notify.
    end_.store(end + 1, std::memory_order_seq_cst);
    if (begin_.load(std::memory_order_seq_cst) == end) notify_(context_);
  }

  bool Pop(Event* event) {
    const uint32_t begin = begin_.load(std::memory_order_relaxed);
    if (begin == end_.load(std::memory_order_seq_cst)) return false;
    *event = slots_[begin % kSlots];
    begin_.store(begin + 1, std::memory_order_seq_cst);
    return true;
  }

  static constexpr uint32_t kSlots = 1024;

 private:
  static uint32_t RoomFor(Event::Type type) {
    const bool about_sources = type == Event::Type::kMacLearned || type == Event::Type::kMacMoved ||
                               type == Event::Type::kMacAged || type == Event::Type::kSpoofed;
    return about_sources ? kSlots / 2 : kSlots;
  }

  const Notify notify_;
  void* const context_;
  alignas(64) std::atomic<uint32_t> end_{0};
  alignas(64) std::atomic<uint32_t> begin_{0};
  std::array<Event, kSlots> slots_;
};

}  // namespace tsvswitch
