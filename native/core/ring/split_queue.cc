// See virtqueue.h for the contract and split_queue.h for this format.

#include "core/ring/split_queue.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>

#include "core/platform/checks.h"
#include "core/platform/prefetch.h"
#include "core/platform/shared_word.h"

namespace tsvswitch {

namespace {

// §2.7.7.2: whether moving an index from `before` to `now` passes `event`.
bool NeedsEvent(uint16_t event, uint16_t now, uint16_t before) {
  return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

}  // namespace

void SplitQueue::Start(const Rings& rings, uint32_t size, uint32_t base, uint64_t features) {
  ring_.size = size;
  ring_.mask = size - 1;
  next_avail_ = seen_avail_ = static_cast<uint16_t>(base);
  next_used_ = published_used_ = called_used_ = next_avail_;
  Negotiate(features);
  Move(rings);
  DisableKicks();
}

void SplitQueue::Move(const Rings& rings) {
  // Alignment (§2.7: 16, 2, 4) was checked when the addresses were accepted.
  ring_.desc = reinterpret_cast<VirtqDesc*>(rings.desc);
  ring_.avail = reinterpret_cast<VirtqAvail*>(rings.avail);
  ring_.used = reinterpret_cast<VirtqUsed*>(rings.used);
  memory_ = rings.memory;
}

uint16_t* SplitQueue::avail_event() const {
  return reinterpret_cast<uint16_t*>(&ring_.used->ring[ring_.size]);
}

uint32_t SplitQueue::Offered(uint32_t wanted, BreakReason* broken) {
  uint32_t offered = static_cast<uint16_t>(seen_avail_ - next_avail_);
  if (offered >= wanted) return offered;
  // Acquire: ring entries and descriptors behind the index are read after it (§2.7.13.3).
  const uint16_t index = Load(ring_.avail->idx, std::memory_order_acquire);
  offered = static_cast<uint16_t>(index - next_avail_);
  // Buffers that are claimed and not published yet still have their places in the ring.
  const uint16_t held = static_cast<uint16_t>(next_avail_ - published_used_);
  if (!BoundsHold(offered <= ring_.size - held)) [[unlikely]] {
    *broken = BreakReason::kAvailIndexJump;
    return 0;
  }
  seen_avail_ = index;
  return offered;
}

// The general case: any number of descriptors, direct or in one indirect table (§2.7.5.3). `append`
// is given the address, length and flags of each.
template <class Append>
BreakReason SplitQueue::Walk(Translator& translate, const VirtqDesc& head, Append append) {
  VirtqDesc d = head;
  bool in_table = false;
  uint64_t table = 0;  // guest address of the indirect table
  uint32_t table_entries = ring_.size;
  for (uint32_t walked = 0; walked < ring_.size; ++walked) {
    ++walked_;
    if ((d.flags & VIRTQ_DESC_F_INDIRECT) != 0) {
      if (!indirect_) return BreakReason::kIndirectNotNegotiated;
      if (in_table || (d.flags & VIRTQ_DESC_F_NEXT) != 0) return BreakReason::kIndirectNested;
      table_entries = d.len / uint32_t{sizeof(VirtqDesc)};
      if (table_entries == 0 || d.len % sizeof(VirtqDesc) != 0 || table_entries > ring_.size) {
        return BreakReason::kIndirectBadTable;
      }
      in_table = true;
      table = d.addr;
      walked = 0;  // from here on the table's length counts
      if (!translate.Read(table, &d, sizeof(d))) return BreakReason::kAddressUnmapped;
      if ((d.flags & VIRTQ_DESC_F_INDIRECT) != 0) return BreakReason::kIndirectNested;
    }
    const BreakReason reason = append(d.addr, d.len, d.flags);
    if (reason != BreakReason::kNone) return reason;
    if ((d.flags & VIRTQ_DESC_F_NEXT) == 0) return BreakReason::kNone;
    if (d.next >= table_entries) return BreakReason::kNextOutOfRange;
    if (!in_table) {
      d = ring_.DescAt(d.next);
    } else if (!translate.Read(table + d.next * sizeof(VirtqDesc), &d, sizeof(d))) {
      return BreakReason::kAddressUnmapped;
    }
  }
  return BreakReason::kChainTooLong;
}

BreakReason SplitQueue::WalkChain(Translator& translate, const VirtqDesc& head, Access access,
                                  PieceStore& pieces, uint32_t* bytes) {
  *bytes = 0;
  return Walk(translate, head, [&](uint64_t address, uint32_t length, uint16_t flags) {
    return AppendBuffer(translate, address, length, flags, access, pieces, bytes);
  });
}

bool SplitQueue::TakeCommand(CommandChain* command, BreakReason* broken) {
  if (Offered(1, broken) == 0) return false;
  const uint16_t head = ring_.HeadAt(next_avail_);
  if (head >= ring_.size) {
    *broken = BreakReason::kHeadOutOfRange;
    return false;
  }
  Translator translate(*memory_);
  command->Clear();
  *broken =
      Walk(translate, ring_.DescAt(head), [&](uint64_t address, uint32_t length, uint16_t flags) {
        return command->Append(translate, address, length, flags);
      });
  if (*broken != BreakReason::kNone) return false;
  command->id = head;
  command->descriptors = 1;
  ++next_avail_;
  return true;
}

void SplitQueue::ReturnCommand(uint16_t id, uint16_t, uint32_t written) {
  ring_.WriteUsed(next_used_, id, written);
  ++next_used_;
  Publish();
}

uint32_t SplitQueue::Take(uint32_t max, Chain* chains, PieceStore& pieces, BreakReason* broken) {
  const uint32_t heads = TakeHeads(std::min(Offered(max, broken), max), chains, broken);
  Translator translate(*memory_);
  uint32_t count = 0;
  walked_ = 0;
  for (;;) {
    count += TakePlain(translate, chains + count, heads - count, pieces);
    if (count == heads || walked_ >= kWalkedPerTake || !pieces.HasRoomForChain()) break;
    Chain& chain = chains[count];
    chain.first_piece = pieces.used();
    const BreakReason reason =
        WalkChain(translate, ring_.DescAt(chain.id), Access::kDeviceReads, pieces, &chain.bytes);
    if (reason != BreakReason::kNone) {
      *broken = reason;
      break;
    }
    chain.piece_count = pieces.used() - chain.first_piece;
    walked_ += chain.piece_count;
    if (chain.piece_count != 0) PrefetchToRead(pieces.at(chain.first_piece)->data);
    ++count;
  }
  next_avail_ = static_cast<uint16_t>(next_avail_ + count);
  FrameSource::walked_ = walked_;
  return count;
}

// The heads of the next `count` chains, whose descriptors are on their way when this returns how
// many are good.
uint32_t SplitQueue::TakeHeads(uint32_t count, Chain* chains, BreakReason* broken) const {
  const Ring ring = ring_;
  const uint32_t next = next_avail_;
  for (uint32_t i = 0; i < count; ++i) {
    const uint16_t head = ring.HeadAt(next + i);
    if (!BoundsHold(head < ring.size)) [[unlikely]] {
      *broken = BreakReason::kHeadOutOfRange;
      return i;
    }
    chains[i].id = head;
    PrefetchToRead(&ring.desc[head]);
  }
  return count;
}

// From the front, as many chains as are one plain descriptor each.
uint32_t SplitQueue::TakePlain(Translator& translate, Chain* chains, uint32_t count,
                               PieceStore& pieces) const {
  const Ring ring = ring_;
  constexpr uint16_t kNotPlain = VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_WRITE;
  const uint32_t first = pieces.used();
  Piece* const piece = pieces.at(first);
  uint32_t taken = 0;
  for (; taken < count; ++taken) {
    Chain& chain = chains[taken];
    const VirtqDesc d = ring.DescAt(chain.id);
    const Span span = translate(d.addr, d.len);
    // 0 - 1 wraps, so one comparison refuses both empty and overlong buffers.
    if ((d.flags & kNotPlain) != 0 ||
        !BoundsHold(span.bytes == d.len && d.len - 1 < kChainBytesMax)) [[unlikely]] {
      break;
    }
    PrefetchToRead(span.data);
    PrefetchToRead(span.data + 64);
    piece[taken] = {span.data, d.len};
    chain.first_piece = first + taken;
    chain.piece_count = 1;
    chain.bytes = d.len;
  }
  pieces.Grow(taken);
  return taken;
}

uint16_t SplitQueue::Ring::HeadAt(uint32_t position) const {
  return Load(avail->ring[position & mask], std::memory_order_relaxed);
}

// Two loads and no more: the compiler may not read a word of it again after it was checked.
VirtqDesc SplitQueue::Ring::DescAt(uint32_t index) const {
  auto* words = reinterpret_cast<uint64_t*>(&desc[index]);
  return std::bit_cast<VirtqDesc>(std::array<uint64_t, 2>{
      Load(words[0], std::memory_order_relaxed), Load(words[1], std::memory_order_relaxed)});
}

// An element that says the same already is left alone, so that its cache line stays with both
// sides. Drivers that use their buffers in turn find the same elements round after round: 36.5 →
// 42.7 Mpps.
void SplitQueue::Ring::WriteUsed(uint32_t position, uint32_t id, uint32_t bytes) const {
  VirtqUsedElem& element = used->ring[position & mask];
  const VirtqUsedElem written = {id, bytes};
  if (std::bit_cast<uint64_t>(element) != std::bit_cast<uint64_t>(written)) element = written;
}

void SplitQueue::Return(const Chain* chains, uint32_t count) {
  const Ring ring = ring_;
  if (in_order_ && count != 0) {
    // §2.7.9: one entry with the last chain's head stands for all, at the first chain's place.
    ring.WriteUsed(next_used_, chains[count - 1].id, 0);
  } else {
    for (uint32_t i = 0; i < count; ++i) {
      ring.WriteUsed(next_used_ + i, chains[i].id, 0);
    }
  }
  next_used_ = static_cast<uint16_t>(next_used_ + count);
  Publish();
}

uint32_t SplitQueue::Claim(const uint32_t* bytes, uint32_t count, Landing* landings,
                           PieceStore& pieces, BreakReason* broken) {
  const uint32_t offered = std::min(Offered(count, broken), count);
  for (uint32_t i = 0; i < offered; ++i) {
    const uint16_t head = ring_.HeadAt(next_avail_ + i);
    // Only a hint: the entry is read again and checked below.
    PrefetchToRead(&ring_.desc[head & ring_.mask]);
  }
  Translator translate(*memory_);
  uint32_t done = 0;
  walked_ = 0;
  for (;;) {
    done += ClaimPlain(translate, bytes + done, count - done, landings + done);
    if (done == count) break;
    if (walked_ >= kWalkedPerClaim) {
      PauseClaim();
      return done;
    }
    if (ClaimScattered(translate, bytes[done], landings[done], pieces, broken) !=
        ClaimResult::kDecided) {
      return done;
    }
    ++done;
  }
  if (seen_avail_ != next_avail_) {
    // The next frame may come alone, and would wait for its landing: 280 → 270 ns one way.
    const uint16_t head = ring_.HeadAt(next_avail_);
    const Span landing = translate(ring_.DescAt(head & ring_.mask).addr, 1);
    if (landing.bytes != 0) {
      PrefetchToWrite(landing.data);
      PrefetchToWrite(landing.data + 64);
    }
  }
  return done;
}

// From the front, as many frames as fit one plain descriptor each.
uint32_t SplitQueue::ClaimPlain(Translator& translate, const uint32_t* bytes, uint32_t count,
                                Landing* landings) {
  const Ring ring = ring_;
  const uint32_t avail = next_avail_;
  const uint32_t used = next_used_;
  count = std::min<uint32_t>(count, static_cast<uint16_t>(seen_avail_ - avail));
  uint32_t claimed = 0;
  for (; claimed < count; ++claimed) {
    const uint16_t head = ring.HeadAt(avail + claimed);
    const VirtqDesc d = ring.DescAt(head & ring.mask);
    const Span span = translate(d.addr, bytes[claimed]);
    if (!BoundsHold(head < ring.size) || d.flags != VIRTQ_DESC_F_WRITE || d.len < bytes[claimed] ||
        !BoundsHold(span.bytes == bytes[claimed])) [[unlikely]] {
      break;
    }
    PrefetchToWrite(span.data);
    PrefetchToWrite(span.data + 64);
    landings[claimed] = {span.data, 0, 0, 1};
    ring.WriteUsed(used + claimed, head, bytes[claimed]);
  }
  next_avail_ = static_cast<uint16_t>(avail + claimed);
  next_used_ = static_cast<uint16_t>(used + claimed);
  return claimed;
}

// The general case: one chain after another until the frame fits. Nothing is kept of a claim that
// does not end well, so its chains are there for the next frame.
SplitQueue::ClaimResult SplitQueue::ClaimScattered(Translator& translate, uint32_t bytes,
                                                   Landing& landing, PieceStore& pieces,
                                                   BreakReason* broken) {
  landing = {nullptr, pieces.used(), 0, 0};
  const auto give_up = [&](ClaimResult result) {
    walked_ += pieces.used() - landing.first_piece;
    pieces.ShrinkTo(landing.first_piece);
    return result;
  };
  uint32_t found = 0;
  const uint32_t walked_before = walked_;
  for (uint16_t chains = 0; chains < ring_.size;) {
    if (!pieces.HasRoomForChain()) return give_up(PauseClaim());
    if (Offered(chains + 1u, broken) <= chains) {
      return give_up(*broken == BreakReason::kNone ? Short(chains) : ClaimResult::kBroken);
    }
    if (walked_ - walked_before >= kWalkedPerFrame) return give_up(ClaimResult::kDecided);
    const uint16_t head = ring_.HeadAt(next_avail_ + chains);
    uint32_t chain_bytes = 0;
    *broken = head < ring_.size ? WalkChain(translate, ring_.DescAt(head), Access::kDeviceWrites,
                                            pieces, &chain_bytes)
                                : BreakReason::kHeadOutOfRange;
    if (*broken == BreakReason::kNone && chain_bytes < header_bytes_) {
      *broken = BreakReason::kBufferBelowHeader;
    }
    if (*broken != BreakReason::kNone) return give_up(ClaimResult::kBroken);
    const uint32_t filled = std::min(chain_bytes, bytes - found);
    ring_.WriteUsed(next_used_ + chains, head, filled);
    ++chains;
    found += filled;
    if (found == bytes) {
      landing.piece_count = pieces.used() - landing.first_piece;
      landing.num_buffers = chains;
      walked_ += landing.piece_count;
      merged_bytes_max_ = std::max(merged_bytes_max_, bytes);
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
  // Release: the used entries, and the frames they speak of, are written before the index
  // (§2.7.8.2).
  Store(ring_.used->idx, published_used_, std::memory_order_release);
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
  return (Load(ring_.avail->flags, std::memory_order_relaxed) & VIRTQ_AVAIL_F_NO_INTERRUPT) == 0;
}

void SplitQueue::EnableKicks() {
  if (event_idx_) {
    Store(*avail_event(), next_avail_, std::memory_order_relaxed);
  } else {
    Store(ring_.used->flags, uint16_t{0}, std::memory_order_relaxed);
  }
  // The wish must be visible before the caller looks at the avail index once more (§2.7.10).
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void SplitQueue::DisableKicks() {
  // With EVENT_IDX the event index simply stays behind: the driver kicks when it next passes it.
  if (!event_idx_) Store(ring_.used->flags, VIRTQ_USED_F_NO_NOTIFY, std::memory_order_relaxed);
}

}  // namespace tsvswitch
