// See packed_queue.h for the protocol of flags and wrap counters.

#include "core/ring/packed_queue.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cassert>

#include "core/platform/checks.h"
#include "core/platform/prefetch.h"
#include "core/platform/shared_word.h"

namespace tsvswitch {

namespace {

constexpr uint16_t kOwnerFlags = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
// All flags that mean something in an available descriptor; the others are the driver's to leave.
constexpr uint16_t kMeaningFlags =
    kOwnerFlags | VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT;

// Takes the line of descriptors two ahead away from the driver: far enough for it to be there in
// time, near enough not to take lines that the driver is still filling. Beyond the ring's end it is
// only a hint.
void FetchAhead(PvirtqDesc* desc, uint32_t position) {
  constexpr uint32_t kPerLine = 64 / sizeof(PvirtqDesc);
  if (position % kPerLine == 0) PrefetchToWrite(desc + position + 2 * kPerLine);
}

}  // namespace

bool PackedQueue::Accepts(uint32_t size, uint32_t base) const {
  return size != 0 && size <= kQueueSizeMax &&
         Cursor::Of(static_cast<uint16_t>(base)).position < size &&
         Cursor::Of(static_cast<uint16_t>(base >> 16)).position < size;
}

void PackedQueue::Start(const Rings& rings, uint32_t size, uint32_t base, uint64_t features) {
  assert(Accepts(size, base));
  ring_.size = size;
  next_avail_ = Cursor::Of(static_cast<uint16_t>(base));
  next_used_ = Cursor::Of(static_cast<uint16_t>(base >> 16));
  ring_.desc = reinterpret_cast<PvirtqDesc*>(rings.desc);
  if (base == 0 && !WasUsed()) next_avail_ = next_used_ = Cursor{};
  // Frontends that leave the upper half empty (DPDK's) mean that nothing is in flight. It then
  // reads as a whole ring or more in flight, in which there would be nothing to take either.
  if (Distance(next_used_, next_avail_) >= ring_.size) next_used_ = next_avail_;
  called_used_ = next_used_;
  pending_count_ = 0;
  pending_.reset(new Element[size]);
  Negotiate(features);
  Move(rings);
  DisableKicks();
}

// Whether a device has ever handed a descriptor back in this ring on a lap whose wrap counter is 1:
// it then set USED there, and the driver leaves it set when it uses the descriptor on the next lap.
bool PackedQueue::WasUsed() const {
  for (uint32_t i = 0; i < ring_.size; ++i) {
    if ((Load(ring_.desc[i].flags, std::memory_order_relaxed) & VIRTQ_DESC_F_USED) != 0)
      return true;
  }
  return false;
}

bool PackedQueue::OutOfStep() const {
  const Cursor other = {next_avail_.position, !next_avail_.wrap};
  return Room() == ring_.size &&
         (ring_.Read(next_avail_.position).flags & kOwnerFlags) == other.AvailableFlags();
}

void PackedQueue::Move(const Rings& rings) {
  // Alignment (§2.8.10.1: 16, 4, 4) was checked when the addresses were accepted.
  ring_.desc = reinterpret_cast<PvirtqDesc*>(rings.desc);
  driver_ = reinterpret_cast<PvirtqEventSuppress*>(rings.avail);
  device_ = reinterpret_cast<PvirtqEventSuppress*>(rings.used);
  memory_ = rings.memory;
}

uint32_t PackedQueue::Distance(const Cursor& from, const Cursor& to) const {
  const uint32_t begin = from.position + (from.wrap ? 0 : ring_.size);
  const uint32_t end = to.position + (to.wrap ? 0 : ring_.size);
  return end >= begin ? end - begin : end + 2 * ring_.size - begin;
}

// Two loads: the word with the flags first and with acquire, as the address, and the rest of the
// chain, are read after them (§2.8.21.1).
PvirtqDesc PackedQueue::Ring::Read(uint32_t position) const {
  auto* words = reinterpret_cast<uint64_t*>(&desc[position]);
  const uint64_t back = Load(words[1], std::memory_order_acquire);
  return std::bit_cast<PvirtqDesc>(
      std::array<uint64_t, 2>{Load(words[0], std::memory_order_relaxed), back});
}

// Length, id and flags in one store.
void PackedQueue::Ring::Write(uint32_t position, const Element& used, uint16_t flags,
                              std::memory_order order) const {
  const PvirtqDesc d = {0, used.bytes, used.id, flags};
  auto* words = reinterpret_cast<uint64_t*>(&desc[position]);
  Store(words[1], std::bit_cast<std::array<uint64_t, 2>>(d)[1], order);
}

uint32_t PackedQueue::Offered(uint32_t wanted, BreakReason*) {
  Cursor at = next_avail_;
  uint32_t chains = 0;
  bool at_head = true;
  // Every turn passes one descriptor, so the room bounds the loop.
  for (uint32_t left = Room(); left > 0; --left) {
    const uint16_t flags = Load(ring_.desc[at.position].flags, std::memory_order_acquire);
    if ((flags & kOwnerFlags) != at.AvailableFlags()) break;
    // A chain counts from its head on: whatever is wrong with the rest, Take has something to do.
    if (at_head && ++chains == wanted) break;
    at_head = (flags & VIRTQ_DESC_F_NEXT) == 0;
    at.Advance(1, ring_.size);
  }
  return chains;
}

// An indirect table lists its descriptors one after the other; of their flags only WRITE counts
// (§2.8.7).
template <class Append>
BreakReason PackedQueue::WalkTable(Translator& translate, const PvirtqDesc& table, Append append) {
  if (!indirect_) return BreakReason::kIndirectNotNegotiated;
  const uint32_t entries = table.len / sizeof(PvirtqDesc);
  if (entries == 0 || table.len % sizeof(PvirtqDesc) != 0 || entries > ring_.size) {
    return BreakReason::kIndirectBadTable;
  }
  walked_ += entries;
  for (uint32_t i = 0; i < entries; ++i) {
    PvirtqDesc d;
    if (!translate.Read(table.addr + i * sizeof(d), &d, sizeof(d))) {
      return BreakReason::kAddressUnmapped;
    }
    const BreakReason reason = append(d.addr, d.len, d.flags);
    if (reason != BreakReason::kNone) return reason;
  }
  return BreakReason::kNone;
}

// The general case: any number of descriptors, or one that names an indirect table. `head` is what
// was read at `at`; the chain may use `room` descriptors, of which there is at least one. `append`
// is given the address, length and flags of each buffer.
template <class Append>
BreakReason PackedQueue::Walk(Translator& translate, Cursor at, uint32_t room,
                              const PvirtqDesc& head, Element* chain, Append append) {
  PvirtqDesc d = head;
  for (uint32_t walked = 1; walked <= room; ++walked) {
    ++walked_;
    if ((d.flags & VIRTQ_DESC_F_INDIRECT) != 0) {
      if (walked > 1 || (d.flags & VIRTQ_DESC_F_NEXT) != 0) return BreakReason::kIndirectNested;
      const BreakReason reason = WalkTable(translate, d, append);
      if (reason != BreakReason::kNone) return reason;
    } else {
      const BreakReason reason = append(d.addr, d.len, d.flags);
      if (reason != BreakReason::kNone) return reason;
    }
    if ((d.flags & VIRTQ_DESC_F_NEXT) == 0) {
      // §2.8.6: the id is in the last descriptor.
      chain->id = d.id;
      chain->descriptors = static_cast<uint16_t>(walked);
      return BreakReason::kNone;
    }
    if (walked == room) break;
    at.Advance(1, ring_.size);
    d = ring_.Read(at.position);
    // §2.8.17: the head is made available last, so the rest must be by now.
    if ((d.flags & kOwnerFlags) != at.AvailableFlags()) return BreakReason::kChainIncomplete;
  }
  return BreakReason::kChainTooLong;
}

BreakReason PackedQueue::WalkChain(Translator& translate, Cursor at, uint32_t room,
                                   const PvirtqDesc& head, Access access, PieceStore& pieces,
                                   Element* chain) {
  chain->bytes = 0;
  const auto append = [&](uint64_t address, uint32_t length, uint16_t flags) {
    return AppendBuffer(translate, address, length, flags, access, pieces, &chain->bytes);
  };
  return Walk(translate, at, room, head, chain, append);
}

bool PackedQueue::TakeCommand(CommandChain* command, BreakReason* broken) {
  const uint32_t room = Room();
  if (room == 0) return false;
  const PvirtqDesc head = ring_.Read(next_avail_.position);
  if ((head.flags & kOwnerFlags) != next_avail_.AvailableFlags()) return false;
  Translator translate(*memory_);
  command->Clear();
  Element chain = {};
  const auto append = [&](uint64_t address, uint32_t length, uint16_t flags) {
    return command->Append(translate, address, length, flags);
  };
  *broken = Walk(translate, next_avail_, room, head, &chain, append);
  if (*broken != BreakReason::kNone) return false;
  command->id = chain.id;
  command->descriptors = chain.descriptors;
  next_avail_.Advance(chain.descriptors, ring_.size);
  return true;
}

void PackedQueue::ReturnCommand(uint16_t id, uint16_t descriptors, uint32_t written) {
  const Element used = {written, id, descriptors};
  // §2.8.4: the length counts where WRITE is set.
  const uint16_t flags = written == 0 ? uint16_t{0} : VIRTQ_DESC_F_WRITE;
  WriteUsed(1, flags, [used](uint32_t) { return used; });
}

uint32_t PackedQueue::Take(uint32_t max, Chain* chains, PieceStore& pieces, BreakReason* broken) {
  Translator translate(*memory_);
  uint32_t count = 0;
  walked_ = 0;
  for (;;) {
    count += TakePlain(translate, chains + count, max - count, pieces);
    const uint32_t room = Room();
    if (count == max || room == 0) break;
    const PvirtqDesc head = ring_.Read(next_avail_.position);
    if ((head.flags & kOwnerFlags) != next_avail_.AvailableFlags()) break;
    if (walked_ >= kWalkedPerTake || !pieces.HasRoomForChain()) break;
    Chain& chain = chains[count];
    chain.first_piece = pieces.used();
    Element walked;
    *broken = WalkChain(translate, next_avail_, room, head, Access::kDeviceReads, pieces, &walked);
    if (*broken != BreakReason::kNone) break;
    chain.bytes = walked.bytes;
    chain.id = walked.id;
    chain.descriptors = walked.descriptors;
    chain.piece_count = pieces.used() - chain.first_piece;
    walked_ += chain.piece_count;
    if (chain.piece_count != 0) PrefetchToRead(pieces.at(chain.first_piece)->data);
    next_avail_.Advance(walked.descriptors, ring_.size);
    ++count;
  }
  FrameSource::walked_ = walked_;
  return count;
}

// From the front, as many chains as are one plain descriptor each. Every turn takes a descriptor,
// so the room bounds the loop as well as `count`.
uint32_t PackedQueue::TakePlain(Translator& translate, Chain* chains, uint32_t count,
                                PieceStore& pieces) {
  const Ring ring = ring_;
  Cursor at = next_avail_;
  const uint32_t first = pieces.used();
  Piece* const piece = pieces.at(first);
  count = std::min(count, Room());
  uint32_t taken = 0;
  for (; taken < count; ++taken) {
    // Read soon and written when the batch is returned.
    FetchAhead(ring.desc, at.position);
    const PvirtqDesc d = ring.Read(at.position);
    const Span span = translate(d.addr, d.len);
    // 0 - 1 wraps, so one comparison refuses both empty and overlong buffers.
    if ((d.flags & kMeaningFlags) != at.AvailableFlags() ||
        !BoundsHold(span.bytes == d.len && d.len - 1 < kChainBytesMax)) [[unlikely]] {
      break;
    }
    PrefetchToRead(span.data);
    PrefetchToRead(span.data + 64);
    piece[taken] = {span.data, d.len};
    chains[taken] = {.first_piece = first + taken,
                     .piece_count = 1,
                     .bytes = d.len,
                     .id = d.id,
                     .descriptors = 1};
    at.Advance(1, ring.size);
  }
  next_avail_ = at;
  pieces.Grow(taken);
  return taken;
}

// Writes `count` used elements, at least one, with `flags` besides those of the lap: the first
// one's flags last, since that is where the driver looks.
template <class ElementAt>
void PackedQueue::WriteUsed(uint32_t count, uint16_t flags, ElementAt element_at) {
  const Ring ring = ring_;
  const Element first = element_at(0);
  Cursor at = next_used_;
  at.Advance(first.descriptors, ring.size);
  for (uint32_t i = 1; i < count; ++i) {
    const Element used = element_at(i);
    // Element by element the order does not matter: the driver looks at none before the first.
    ring.Write(at.position, used, static_cast<uint16_t>(at.UsedFlags() | flags),
               std::memory_order_relaxed);
    at.Advance(used.descriptors, ring.size);
  }
  // Release: the elements, and the frames they speak of, are written before these flags (§2.8.22).
  ring.Write(next_used_.position, first, static_cast<uint16_t>(next_used_.UsedFlags() | flags),
             std::memory_order_release);
  next_used_ = at;
}

void PackedQueue::Return(const Chain* chains, uint32_t count) {
  if (count == 0) return;
  if (!in_order_) {
    WriteUsed(count, 0,
              [chains](uint32_t i) { return Element{0, chains[i].id, chains[i].descriptors}; });
    return;
  }
  // §2.8.8: one element with the last chain's id stands for all, at the first chain's place.
  uint32_t descriptors = 0;
  for (uint32_t i = 0; i < count; ++i) descriptors += chains[i].descriptors;
  const Element all = {0, chains[count - 1].id, static_cast<uint16_t>(descriptors)};
  WriteUsed(1, 0, [all](uint32_t) { return all; });
}

uint32_t PackedQueue::Claim(const uint32_t* bytes, uint32_t count, Landing* landings,
                            PieceStore& pieces, BreakReason* broken) {
  Translator translate(*memory_);
  uint32_t done = 0;
  walked_ = 0;
  for (;;) {
    done += ClaimPlain(translate, bytes + done, count - done, landings + done);
    if (done == count) return done;
    if (Room() == 0) {
      Short(0);
      return done;
    }
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
}

// From the front, as many frames as fit one plain descriptor each.
uint32_t PackedQueue::ClaimPlain(Translator& translate, const uint32_t* bytes, uint32_t count,
                                 Landing* landings) {
  const Ring ring = ring_;
  Cursor at = next_avail_;
  Element* const pending = &pending_[pending_count_];
  count = std::min(count, Room());
  uint32_t claimed = 0;
  for (; claimed < count; ++claimed) {
    FetchAhead(ring.desc, at.position);
    const PvirtqDesc d = ring.Read(at.position);
    const uint32_t wanted = bytes[claimed];
    const Span span = translate(d.addr, wanted);
    if ((d.flags & kMeaningFlags) != (at.AvailableFlags() | VIRTQ_DESC_F_WRITE) || d.len < wanted ||
        !BoundsHold(span.bytes == wanted)) [[unlikely]] {
      break;
    }
    PrefetchToWrite(span.data);
    PrefetchToWrite(span.data + 64);
    landings[claimed] = {span.data, 0, 0, 1};
    pending[claimed] = {wanted, d.id, 1};
    at.Advance(1, ring.size);
  }
  next_avail_ = at;
  pending_count_ += claimed;
  return claimed;
}

// The general case: one chain after another until the frame fits. Nothing is kept of a claim that
// does not end well, so its chains are there for the next frame.
PackedQueue::ClaimResult PackedQueue::ClaimScattered(Translator& translate, uint32_t bytes,
                                                     Landing& landing, PieceStore& pieces,
                                                     BreakReason* broken) {
  landing = {nullptr, pieces.used(), 0, 0};
  const auto give_up = [&](ClaimResult result) {
    walked_ += pieces.used() - landing.first_piece;
    pieces.ShrinkTo(landing.first_piece);
    return result;
  };
  Cursor at = next_avail_;
  uint32_t pending = pending_count_;
  uint32_t found = 0;
  uint32_t room = Room();
  const bool nothing_taken = room == ring_.size;
  const uint32_t walked_before = walked_;
  // Every turn takes a descriptor, so the room bounds the loop.
  while (room > 0) {
    if (!pieces.HasRoomForChain()) return give_up(PauseClaim());
    const PvirtqDesc head = ring_.Read(at.position);
    if ((head.flags & kOwnerFlags) != at.AvailableFlags()) {
      return give_up(Short(pending - pending_count_));
    }
    if (walked_ - walked_before >= kWalkedPerFrame) return give_up(ClaimResult::kDecided);
    Element chain;
    *broken = WalkChain(translate, at, room, head, Access::kDeviceWrites, pieces, &chain);
    if (*broken == BreakReason::kNone && chain.bytes < header_bytes_) {
      *broken = BreakReason::kBufferBelowHeader;
    }
    if (*broken != BreakReason::kNone) return give_up(ClaimResult::kBroken);
    const uint32_t filled = std::min(chain.bytes, bytes - found);
    pending_[pending++] = {filled, chain.id, chain.descriptors};
    at.Advance(chain.descriptors, ring_.size);
    room -= chain.descriptors;
    found += filled;
    if (found == bytes) {
      landing.piece_count = pieces.used() - landing.first_piece;
      landing.num_buffers = static_cast<uint16_t>(pending - pending_count_);
      pending_count_ = pending;
      next_avail_ = at;
      walked_ += landing.piece_count;
      merged_bytes_max_ = std::max(merged_bytes_max_, bytes);
      return ClaimResult::kDecided;
    }
    if (!mergeable_) return give_up(ClaimResult::kDecided);
  }
  // num_buffers stays 0 if not even the whole ring holds this frame. Else buffers of this batch are
  // still to be published, and the driver may offer them again.
  return give_up(nothing_taken ? ClaimResult::kDecided : Short(pending - pending_count_));
}

void PackedQueue::Publish() {
  if (pending_count_ == 0) return;
  WriteUsed(pending_count_, VIRTQ_DESC_F_WRITE, [this](uint32_t i) { return pending_[i]; });
  pending_count_ = 0;
}

bool PackedQueue::CallWanted() {
  const Cursor before = called_used_;
  called_used_ = next_used_;
  // The used elements must be visible before the driver's wish is read, or both sides may sleep
  // (§2.8.22): store then load needs a full fence.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // Acquire: the driver writes the event's place before it asks for one.
  const uint16_t flags = Load(driver_->flags, std::memory_order_acquire);
  if (flags == RING_EVENT_FLAGS_DISABLE) return false;
  // A value that is reserved or not negotiated cannot mean that the driver sleeps for ever.
  if (flags != RING_EVENT_FLAGS_DESC || !event_idx_) return true;
  const Cursor event = Cursor::Of(Load(driver_->desc, std::memory_order_relaxed));
  return event.position >= ring_.size || Distance(before, event) < Distance(before, next_used_);
}

void PackedQueue::EnableKicks() {
  if (event_idx_) {
    Store(device_->desc, next_avail_.Word(), std::memory_order_relaxed);
    // Release: a driver that sees the flags sees the place.
    Store(device_->flags, RING_EVENT_FLAGS_DESC, std::memory_order_release);
  } else {
    Store(device_->flags, RING_EVENT_FLAGS_ENABLE, std::memory_order_relaxed);
  }
  // The wish must be visible before the caller looks at the next descriptor once more (§2.8.21.2).
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void PackedQueue::DisableKicks() {
  Store(device_->flags, RING_EVENT_FLAGS_DISABLE, std::memory_order_relaxed);
}

}  // namespace tsvswitch
