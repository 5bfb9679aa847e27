// Walks chains, for both ring formats. See chain.h.

#include "core/ring/chain.h"

#include <algorithm>

#include "core/memory/guest_memory.h"

namespace tsvswitch {

const char* BreakReasonCode(BreakReason reason) {
  static constexpr const char* kCodes[] = {
#define X(name, code) code,
      TSVSWITCH_BREAK_REASONS(X)
#undef X
  };
  return kCodes[static_cast<size_t>(reason)];
}

BreakReason AppendBuffer(Translator& translate, uint64_t address, uint32_t length, uint16_t flags,
                         Access access, PieceStore& pieces, uint32_t* bytes) {
  const bool writes = (flags & VIRTQ_DESC_F_WRITE) != 0;
  if (writes != (access == Access::kDeviceWrites)) return BreakReason::kWrongDirection;
  // Every turn takes at least one byte and the sum is bounded, so kChainBytesMax bounds the loop.
  while (length > 0 && *bytes <= kChainBytesMax) {
    const Span span = translate(address, length);
    if (span.bytes == 0) return BreakReason::kAddressUnmapped;
    const uint32_t room = kChainBytesMax + 1 - *bytes;
    const uint32_t taken = span.bytes < room ? static_cast<uint32_t>(span.bytes) : room;
    pieces.Append(span.data, taken);
    *bytes += taken;
    address += taken;
    length -= taken;
  }
  return BreakReason::kNone;
}

BreakReason CommandChain::Append(Translator& translate, uint64_t address, uint32_t length,
                                 uint16_t flags) {
  const bool writes = (flags & VIRTQ_DESC_F_WRITE) != 0;
  if (length == 0) return BreakReason::kNone;
  if (!writes && status != nullptr) return BreakReason::kReadBehindWrite;
  if (writes) {
    if (status != nullptr) return BreakReason::kNone;
    const Span first = translate(address, 1);
    if (first.bytes == 0) return BreakReason::kAddressUnmapped;
    status = first.data;
    return BreakReason::kNone;
  }
  const uint32_t room = kBytesMax - std::min(bytes, kBytesMax);
  const uint32_t copied = std::min(length, room);
  if (copied != 0 && !translate.Read(address, data.get() + bytes, copied)) {
    return BreakReason::kAddressUnmapped;
  }
  bytes += std::min(length, UINT32_MAX - bytes);
  return BreakReason::kNone;
}

}  // namespace tsvswitch
