// Packets from workers to control, as the blocks that a file has them in, one behind the other
// without anything between them, through a ring of fixed size without a lock.
//
//   bytes_   |.....|block|block|block|.........|
//                  ^ read_           ^ written_
//
// Positions only grow. A block never wraps: where it does not fit before the end, kSkip is in its
// place, which is no type of a block. A writer that finds the ring empty goes on at its beginning
// (Begin), so that as long as the reader keeps up both touch only what their caches hold.
//
// Does not: know more of a block than its type and its length. Thread: one writer and one reader.

#pragma once

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <memory>

namespace tsvswitch {

class PacketRing {
 public:
  // `bytes`: a power of two.
  explicit PacketRing(uint32_t bytes) : bytes_max_(bytes), bytes_(new uint8_t[bytes]) {}

  // Writer, in front of some blocks: sees what the reader has released.
  void Begin() {
    read_seen_ = read_.load(std::memory_order_acquire);
    // Nobody reads: to do so, the reader has to see something written behind this.
    if (read_seen_ == reserved_) start_.store(reserved_, std::memory_order_relaxed);
  }
  // Writer: contiguous room for `bytes`, a multiple of 4, or nullptr until the reader has released
  // some.
  uint8_t* Reserve(uint32_t bytes) {
    assert(bytes % 4 == 0);
    const uint32_t to_end = BytesToEnd(reserved_);
    const uint32_t skipped = bytes > to_end ? to_end : 0;
    if (RoomBytes() < skipped + bytes) [[unlikely]] {
      read_seen_ = read_.load(std::memory_order_acquire);
      if (RoomBytes() < skipped + bytes) return nullptr;
    }
    if (skipped != 0) [[unlikely]] {
      std::memcpy(At(reserved_), &kSkip, sizeof(kSkip));
      reserved_ += skipped;
    }
    uint8_t* const block = At(reserved_);
    reserved_ += bytes;
    return block;
  }
  // Writer: where it may write without asking for each block, and that it has, up to room.at.
  struct Room {
    uint8_t* at;
    uint32_t bytes;
  };
  Room room() const { return {At(reserved_), std::min(BytesToEnd(reserved_), RoomBytes())}; }
  void Use(const Room& room) { reserved_ += static_cast<uint64_t>(room.at - At(reserved_)); }
  // Writer: shows the reader everything that was reserved.
  void Publish() { written_.store(reserved_, std::memory_order_seq_cst); }

  // Blocks one behind the other, up to the end or to the first word that is no type of a block.
  struct Run {
    uint8_t* at;
    uint32_t bytes;
  };
  // Reader: what comes next, nothing if there is nothing.
  Run Next() {
    if (taken_ == written_seen_) {
      written_seen_ = written_.load(std::memory_order_seq_cst);
      if (taken_ == written_seen_) return {nullptr, 0};
    }
    uint32_t type;
    std::memcpy(&type, At(taken_), sizeof(type));
    // A skip and the block behind it are published together.
    if (type == kSkip) [[unlikely]]
      taken_ += BytesToEnd(taken_);
    const uint64_t written = written_seen_ - taken_;
    return {At(taken_), static_cast<uint32_t>(std::min<uint64_t>(written, BytesToEnd(taken_)))};
  }
  // Reader: bytes between what it has released and what is published.
  uint64_t waiting() const { return written_.load(std::memory_order_acquire) - taken_; }
  // Reader: gives back the first `bytes` of it, whole blocks.
  void Release(uint32_t bytes) {
    taken_ += bytes;
    read_.store(taken_, std::memory_order_release);
  }

 private:
  static constexpr uint32_t kSkip = ~0u;
  uint32_t RoomBytes() const { return bytes_max_ - static_cast<uint32_t>(reserved_ - read_seen_); }
  uint32_t OffsetOf(uint64_t position) const {
    const uint64_t start = start_.load(std::memory_order_relaxed);
    return static_cast<uint32_t>(position - start) & (bytes_max_ - 1);
  }
  uint32_t BytesToEnd(uint64_t position) const { return bytes_max_ - OffsetOf(position); }
  uint8_t* At(uint64_t position) const { return &bytes_[OffsetOf(position)]; }

  const uint32_t bytes_max_;
  // Left uninitialised: pages that are never used are never touched.
  const std::unique_ptr<uint8_t[]> bytes_;
  alignas(64) std::atomic<uint64_t> written_{0};
  // The position at the beginning of bytes_. Changed only while the ring is empty, and seen by the
  // reader with what is written behind that.
  std::atomic<uint64_t> start_{0};
  uint64_t reserved_ = 0;   // the writer's
  uint64_t read_seen_ = 0;  // the writer's
  alignas(64) std::atomic<uint64_t> read_{0};
  uint64_t taken_ = 0;         // the reader's
  uint64_t written_seen_ = 0;  // the reader's
};

}  // namespace tsvswitch
