// Bytes from one thread to another, frame by frame, through a ring of fixed size without a lock.
//
//   bytes_   |.....|len frame|len frame|.........|
//                  ^ read_             ^ written_
//
// Positions only grow. A frame never wraps: where it does not fit before the end, kSkip fills it.
//
// Thread: one writer and one reader.

#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>

namespace tsvswitch {

class FrameRing {
 public:
  // `bytes`: a power of two.
  explicit FrameRing(uint32_t bytes) : bytes_max_(bytes), bytes_(new uint8_t[bytes]) {}

  // Writer: contiguous room for `bytes`, or nullptr until the reader has released some.
  // Inline, for the loops of those who write many.
  uint8_t* Reserve(uint32_t bytes) {
    const uint32_t wanted = RecordBytes(bytes);
    const uint32_t to_end = BytesToEnd(reserved_);
    const uint32_t skipped = wanted > to_end ? to_end : 0;
    if (RoomBytes() < skipped + wanted) [[unlikely]]
      return nullptr;
    if (skipped != 0) [[unlikely]] {
      std::memcpy(At(reserved_), &kSkip, sizeof(kSkip));
      reserved_ += skipped;
    }
    uint8_t* const record = At(reserved_);
    reserved_ += wanted;
    std::memcpy(record, &bytes, sizeof(bytes));
    return record + kLengthBytes;
  }
  // Writer: shows the reader everything that was reserved.
  void Publish() { written_.store(reserved_, std::memory_order_seq_cst); }
  // Writer: how many frames of `bytes` there is room for.
  uint32_t RoomFrames(uint32_t bytes) const { return RoomBytes() / RecordBytes(bytes); }

  // Reader: the next frame, or nullptr. It stays until Release, which gives all taken ones back.
  uint8_t* Take(uint32_t* bytes);
  // Reader: how long the next frame is, 0 if there is none.
  uint32_t NextBytes();
  void Release() { read_.store(taken_, std::memory_order_seq_cst); }
  // Reader: where it is, and back to where it was since the last Release: frames taken are taken
  // again.
  uint64_t taken() const { return taken_; }
  void TakeAgainFrom(uint64_t taken) { taken_ = taken; }

  // Either side: whether everything published has been released.
  bool Drained() const {
    return read_.load(std::memory_order_seq_cst) == written_.load(std::memory_order_seq_cst);
  }

 private:
  static constexpr uint32_t kLengthBytes = 8;  // keeps frames aligned
  static constexpr uint32_t kSkip = ~0u;
  static uint32_t RecordBytes(uint32_t bytes) { return kLengthBytes + (bytes + 7) / 8 * 8; }
  uint32_t RoomBytes() const {
    return bytes_max_ - static_cast<uint32_t>(reserved_ - read_.load(std::memory_order_seq_cst));
  }
  uint32_t BytesToEnd(uint64_t position) const {
    return bytes_max_ - static_cast<uint32_t>(position & (bytes_max_ - 1));
  }
  uint8_t* At(uint64_t position) const { return &bytes_[position & (bytes_max_ - 1)]; }

  const uint32_t bytes_max_;
  // Left uninitialised: pages that are never used are never touched.
  const std::unique_ptr<uint8_t[]> bytes_;
  alignas(64) std::atomic<uint64_t> written_{0};
  uint64_t reserved_ = 0;  // the writer's
  alignas(64) std::atomic<uint64_t> read_{0};
  uint64_t taken_ = 0;  // the reader's
};

}  // namespace tsvswitch
