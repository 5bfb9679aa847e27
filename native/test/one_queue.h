// One queue of core over one driver, in one memory and without threads: for facts about queues.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "check.h"
#include "core/ring/packed_queue.h"
#include "core/ring/split_queue.h"
#include "driver/guest_ram.h"
#include "driver/packed_driver.h"
#include "driver/split_driver.h"

namespace tsvswitch {

template <class Driver, class Ring>
struct QueueAlone {
  template <class Start>
  QueueAlone(GuestRam memory_of_guest, uint32_t size, Start start)
      : ram(std::move(memory_of_guest)), driver(ram, size, start), memory(ram.Map(&lost)) {}

  Buffer NewBuffer(uint32_t bytes) { return {ram.Allocate(bytes), bytes}; }
  // A buffer with bytes of its own in it.
  Buffer NewFilledBuffer(uint32_t bytes) {
    const Buffer buffer = NewBuffer(bytes);
    std::vector<uint8_t> filling(bytes);
    std::iota(filling.begin(), filling.end(), static_cast<uint8_t>(buffer.guest * 7));
    ram.Write(buffer.guest, filling);
    return buffer;
  }
  std::vector<uint8_t> BytesOf(const std::vector<Buffer>& buffers) const {
    std::vector<uint8_t> bytes;
    for (const Buffer& buffer : buffers) {
      const std::vector<uint8_t> part = ram.Read(buffer.guest, buffer.bytes);
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    return bytes;
  }
  std::vector<uint8_t> BytesOf(uint32_t first_piece, uint32_t piece_count) const {
    std::vector<uint8_t> bytes;
    for (uint32_t i = first_piece; i < first_piece + piece_count; ++i) {
      const Piece& piece = *pieces.at(i);
      bytes.insert(bytes.end(), piece.data, piece.data + piece.bytes);
    }
    return bytes;
  }

  uint32_t Take(uint32_t max = kBatchFramesMax) {
    pieces.Clear();
    broken = BreakReason::kNone;
    return queue.Take(max, chains, pieces, &broken);
  }
  std::vector<uint8_t> BytesOf(const Chain& chain) const {
    return BytesOf(chain.first_piece, chain.piece_count);
  }

  // For how many frames of these sizes, header included, landings[] is decided.
  uint32_t Claim(const std::vector<uint32_t>& bytes) {
    pieces.Clear();
    broken = BreakReason::kNone;
    return queue.Claim(bytes.data(), static_cast<uint32_t>(bytes.size()), landings, pieces,
                       &broken);
  }

  std::atomic<uint32_t> lost{0};
  GuestRam ram;
  Driver driver;
  std::shared_ptr<const GuestMemory> memory;
  Ring queue;
  PieceStore pieces;
  BreakReason broken = BreakReason::kNone;
  Chain chains[kBatchFramesMax];
  Landing landings[kBatchFramesMax];
};

struct OneQueue : QueueAlone<SplitDriver, SplitQueue> {
  OneQueue(GuestRam memory_of_guest, uint32_t size, uint64_t features, uint16_t index = 0)
      : QueueAlone(std::move(memory_of_guest), size, index) {
    queue.Start(driver.RingsIn(*memory), size, index, features);
  }
  OneQueue(uint32_t size, uint64_t features, uint16_t index = 0)
      : OneQueue(GuestRam::OfBytes(4 << 20), size, features, index) {}
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
