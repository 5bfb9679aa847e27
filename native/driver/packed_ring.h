// A packed virtqueue as its driver sees it, wherever its three parts lie: every word by the byte
// offsets and rules of the specification, and where the driver is in the ring.
//
// It shares no code and no structure with core but Virtqueue::Rings, which are the three pointers
// (`avail` is the Driver Area, `used` the Device Area), so that a mistake in one of the two shows.
// It does what it is told, also what no honest driver does: packed_driver.h has the rings of a
// guest that shares its memory.
//
// Thread: one; the device may run on another. Sources: virtio 1.2 §2.8.1 (wrap counters), §2.8.6
// (chains), §2.8.10 and §2.8.14 (event suppression), §2.8.13 (descriptors), §2.8.21 (order).

#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/ring/virtqueue.h"
#include "driver/descriptor.h"

namespace tsvswitch {

class PackedRing : public DescriptorFlags {
 public:
  static constexpr uint16_t kAvailable = 1 << 7;
  static constexpr uint16_t kUsed = 1 << 15;
  static constexpr uint16_t kOwner = kAvailable | kUsed;
  static constexpr uint16_t kEnable = 0;
  static constexpr uint16_t kDisable = 1;
  static constexpr uint16_t kDescriptor = 2;

  static constexpr uint64_t DescBytes(uint32_t size) { return uint64_t{kDescriptorBytes} * size; }
  static constexpr uint64_t kEventBytes = 4;

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
    // As the event structures and vhost-user's vring bases write it.
    uint16_t Word() const { return static_cast<uint16_t>(position | (wrap ? kWrap : 0)); }
    static Place OfWord(uint32_t word) { return {word & (kWrap - 1), (word & kWrap) != 0}; }
    static constexpr uint32_t kWrap = 1u << 15;
  };

  // The driver is at `start`. All descriptors become used ones, as in a ring in its second or later
  // lap, or before `start` in this one.
  PackedRing(const Virtqueue::Rings& parts, uint32_t size, Place start)
      : next_avail(start), parts_(parts), size_(size) {
    for (uint32_t i = 0; i < size; ++i) {
      WriteFlags(i, UsedFlags({i, i < start.position ? start.wrap : !start.wrap}));
    }
  }

  uint32_t size() const { return size_; }
  // The same ring at another place.
  void MoveTo(const Virtqueue::Rings& parts) { parts_ = parts; }

  // What a descriptor's flags are on the lap of `place`, besides `flags`, for the device to take
  // it.
  static uint16_t AvailableFlags(const Place& place, uint16_t flags = 0) {
    return static_cast<uint16_t>(flags | (place.wrap ? kAvailable : kUsed));
  }
  // And for the driver to take it back.
  static uint16_t UsedFlags(const Place& place) { return place.wrap ? kOwner : uint16_t{0}; }
  bool IsAvailable(const Place& place) const {
    return (ReadFlags(place.position) & kOwner) == AvailableFlags(place);
  }
  bool IsUsed(const Place& place) const {
    return (ReadFlags(place.position) & kOwner) == UsedFlags(place);
  }

  void WriteFlags(uint32_t position, uint16_t flags) {
    Flags(position).store(flags, std::memory_order_release);  // after the body
  }
  uint16_t ReadFlags(uint32_t position) const {
    return Flags(position).load(std::memory_order_acquire);  // before the body
  }
  // Everything but the flags.
  void WriteBody(uint32_t position, const Buffer& buffer, uint16_t id) {
    const PackedDescriptor body = {buffer.guest, buffer.bytes, id, 0};
    std::memcpy(At(position), BytesOf(body), kFlagsOffset);
  }
  PackedDescriptor ReadDescriptor(uint32_t position) const {
    return ReadDescriptorAt<PackedDescriptor>(At(position));
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
    WriteFlags(head.position, head_flags);
  }

  void WriteDriverEvent(uint16_t flags, uint16_t place = 0) {
    WriteDriverEventWord(0, place);
    WriteDriverEventWord(1, flags);
  }
  void WriteDriverEventWord(uint32_t word, uint16_t value) {
    WordAt<uint16_t>(parts_.avail + uint64_t{2} * word).store(value);
  }
  uint16_t device_event_place() const { return WordAt<uint16_t>(parts_.used).load(); }
  uint16_t device_event_flags() const { return WordAt<uint16_t>(parts_.used + 2).load(); }

  // Where the next descriptor becomes available.
  Place next_avail;

 private:
  static constexpr uint64_t kFlagsOffset = 14;

  uint8_t* At(uint32_t position) const { return parts_.desc + DescBytes(position); }
  std::atomic_ref<uint16_t> Flags(uint32_t position) const {
    return WordAt<uint16_t>(At(position) + kFlagsOffset);
  }

  Virtqueue::Rings parts_;
  const uint32_t size_;
};

}  // namespace tsvswitch
