// The driver of a packed virtqueue, for tests, and one packed queue of core over it.
//
// PackedDriver writes available descriptors and reads used ones by the byte offsets and the rules
// of the specification; it shares no code and no structure with core, so that a mistake in one of
// them shows. It keeps its own two places and wrap counters, and, as §2.8.6 asks, the length of
// every list it has given away. It does what a test says, also what no honest driver does.
//
// Thread: one per guest. Sources: virtio 1.2 §2.8.1, §2.8.6, §2.8.10, §2.8.13, §2.8.14, §2.8.21,
// §2.8.22.

#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include "check.h"
#include "core/ring/packed_queue.h"
#include "driver/guest.h"
#include "one_queue.h"

namespace tsvswitch {

struct PackedUsed {
  uint16_t id;
  uint32_t bytes;
  uint16_t flags;
};

class PackedDriver {
 public:
  static constexpr uint16_t kNext = 1;
  static constexpr uint16_t kWrite = 2;
  static constexpr uint16_t kIndirect = 4;
  static constexpr uint16_t kAvailable = 1 << 7;
  static constexpr uint16_t kUsed = 1 << 15;
  static constexpr uint16_t kEnable = 0;
  static constexpr uint16_t kDisable = 1;
  static constexpr uint16_t kDescriptor = 2;

  struct Place {
    uint32_t position;
    bool wrap;
    void Step(uint32_t by, uint32_t size) {
      for (; by > 0; --by) {
        if (++position == size) {
          position = 0;
          wrap = !wrap;
        }
      }
    }
    uint16_t Word() const { return static_cast<uint16_t>(position | (wrap ? 1u << 15 : 0)); }
  };

  PackedDriver(GuestRam& ram, uint32_t size, Place start)
      : next_avail(start),
        next_used(start),
        ram_(ram),
        size_(size),
        desc_(ram.Allocate(16 * size, 4096)),
        driver_event_(ram.Allocate(4, 4)),
        device_event_(ram.Allocate(4, 4)) {
    // A ring in its second or later lap, or before `start` in this one, holds used descriptors.
    for (uint32_t i = 0; i < size; ++i) {
      const bool wrap = i < start.position ? start.wrap : !start.wrap;
      Word16(i, 14).store(wrap ? kAvailable | kUsed : 0);
    }
  }

  PackedQueue::Rings RingsIn(const GuestMemory& memory) const {
    return {memory.TranslateRing(GuestRam::UserOf(desc_), 16 * size_),
            memory.TranslateRing(GuestRam::UserOf(driver_event_), 4),
            memory.TranslateRing(GuestRam::UserOf(device_event_), 4)};
  }

  // What a descriptor's flags are on the lap of `place`, besides `flags`, for the device to take
  // it.
  static uint16_t AvailableFlags(const Place& place, uint16_t flags) {
    return static_cast<uint16_t>(flags | (place.wrap ? kAvailable : kUsed));
  }
  void WriteFlags(uint32_t position, uint16_t flags) {
    Word16(position, 14).store(flags, std::memory_order_release);
  }
  uint16_t ReadFlags(uint32_t position) const {
    return Word16(position, 14).load(std::memory_order_acquire);
  }
  // Everything but the flags.
  void WriteBody(uint32_t position, const Buffer& buffer, uint16_t id) {
    uint8_t* at = ram_.At(desc_ + 16 * position, 16);
    std::memcpy(at, &buffer.guest, 8);
    std::memcpy(at + 8, &buffer.bytes, 4);
    std::memcpy(at + 12, &id, 2);
  }
  uint64_t ReadAddress(uint32_t position) const {
    uint64_t address;
    std::memcpy(&address, ram_.At(desc_ + 16 * position, 8), 8);
    return address;
  }

  // A list of descriptors, §2.8.21.1: the id in the last, the head's flags last.
  void Offer(const std::vector<Buffer>& buffers, uint16_t flags, uint16_t id) {
    const Place head = next_avail;
    uint16_t head_flags = 0;
    for (size_t i = 0; i < buffers.size(); ++i) {
      const bool last = i + 1 == buffers.size();
      // Ids of all but the last descriptor are reserved: something that would be noticed.
      WriteBody(next_avail.position, buffers[i], last ? id : 0xdead);
      const uint16_t all =
          AvailableFlags(next_avail, static_cast<uint16_t>(last ? flags : flags | kNext));
      if (i == 0) {
        head_flags = all;
      } else {
        WriteFlags(next_avail.position, all);
      }
      next_avail.Step(1, size_);
    }
    list_length_[id] = static_cast<uint32_t>(buffers.size());
    WriteFlags(head.position, head_flags);
  }
  // An indirect table with these buffers in it, as one descriptor.
  void OfferTable(const std::vector<Buffer>& buffers, uint16_t flags, uint16_t id) {
    const uint64_t table = ram_.Allocate(16 * buffers.size(), 16);
    for (size_t i = 0; i < buffers.size(); ++i) {
      WriteTable(table, static_cast<uint32_t>(i), buffers[i], flags);
    }
    Offer({{table, static_cast<uint32_t>(16 * buffers.size())}}, kIndirect, id);
  }
  // Id and the flags that mean nothing in a table are filled with what would be noticed (§2.8.7).
  void WriteTable(uint64_t table, uint32_t index, const Buffer& buffer, uint16_t flags) {
    std::vector<uint8_t> entry(16);
    const uint16_t noise = static_cast<uint16_t>(flags | kNext | kIndirect | kAvailable);
    std::memcpy(&entry[0], &buffer.guest, 8);
    std::memcpy(&entry[8], &buffer.bytes, 4);
    std::memset(&entry[12], 0xee, 2);
    std::memcpy(&entry[14], &noise, 2);
    ram_.Write(table + 16 * uint64_t{index}, entry);
  }

  // Whether the next descriptor in the order of use is used; then what it says, and steps over its
  // list.
  bool TakeUsed(PackedUsed* used) {
    if (!Peek(used)) return false;
    CHECK_EQ(list_length_.count(used->id), 1u);
    next_used.Step(list_length_[used->id], size_);
    return true;
  }
  // The same without stepping.
  bool Peek(PackedUsed* used) const {
    used->flags = ReadFlags(next_used.position);
    const bool is_used = (used->flags & kUsed) != 0;
    const bool is_available = (used->flags & kAvailable) != 0;
    if (is_used != is_available || is_used != next_used.wrap) return false;
    const uint8_t* at = ram_.At(desc_ + 16 * next_used.position, 16);
    std::memcpy(&used->bytes, at + 8, 4);
    std::memcpy(&used->id, at + 12, 2);
    return true;
  }

  void WriteDriverEvent(uint16_t flags, uint16_t place = 0) {
    Event(driver_event_, 0).store(place);
    Event(driver_event_, 2).store(flags);
  }
  uint16_t device_event_flags() const { return Event(device_event_, 2).load(); }
  uint16_t device_event_place() const { return Event(device_event_, 0).load(); }

  Place next_avail;
  Place next_used;

 private:
  std::atomic_ref<uint16_t> Word16(uint32_t position, uint32_t offset) const {
    return Event(desc_ + 16 * uint64_t{position}, offset);
  }
  std::atomic_ref<uint16_t> Event(uint64_t at, uint32_t offset) const {
    return std::atomic_ref<uint16_t>(*reinterpret_cast<uint16_t*>(ram_.At(at + offset, 2)));
  }

  GuestRam& ram_;
  const uint32_t size_;
  const uint64_t desc_, driver_event_, device_event_;  // guest addresses
  std::map<uint16_t, uint32_t> list_length_;
};

struct OnePackedQueue : QueueAlone<PackedDriver, PackedQueue> {
  static constexpr uint64_t kModern =
      VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | VIRTIO_F_INDIRECT_DESC;
  static constexpr PackedDriver::Place kBegin = {0, true};

  OnePackedQueue(GuestRam memory_of_guest, uint32_t size_of_queue, uint64_t features = kModern,
                 PackedDriver::Place start = kBegin)
      : QueueAlone(std::move(memory_of_guest), size_of_queue, start), size(size_of_queue) {
    queue.Start(driver.RingsIn(*memory), size, start.Word() | uint32_t{start.Word()} << 16,
                features);
  }
  explicit OnePackedQueue(uint32_t size_of_queue, uint64_t features = kModern,
                          PackedDriver::Place start = kBegin)
      : OnePackedQueue(GuestRam::OfBytes(8 << 20), size_of_queue, features, start) {}

  // The next used element, which must be there.
  PackedUsed Used() {
    PackedUsed used = {};
    CHECK(driver.TakeUsed(&used));
    return used;
  }
  bool AnyUsed() const {
    PackedUsed used;
    return driver.Peek(&used);
  }

  const uint32_t size;
};

}  // namespace tsvswitch
