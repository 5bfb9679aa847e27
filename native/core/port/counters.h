// Counters per queue, in memory that the control plane reads without a call.
//
// A receiveq counts what went to the guest, a transmitq what came from it. Every frame that ends
// here is in exactly one drop counter. Single writer: the worker that polls the transmitq, or
// the holder of the receiveq (see port.h). Readers see each counter whole, not all of them at one
// instant.

#pragma once

#include <atomic>
#include <cstdint>

namespace tsvswitch {

// Name in the API, and what it counts. One list: the enum and the names are made from it.
#define TSVSWITCH_COUNTERS(X)                                                                      \
  X(kFrames, "frames")                           /* delivered to, or well-formed from, guest */    \
  X(kBytes, "bytes")                             /* of those frames, without virtio header */      \
  X(kFloodedFrames, "floodedFrames")             /* transmitq: sent to every other port */         \
  X(kNotifications, "notifications")             /* writes to the call eventfd */                  \
  X(kDropsNoBuffer, "dropsNoBuffer")             /* receiveq: the driver offers no buffer */       \
  X(kDropsBufferTooSmall, "dropsBufferTooSmall") /* receiveq: frame does not fit, no merge */      \
  X(kDropsOverMtu, "dropsOverMtu")               /* frame exceeds its guest's, or a link's, MTU */ \
  X(kDropsNotReady, "dropsNotReady")             /* receiveq 0: not started or not enabled */      \
  X(kDropsUnsegmentable, "dropsUnsegmentable")   /* receiveq: headers changed since checked */     \
  X(kDropsDisabled, "dropsDisabled")             /* transmitq: started but not enabled */          \
  X(kDropsTooShort, "dropsTooShort")             /* transmitq: under 14 bytes of frame */          \
  X(kDropsTooLong, "dropsTooLong")               /* transmitq: over kFrameBytesMax */              \
  X(kDropsBadHeader, "dropsBadHeader")           /* transmitq: offload not negotiated */           \
  X(kDropsBadSource, "dropsBadSource")           /* transmitq: source is a group address or 0 */   \
  X(kDropsHairpin, "dropsHairpin")               /* transmitq: destination is on this port */      \
  X(kDropsNoDestination, "dropsNoDestination")   /* transmitq: no other port on the bridge */      \
  X(kDropsSpoofedMac, "dropsSpoofedMac")         /* transmitq: not of the port's MAC addresses */  \
  X(kDropsSpoofedAddress, "dropsSpoofedAddress") /* transmitq: nor IP; or not to be judged */      \
  /* Impaired links. Where frames enter from a guest: transmitq; elsewhere: receiveq 0. */         \
  X(kDropsBlackhole, "dropsBlackhole")       /* nothing passes */                                  \
  X(kDropsPartitioned, "dropsPartitioned")   /* sender on another side of a partition */           \
  X(kDropsOverRate, "dropsOverRate")         /* the queue in front of a rate is full */            \
  X(kDropsLost, "dropsLost")                 /* by chance */                                       \
  X(kDropsHeldOverflow, "dropsHeldOverflow") /* too many frames are held back already */           \
  X(kHeldFrames, "heldFrames")               /* copies held back, each until it was due */         \
  X(kDuplicatedFrames, "duplicatedFrames")   /* sent on twice */                                   \
  X(kReorderedFrames, "reorderedFrames")     /* held so long that others pass */                   \
  X(kCorruptedFrames, "corruptedFrames")     /* one bit inverted */

enum Counter : uint32_t {
#define X(name, text) name,
  TSVSWITCH_COUNTERS(X)
#undef X
      kCountersUsed,
};

inline constexpr uint32_t kCountersPerQueue = 32;  // four cache lines; the first two are hot
static_assert(kCountersUsed <= kCountersPerQueue);

// A set of counters in one word.
inline uint32_t CounterBit(Counter counter) { return uint32_t{1} << counter; }

struct alignas(64) QueueCounters {
  uint64_t value[kCountersPerQueue];

  // Relaxed is enough: nothing is published through a counter.
  void Add(Counter counter, uint64_t amount) {
    std::atomic_ref<uint64_t> cell(value[counter]);
    cell.store(cell.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
};

}  // namespace tsvswitch
