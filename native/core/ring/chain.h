// Descriptor chains as a queue hands them out: lists of host memory pieces, in private memory.
//
// A descriptor is read from guest memory once, checked and translated; from then on only these
// copies are used, so that a guest which changes its descriptors afterwards changes nothing.
//
// Sources: virtio 1.2 §2.7.5, §2.7.13, §2.7.14, §2.8.5.

#pragma once

#include <cstdint>
#include <memory>

#include "core/ring/virtio_spec.h"

namespace tsvswitch {

inline constexpr uint32_t kBatchFramesMax = 64;
inline constexpr uint32_t kFrameBytesMin = 14;
inline constexpr uint32_t kFrameBytesMax = 65550;  // 64 KiB of payload and an Ethernet header
inline constexpr uint32_t kChainBytesMax = sizeof(VirtioNetHdr) + kFrameBytesMax;

// Why a queue was broken by its guest, and the code that says so. The sentences are in
// src/model/faults/rings.ts.
#define TSVSWITCH_BREAK_REASONS(X)                     \
  X(kNone, "none")                                     \
  X(kAvailIndexJump, "avail-index-jump")               \
  X(kHeadOutOfRange, "head-out-of-range")              \
  X(kNextOutOfRange, "next-out-of-range")              \
  X(kChainTooLong, "chain-too-long")                   \
  X(kChainIncomplete, "chain-incomplete")              \
  X(kAddressUnmapped, "address-unmapped")              \
  X(kWrongDirection, "wrong-direction")                \
  X(kIndirectNotNegotiated, "indirect-not-negotiated") \
  X(kIndirectBadTable, "indirect-bad-table")           \
  X(kIndirectNested, "indirect-nested")                \
  X(kBufferBelowHeader, "buffer-below-header")         \
  X(kReadBehindWrite, "read-behind-write")             \
  X(kCommandWithoutStatus, "command-without-status")   \
  X(kRingUnmapped, "ring-unmapped")                    \
  X(kMemoryLost, "memory-lost")                        \
  X(kEventfdBlocked, "eventfd-blocked")

enum class BreakReason : uint8_t {
#define X(name, code) name,
  TSVSWITCH_BREAK_REASONS(X)
#undef X
};

const char* BreakReasonCode(BreakReason reason);

enum class Access { kDeviceReads, kDeviceWrites };

struct Piece {
  uint8_t* data;
  uint32_t bytes;
};

// A chain of a transmitq. Its pieces lie in a PieceStore from first_piece on; `bytes` is their sum.
struct Chain {
  uint32_t first_piece;
  uint32_t piece_count;
  uint32_t bytes;        // stops counting, and pieces stop, once above kChainBytesMax
  uint16_t id;           // goes back to the driver
  uint16_t descriptors;  // of a packed ring: how many of them the chain takes up there
};

// Room for the pieces of one batch. No piece is empty, and a chain stops adding pieces once it
// holds more than kChainBytesMax bytes, so that a chain needs at most kPiecesPerChainMax of them.
class PieceStore {
 public:
  static constexpr uint32_t kPiecesPerChainMax = kChainBytesMax + 1;
  // Chains of one piece are added without asking: there is always room for a whole batch of them.
  static constexpr uint32_t kCapacity = 2 * kPiecesPerChainMax + kBatchFramesMax;

  // A batch ends early rather than start a chain that might not fit.
  bool HasRoomForChain() const { return used_ + kPiecesPerChainMax + kBatchFramesMax <= kCapacity; }
  void Clear() { used_ = 0; }
  uint32_t used() const { return used_; }
  // Forgets every piece from `used` on: a chain that turned out not to be wanted.
  void ShrinkTo(uint32_t used) { used_ = used; }
  void Append(uint8_t* data, uint32_t bytes) { pieces_[used_++] = {data, bytes}; }
  // Keeps pieces that were written behind the last, under the same rule.
  void Grow(uint32_t pieces) { used_ += pieces; }
  Piece* at(uint32_t index) { return &pieces_[index]; }
  const Piece* at(uint32_t index) const { return &pieces_[index]; }

 private:
  // Left uninitialised: pages that are never used are never touched.
  std::unique_ptr<Piece[]> pieces_{new Piece[kCapacity]};
  uint32_t used_ = 0;
};

class Translator;

// A chain of the control queue: what it says in private memory, and where the answer goes. Longer
// commands than kBytesMax mean nothing to anybody here; `bytes` counts on, up to 4 GiB, so that it
// shows.
struct CommandChain {
  static constexpr uint32_t kBytesMax = 16384;

  // Adds the buffer of one descriptor. What a device reads is in front of what it writes
  // (§2.7.4.2).
  BreakReason Append(Translator& translate, uint64_t address, uint32_t length, uint16_t flags);
  void Clear() {
    status = nullptr;
    bytes = 0;
  }

  uint8_t* status = nullptr;  // the first byte that may be written, in guest memory
  uint32_t bytes = 0;
  uint16_t id = 0;
  uint16_t descriptors = 1;
  std::unique_ptr<uint8_t[]> data{new uint8_t[kBytesMax]};  // the first kBytesMax of them
};

// Adds the buffer of one descriptor, of either format, to `pieces`: one piece for every region it
// touches. *bytes is the chain's sum so far.
BreakReason AppendBuffer(Translator& translate, uint64_t address, uint32_t length, uint16_t flags,
                         Access access, PieceStore& pieces, uint32_t* bytes);

}  // namespace tsvswitch
