// Some bytes in a row of a frame that lies in pieces, without a copy and without a list of its own.
//
// A slice names its first piece, how far into it the bytes begin, and how many there are; the
// pieces after the first follow in memory. Cutting a frame into slices therefore allocates nothing,
// however many pieces its guest used. The pieces are private; the bytes they point at are guest
// memory, which may change between two reads.
//
// Invariant: the pieces from `piece` on hold at least skip + bytes bytes, and none of them is
// empty. Every loop here ends with `bytes`.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/ring/chain.h"

namespace tsvswitch {

struct Slice {
  const Piece* piece;
  uint32_t skip;  // less than piece->bytes while bytes != 0
  uint32_t bytes;
};

// Calls part(data, bytes) for each contiguous part, in order.
template <class Part>
inline void ForEachPart(const Slice& slice, Part part) {
  const Piece* piece = slice.piece;
  uint32_t skip = slice.skip;
  for (uint32_t left = slice.bytes; left > 0; ++piece, skip = 0) {
    const uint32_t bytes = std::min(left, piece->bytes - skip);
    part(static_cast<const uint8_t*>(piece->data + skip), bytes);
    left -= bytes;
  }
}

// Takes the first `bytes`, at most rest->bytes, off *rest.
inline Slice TakeFront(Slice* rest, uint32_t bytes) {
  const Slice front = {rest->piece, rest->skip, bytes};
  rest->bytes -= bytes;
  uint32_t skip = rest->skip;
  for (uint32_t left = bytes; left > 0;) {
    const uint32_t part = std::min(left, rest->piece->bytes - skip);
    left -= part;
    skip += part;
    if (skip == rest->piece->bytes) {
      ++rest->piece;
      skip = 0;
    }
  }
  rest->skip = skip;
  return front;
}

// Copies the first bytes of a slice, at most `room`, into private memory; returns how many.
inline uint32_t Gather(const Slice& slice, uint8_t* to, uint32_t room) {
  const uint32_t bytes = std::min(slice.bytes, room);
  ForEachPart({slice.piece, slice.skip, bytes}, [&to](const uint8_t* from, uint32_t part) {
    std::memcpy(to, from, part);
    to += part;
  });
  return bytes;
}

}  // namespace tsvswitch
