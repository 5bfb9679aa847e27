// The buffers of one queue: as many as fit its descriptors, each owned by the same descriptors for
// life.
//
// Buffer i is what a ring posts and gets back as i. It is one piece for the device, or a chain of
// pieces of a page where frames are larger than any wire takes, as a guest's memory comes in pages.
// The bytes given to the device are decided once, at the start.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "port_memory.h"

namespace tsvswitch::bench {

enum class BufferUse { kDeviceReads, kDeviceWrites };

struct BufferShape {
  size_t buffer_bytes;
  size_t piece_bytes;  // Not less than buffer_bytes: one piece.
  BufferUse use;

  uint16_t Pieces() const {
    return static_cast<uint16_t>((buffer_bytes + piece_bytes - 1) / piece_bytes);
  }
  // How many there are for a queue of `queue_size` descriptors.
  uint16_t Count(uint16_t queue_size) const { return static_cast<uint16_t>(queue_size / Pieces()); }
};

class Buffers {
 public:
  // What a device is told of one descriptor.
  struct Piece {
    uint64_t guest_address;
    uint32_t bytes;
  };

  // How much memory they take, rounding included.
  static size_t MemoryBytes(const BufferShape& shape, uint16_t queue_size);

  // Each is posted whole until SetPostedBytes.
  Buffers(PortMemory& memory, const BufferShape& shape, uint16_t queue_size);

  uint8_t* At(uint32_t id) const { return base_ + id * stride_bytes_; }
  // How many there are, and how many descriptors each takes.
  uint16_t count() const { return count_; }
  uint16_t pieces() const { return pieces_; }
  bool device_writes() const { return shape_.use == BufferUse::kDeviceWrites; }

  // Only before a ring was made over them. Takes as many pieces as the whole buffer, or the buffer
  // must be one piece.
  void SetPostedBytes(uint32_t id, size_t bytes) { posted_bytes_[id] = bytes; }

  // Piece `index` of what is posted of a buffer.
  Piece PieceOf(uint32_t id, uint16_t index) const {
    const size_t offset = index * shape_.piece_bytes;
    const size_t left = posted_bytes_[id] - offset;
    const size_t bytes = left < shape_.piece_bytes ? left : shape_.piece_bytes;
    return {guest_base_ + id * stride_bytes_ + offset, static_cast<uint32_t>(bytes)};
  }

 private:
  BufferShape shape_;
  size_t stride_bytes_;
  uint16_t pieces_;
  uint16_t count_;
  uint8_t* base_;
  uint64_t guest_base_;
  std::vector<size_t> posted_bytes_;
};

}  // namespace tsvswitch::bench
