// The driver of a split virtqueue in a guest's memory: allocates the rings there, says where they
// are, and writes indirect tables. What it does with the ring is in split_ring.h.

#pragma once

#include <cstdint>

#include "core/control/dataplane.h"
#include "core/memory/guest_memory.h"
#include "driver/guest_ram.h"
#include "driver/split_ring.h"

namespace tsvswitch {

class SplitDriver : public SplitRing {
 public:
  // Rings in `ram`; both indices begin at `index`.
  SplitDriver(GuestRam& ram, uint32_t size, uint16_t index = 0)
      : SplitDriver(ram,
                    {ram.Allocate(DescBytes(size), 16), ram.Allocate(AvailBytes(size), 2),
                     ram.Allocate(UsedBytes(size), 4)},
                    size, index) {}

  RingAddresses addresses() const {
    return {GuestRam::UserOf(at_.desc), GuestRam::UserOf(at_.avail), GuestRam::UserOf(at_.used)};
  }
  // Where `memory` has these rings, for a SplitQueue without a data plane.
  Virtqueue::Rings RingsIn(const GuestMemory& memory) const {
    return {GuestRam::RingIn(memory, at_.desc, DescBytes(size())),
            GuestRam::RingIn(memory, at_.avail, AvailBytes(size())),
            GuestRam::RingIn(memory, at_.used, UsedBytes(size())), &memory};
  }

  // An entry of an indirect table, which may lie across two regions.
  void WriteIndirect(uint64_t table, uint32_t index, const Buffer& buffer, uint16_t flags,
                     uint16_t next = 0) {
    const SplitDescriptor entry = {buffer.guest, buffer.bytes, flags, next};
    ram_.Write(table + DescBytes(index), BytesOf(entry), kDescriptorBytes);
  }

 private:
  struct Addresses {
    uint64_t desc, avail, used;
  };
  SplitDriver(GuestRam& ram, const Addresses& at, uint32_t size, uint16_t index)
      : SplitRing({ram.At(at.desc, DescBytes(size)), ram.At(at.avail, AvailBytes(size)),
                   ram.At(at.used, UsedBytes(size))},
                  size, index),
        ram_(ram),
        at_(at) {
    Publish();
    WriteUsedIndex(index);
  }

  GuestRam& ram_;
  const Addresses at_;
};

}  // namespace tsvswitch
