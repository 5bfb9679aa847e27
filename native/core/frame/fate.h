// What became of a frame: one byte from one list. Counters, captures and the names in the API are
// made from it.
//
// A frame has a fate at the port it came from, and another one at every port it goes to. Beside it,
// marks say what links did to a frame without ending it.

#pragma once

#include <cstdint>

namespace tsvswitch {

// Name in the API, and what it means. From kNoBuffer on they are drops: the frame ended at the
// port.
#define TSVSWITCH_FATES(X)                                                                    \
  X(kUnderWay, "underWay")   /* nothing has ended it: it goes on */                           \
  X(kDelivered, "delivered") /* in its receiver's buffers; of one that was cut, some of it */ \
  X(kHeld, "held")           /* a link keeps it back, and lets it go on later */              \
  /* Where frames are delivered. */                                                           \
  X(kNoBuffer, "noBuffer")             /* the driver offers no buffer */                      \
  X(kBufferTooSmall, "bufferTooSmall") /* it does not fit, and buffers are not merged */      \
  X(kOverMtu, "overMtu")               /* it exceeds its guest's, or a link's, MTU */         \
  X(kNotReady, "notReady")             /* no receiveq is started and enabled */               \
  X(kUnsegmentable, "unsegmentable")   /* its headers have changed since they were checked */ \
  /* Where they come from. */                                                                 \
  X(kDisabled, "disabled")             /* the transmitq is started but not enabled */         \
  X(kTooShort, "tooShort")             /* under kFrameBytesMin */                             \
  X(kTooLong, "tooLong")               /* over kFrameBytesMax */                              \
  X(kBadHeader, "badHeader")           /* an offload that was not negotiated */               \
  X(kBadSource, "badSource")           /* its source is a group address or 0 */               \
  X(kHairpin, "hairpin")               /* its destination is on this port */                  \
  X(kNoDestination, "noDestination")   /* no other port is on the bridge */                   \
  X(kDropEntry, "dropEntry")           /* its destination is one that the bridge drops */     \
  X(kSpoofedMac, "spoofedMac")         /* not from the port's MAC addresses */                \
  X(kSpoofedAddress, "spoofedAddress") /* nor IP addresses; or not to be judged */            \
  /* Impaired links: at the port a frame comes from if it is the link from its guest. */      \
  X(kBlackhole, "blackhole")       /* nothing passes */                                       \
  X(kPartitioned, "partitioned")   /* its sender is on another side of a partition */         \
  X(kOverRate, "overRate")         /* the queue in front of a rate is full */                 \
  X(kLost, "lost")                 /* by chance */                                            \
  X(kHeldOverflow, "heldOverflow") /* too many frames are kept back already */                \
  /* Where they come from and where they go. */                                               \
  X(kDown, "down") /* the port is down, as its operator wants it */

enum class Fate : uint8_t {
#define X(name, text) name,
  TSVSWITCH_FATES(X)
#undef X
};

inline constexpr uint32_t kFates = 0
#define X(name, text) +1
    TSVSWITCH_FATES(X);
#undef X
inline constexpr Fate kFirstDrop = Fate::kNoBuffer;

constexpr bool IsDrop(Fate fate) { return fate >= kFirstDrop; }

// Name in the API, and what a link did.
#define TSVSWITCH_MARKS(X)                                         \
  X(kHeld, "held")             /* kept it back until it was due */ \
  X(kDuplicated, "duplicated") /* sent it on twice */              \
  X(kReordered, "reordered")   /* so long that others pass */      \
  X(kCorrupted, "corrupted")   /* inverted one bit of it */

enum class Mark : uint8_t {
#define X(name, text) name,
  TSVSWITCH_MARKS(X)
#undef X
};

inline constexpr uint32_t kMarks = 0
#define X(name, text) +1
    TSVSWITCH_MARKS(X);
#undef X

// A set of marks.
using Marks = uint8_t;
static_assert(kMarks <= 8);
constexpr Marks MarkBit(Mark mark) { return static_cast<Marks>(1u << static_cast<uint32_t>(mark)); }

}  // namespace tsvswitch
