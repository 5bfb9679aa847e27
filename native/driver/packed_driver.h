// The driver of a packed virtqueue in a guest's memory: allocates the ring there, says where it is,
// writes indirect tables, and takes used elements. As §2.8.6 asks, it keeps the length of every
// list it has given away. What it does with the ring is in packed_ring.h.
//
// Sources: virtio 1.2 §2.8.6, §2.8.7 (tables), §2.8.22 (used elements).

#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "core/memory/guest_memory.h"
#include "driver/guest_ram.h"
#include "driver/must.h"
#include "driver/packed_ring.h"

namespace tsvswitch {

struct PackedUsed {
  uint16_t id;
  uint32_t bytes;
  uint16_t flags;
};

class PackedDriver : public PackedRing {
 public:
  PackedDriver(GuestRam& ram, uint32_t size, Place start)
      : PackedDriver(ram,
                     {ram.Allocate(DescBytes(size), 4096), ram.Allocate(kEventBytes, 4),
                      ram.Allocate(kEventBytes, 4)},
                     size, start) {}

  Virtqueue::Rings RingsIn(const GuestMemory& memory) const {
    return {GuestRam::RingIn(memory, at_.desc, DescBytes(size())),
            GuestRam::RingIn(memory, at_.driver_event, kEventBytes),
            GuestRam::RingIn(memory, at_.device_event, kEventBytes), &memory};
  }

  void Offer(const std::vector<Buffer>& buffers, uint16_t flags, uint16_t id) {
    list_length_[id] = static_cast<uint32_t>(buffers.size());
    PackedRing::Offer(buffers, flags, id);
  }
  // An indirect table with these buffers in it, as one descriptor.
  void OfferTable(const std::vector<Buffer>& buffers, uint16_t flags, uint16_t id) {
    const uint64_t table = ram_.Allocate(kDescriptorBytes * buffers.size(), 16);
    for (size_t i = 0; i < buffers.size(); ++i) {
      WriteTable(table, static_cast<uint32_t>(i), buffers[i], flags);
    }
    const auto bytes = static_cast<uint32_t>(kDescriptorBytes * buffers.size());
    Offer({{table, bytes}}, kIndirect, id);
  }
  // Id and the flags that mean nothing in a table are filled with what would be noticed (§2.8.7).
  void WriteTable(uint64_t table, uint32_t index, const Buffer& buffer, uint16_t flags) {
    const auto noise = static_cast<uint16_t>(flags | kNext | kIndirect | kAvailable);
    const PackedDescriptor entry = {buffer.guest, buffer.bytes, 0xeeee, noise};
    ram_.Write(table + DescBytes(index), BytesOf(entry), kDescriptorBytes);
  }

  // Whether the next descriptor in the order of use is used; then what it says, and steps over its
  // list.
  bool TakeUsed(PackedUsed* used) {
    if (!Peek(used)) return false;
    MUST(list_length_.count(used->id) == 1);
    next_used.Step(list_length_[used->id], size());
    return true;
  }
  // The same without stepping.
  bool Peek(PackedUsed* used) const {
    if (!IsUsed(next_used)) return false;
    const PackedDescriptor descriptor = ReadDescriptor(next_used.position);
    *used = {descriptor.id, descriptor.bytes, descriptor.flags};
    return true;
  }

  Place next_used;

 private:
  struct Addresses {
    uint64_t desc, driver_event, device_event;
  };
  PackedDriver(GuestRam& ram, const Addresses& at, uint32_t size, Place start)
      : PackedRing({ram.At(at.desc, DescBytes(size)), ram.At(at.driver_event, kEventBytes),
                    ram.At(at.device_event, kEventBytes)},
                   size, start),
        next_used(start),
        ram_(ram),
        at_(at) {}

  GuestRam& ram_;
  const Addresses at_;
  std::map<uint16_t, uint32_t> list_length_;
};

}  // namespace tsvswitch
