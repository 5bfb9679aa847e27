// See virtqueue.h for the contract and split_queue.h for what is particular to this format.

#include "split_queue.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>

#include "checks.h"
#include "prefetch.h"
#include "shared_word.h"

namespace tsvswitch {

namespace {

// §2.7.7.2: whether moving an index from `before` to `now` passes `event`.
bool NeedsEvent(uint16_t event, uint16_t now, uint16_t before) {
  return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

}  // namespace

void SplitQueue::Start(const Rings& rings, uint32_t size, uint32_t base, uint64_t features) {
  size_ = size;
  mask_ = static_cast<uint16_t>(size - 1);
  next_avail_ = seen_avail_ = static_cast<uint16_t>(base);
  next_used_ = published_used_ = called_used_ = next_avail_;
  Negotiate(features);
  Move(rings);
  DisableKicks();
}

void SplitQueue::Move(const Rings& rings) {
  // Alignment (§2.7: 16, 2, 4) was checked when the addresses were accepted.
  desc_ = reinterpret_cast<VirtqDesc*>(rings.desc);
  avail_ = reinterpret_cast<VirtqAvail*>(rings.avail);
  used_ = reinterpret_cast<VirtqUsed*>(rings.used);
}

uint16_t* SplitQueue::avail_event() const {
  return reinterpret_cast<uint16_t*>(&used_->ring[size_]);
}

uint32_t SplitQueue::Offered(uint32_t wanted, BreakReason* broken) {
  uint32_t offered = static_cast<uint16_t>(seen_avail_ - next_avail_);
  if (offered >= wanted) return offered;
  // Acquire: ring entries and descriptors behind the index are read after it (§2.7.13.3).
  const uint16_t index = Load(avail_->idx, std::memory_order_acquire);
  offered = static_cast<uint16_t>(index - next_avail_);
  // What is claimed and not published yet still has its place in the ring.
  const uint16_t held = static_cast<uint16_t>(next_avail_ - published_used_);
  if (!Holds(offered <= size_ - held)) [[unlikely]] {
    *broken = BreakReason::kAvailIndexJump;
    return 0;
  }
  seen_avail_ = index;
  return offered;
}

// The general case: any number of descriptors, direct or in one indirect table (§2.7.5.3).
BreakReason SplitQueue::WalkChain(Translator& translate, const VirtqDesc& head, Access access,
                                  PieceStore& pieces, uint32_t* bytes) {
  VirtqDesc d = head;
  bool in_table = false;
  uint64_t table = 0;  // guest address of the indirect table
  uint32_t table_entries = size_;
  *bytes = 0;
  for (uint32_t walked = 0; walked < size_; ++walked) {
    if ((d.flags & VIRTQ_DESC_F_INDIRECT) != 0) {
      if (!indirect_) return BreakReason::kIndirectNotNegotiated;
      if (in_table || (d.flags & VIRTQ_DESC_F_NEXT) != 0) return BreakReason::kIndirectNested;
      table_entries = d.len / uint32_t{sizeof(VirtqDesc)};
      if (table_entries == 0 || d.len % sizeof(VirtqDesc) != 0 || table_entries > size_) {
        return BreakReason::kIndirectBadTable;
      }
      in_table = true;
      table = d.addr;
      walked = 0;  // from here on the table's length counts
      if (!translate.Read(table, &d, sizeof(d))) return BreakReason::kAddressUnmapped;
      if ((d.flags & VIRTQ_DESC_F_INDIRECT) != 0) return BreakReason::kIndirectNested;
    }
    const BreakReason reason =
        AppendBuffer(translate, d.addr, d.len, d.flags, access, pieces, bytes);
    if (reason != BreakReason::kNone) return reason;
    if ((d.flags & VIRTQ_DESC_F_NEXT) == 0) return BreakReason::kNone;
    if (d.next >= table_entries) return BreakReason::kNextOutOfRange;
    if (!in_table) {
      d = DescAt(d.next);
    } else if (!translate.Read(table + d.next * sizeof(VirtqDesc), &d, sizeof(d))) {
      return BreakReason::kAddressUnmapped;
    }
  }
  return BreakReason::kChainTooLong;
}

uint32_t SplitQueue::Take(const GuestMemory& memory, uint32_t max, Chain* chains,
                          PieceStore& pieces, BreakReason* broken) {
  uint32_t count = std::min(Offered(max, broken), max);
  // First all heads, so that the descriptors are on their way when the second loop reads them.
  for (uint32_t i = 0; i < count; ++i) {
    const uint16_t head = HeadAt(static_cast<uint16_t>(next_avail_ + i));
    if (!Holds(head < size_)) [[unlikely]] {
      *broken = BreakReason::kHeadOutOfRange;
      count = i;
      break;
    }
    chains[i].id = head;
    PrefetchToRead(&desc_[head]);
  }
  Translator translate(memory);
  for (uint32_t i = 0; i < count; ++i) {
    Chain& chain = chains[i];
    const VirtqDesc d = DescAt(chain.id);
    chain.first_piece = pieces.used();
    const Span span = translate(d.addr, d.len);
    constexpr uint16_t kNotPlain = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE;
    // 0 - 1 wraps, so one comparison refuses both empty and overlong buffers.
    if ((d.flags & kNotPlain) == 0 && Holds(span.bytes == d.len && d.len - 1 < kChainBytesMax))
        [[likely]] {
      PrefetchToRead(span.data);
      PrefetchToRead(span.data + 64);
      pieces.Append(span.data, d.len);
      chain.bytes = d.len;
      chain.piece_count = 1;
      continue;
    }
    if (!pieces.HasRoomForChain()) {
      count = i;
      break;
    }
    const BreakReason reason = WalkChain(translate, d, Access::kDeviceReads, pieces, &chain.bytes);
    if (reason != BreakReason::kNone) {
      *broken = reason;
      count = i;
      break;
    }
    chain.piece_count = pieces.used() - chain.first_piece;
    if (chain.piece_count != 0) PrefetchToRead(pieces.at(chain.first_piece)->data);
  }
  next_avail_ = static_cast<uint16_t>(next_avail_ + count);
  return count;
}

uint16_t SplitQueue::HeadAt(uint16_t position) const {
  return Load(avail_->ring[position & mask_], std::memory_order_relaxed);
}

// Two loads and no more: the compiler may not read a word of it again after it was checked.
VirtqDesc SplitQueue::DescAt(uint32_t index) const {
  auto* words = reinterpret_cast<uint64_t*>(&desc_[index]);
  return std::bit_cast<VirtqDesc>(std::array<uint64_t, 2>{
      Load(words[0], std::memory_order_relaxed), Load(words[1], std::memory_order_relaxed)});
}

void SplitQueue::WriteUsed(uint16_t position, uint32_t id, uint32_t bytes) {
  used_->ring[position & mask_] = {id, bytes};
}

void SplitQueue::Return(const Chain* chains, uint32_t count) {
  if (in_order_ && count != 0) {
    // §2.7.9: one entry with the last chain's head stands for all, at the first chain's place.
    WriteUsed(next_used_, chains[count - 1].id, 0);
  } else {
    for (uint32_t i = 0; i < count; ++i) {
      WriteUsed(static_cast<uint16_t>(next_used_ + i), chains[i].id, 0);
    }
  }
  next_used_ = static_cast<uint16_t>(next_used_ + count);
  Publish();
}

uint32_t SplitQueue::Claim(const GuestMemory& memory, const uint32_t* bytes, uint32_t count,
                           Landing* landings, PieceStore& pieces, BreakReason* broken) {
  const uint32_t offered = std::min(Offered(count, broken), count);
  for (uint32_t i = 0; i < offered; ++i) {
    const uint16_t head = HeadAt(static_cast<uint16_t>(next_avail_ + i));
    // Only a hint: the entry is read again and checked below.
    PrefetchToRead(&desc_[head & mask_]);
  }
  Translator translate(memory);
  for (uint32_t i = 0; i < count; ++i) {
    Landing& landing = landings[i];
    if (seen_avail_ != next_avail_) [[likely]] {
      const uint16_t head = HeadAt(next_avail_);
      const VirtqDesc d = DescAt(head & mask_);
      const Span span = translate(d.addr, bytes[i]);
      if (Holds(head < size_) && d.flags == VIRTQ_DESC_F_WRITE && d.len >= bytes[i] &&
          Holds(span.bytes == bytes[i])) [[likely]] {
        PrefetchToWrite(span.data);
        PrefetchToWrite(span.data + 64);
        landing = {span.data, 0, 0, 1};
        WriteUsed(next_used_, head, bytes[i]);
        ++next_used_;
        ++next_avail_;
        continue;
      }
    }
    if (ClaimScattered(translate, bytes[i], landing, pieces, broken) != ClaimResult::kDecided) {
      return i;
    }
  }
  return count;
}

// The general case: one chain after another until the frame fits. Nothing is kept of a claim that
// does not end well, so its chains are there for the next frame.
SplitQueue::ClaimResult SplitQueue::ClaimScattered(Translator& translate, uint32_t bytes,
                                                   Landing& landing, PieceStore& pieces,
                                                   BreakReason* broken) {
  landing = {nullptr, pieces.used(), 0, 0};
  const auto give_up = [&](ClaimResult result) {
    pieces.ShrinkTo(landing.first_piece);
    return result;
  };
  uint32_t found = 0;
  for (uint16_t chains = 0; chains < size_;) {
    if (!pieces.HasRoomForChain()) return give_up(ClaimResult::kNoBuffer);
    if (Offered(chains + 1u, broken) <= chains) {
      return give_up(*broken == BreakReason::kNone ? ClaimResult::kNoBuffer : ClaimResult::kBroken);
    }
    const uint16_t head = HeadAt(static_cast<uint16_t>(next_avail_ + chains));
    uint32_t chain_bytes = 0;
    *broken = head < size_ ? WalkChain(translate, DescAt(head), Access::kDeviceWrites, pieces,
                                       &chain_bytes)
                           : BreakReason::kHeadOutOfRange;
    if (*broken == BreakReason::kNone && chain_bytes < header_bytes_) {
      *broken = BreakReason::kBufferBelowHeader;
    }
    if (*broken != BreakReason::kNone) return give_up(ClaimResult::kBroken);
    const uint32_t filled = std::min(chain_bytes, bytes - found);
    WriteUsed(static_cast<uint16_t>(next_used_ + chains), head, filled);
    ++chains;
    found += filled;
    if (found == bytes) {
      landing.piece_count = pieces.used() - landing.first_piece;
      landing.num_buffers = chains;
      next_used_ = static_cast<uint16_t>(next_used_ + chains);
      next_avail_ = static_cast<uint16_t>(next_avail_ + chains);
      return ClaimResult::kDecided;
    }
    if (!mergeable_) break;
  }
  // num_buffers stays 0: no buffer, not even all of them together, holds this frame.
  return give_up(ClaimResult::kDecided);
}

void SplitQueue::Publish() {
  published_used_ = next_used_;
  // Release: the used entries, and the frames they speak of, are written before the index (§2.7.8.2).
  Store(used_->idx, published_used_, std::memory_order_release);
}

bool SplitQueue::CallWanted() {
  const uint16_t before = called_used_;
  called_used_ = published_used_;
  // The used index must be visible before the driver's wish is read, or both sides may sleep
  // (§2.7.7.1): store then load needs a full fence.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (event_idx_) {
    const uint16_t event = Load(*used_event(), std::memory_order_relaxed);
    return NeedsEvent(event, published_used_, before);
  }
  return (Load(avail_->flags, std::memory_order_relaxed) & VIRTQ_AVAIL_F_NO_INTERRUPT) == 0;
}

void SplitQueue::EnableKicks() {
  if (event_idx_) {
    Store(*avail_event(), next_avail_, std::memory_order_relaxed);
  } else {
    Store(used_->flags, uint16_t{0}, std::memory_order_relaxed);
  }
  // The wish must be visible before the caller looks at the avail index once more (§2.7.10).
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void SplitQueue::DisableKicks() {
  // With EVENT_IDX the event index simply stays behind: the driver kicks when it next passes it.
  if (!event_idx_) Store(used_->flags, VIRTQ_USED_F_NO_NOTIFY, std::memory_order_relaxed);
}

}  // namespace tsvswitch
