// What both ring formats say of a queue: where it lies, and what a device gave back.
//
// A ring, split_ring.h or packed_ring.h, has the same verbs in either format: Completed, Peek and
// Take for buffers that come back, Post and Publish for buffers that go out, Repost for those that
// do both, KickWanted. ring_port.cc is written once over them.

#pragma once

#include <stdint.h>

namespace tsvswitch::bench {

enum class RingFormat { kSplit, kPacked };

// Pointers into the port's memory. Of a packed ring, `avail` is the driver's event suppression and
// `used` the device's, as vhost-user names them.
struct QueueLayout {
  uint16_t size;
  const void* desc;
  const void* avail;
  const void* used;
};

struct UsedBuffer {
  uint32_t id;
  uint32_t len;  // What the device says that it wrote, bounded by no one.
};

}  // namespace tsvswitch::bench
