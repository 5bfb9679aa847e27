// See packed_queue.h for the protocol of flags and wrap counters.

#include "packed_queue.h"

#include <algorithm>
#include <atomic>
#include <cassert>

#include "checks.h"
#include "prefetch.h"
#include "shared_word.h"

namespace tsvswitch {

namespace {

constexpr uint16_t kOwnerFlags = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;
// All flags that mean something in an available descriptor; the others are the driver's to leave.
constexpr uint16_t kMeaningFlags =
    kOwnerFlags | VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_INDIRECT;

// Two cache lines: far enough for the line to be there in time, near enough not to take lines away
// from a driver that is still filling them.
constexpr uint32_t kPrefetchDescriptors = 8;

}  // namespace

bool PackedQueue::Accepts(uint32_t size, uint32_t base) const {
  return size != 0 && size <= kQueueSizeMax &&
         Cursor::Of(static_cast<uint16_t>(base)).position < size &&
         Cursor::Of(static_cast<uint16_t>(base >> 16)).position < size;
}

void PackedQueue::Start(const Rings& rings, uint32_t size, uint32_t base, uint64_t features) {
  assert(Accepts(size, base));
  size_ = size;
  next_avail_ = Cursor::Of(static_cast<uint16_t>(base));
  next_used_ = Cursor::Of(static_cast<uint16_t>(base >> 16));
  // Frontends that leave the upper half empty (DPDK's) mean that nothing is in flight. It then reads as
  // a whole ring or more in flight, in which there would be nothing to take either.
  if (Distance(next_used_, next_avail_) >= size_) next_used_ = next_avail_;
  called_used_ = next_used_;
  pending_count_ = 0;
  pending_.reset(new Element[size]);
  Negotiate(features);
  Move(rings);
  DisableKicks();
}

void PackedQueue::Move(const Rings& rings) {
  // Alignment (§2.8.10.1: 16, 4, 4) was checked when the addresses were accepted.
  desc_ = reinterpret_cast<PvirtqDesc*>(rings.desc);
  driver_ = reinterpret_cast<PvirtqEventSuppress*>(rings.avail);
  device_ = reinterpret_cast<PvirtqEventSuppress*>(rings.used);
}

uint32_t PackedQueue::Distance(const Cursor& from, const Cursor& to) const {
  const uint32_t begin = from.position + (from.wrap ? 0 : size_);
  const uint32_t end = to.position + (to.wrap ? 0 : size_);
  return end >= begin ? end - begin : end + 2 * size_ - begin;
}

PvirtqDesc PackedQueue::Read(uint32_t position) const {
  PvirtqDesc& at = desc_[position];
  PvirtqDesc d;
  // Acquire: the rest of the descriptor, and of its chain, is read after the flags (§2.8.21.1).
  d.flags = Load(at.flags, std::memory_order_acquire);
  d.id = Load(at.id, std::memory_order_relaxed);
  d.len = Load(at.len, std::memory_order_relaxed);
  d.addr = Load(at.addr, std::memory_order_relaxed);
  return d;
}

uint32_t PackedQueue::Offered(uint32_t wanted, BreakReason*) {
  Cursor at = next_avail_;
  uint32_t chains = 0;
  bool at_head = true;
  // Every turn passes one descriptor, so the room bounds the loop.
  for (uint32_t left = Room(); left > 0; --left) {
    const uint16_t flags = Load(desc_[at.position].flags, std::memory_order_acquire);
    if ((flags & kOwnerFlags) != at.AvailableFlags()) break;
    // A chain counts from its head on: whatever is wrong with the rest, Take has something to do.
    if (at_head && ++chains == wanted) break;
    at_head = (flags & VIRTQ_DESC_F_NEXT) == 0;
    at.Advance(1, size_);
  }
  return chains;
}

// An indirect table lists its descriptors one after the other; of their flags only WRITE counts (§2.8.7).
BreakReason PackedQueue::WalkTable(Translator& translate, const PvirtqDesc& table, Access access,
                                   PieceStore& pieces, uint32_t* bytes) const {
  if (!indirect_) return BreakReason::kIndirectNotNegotiated;
  const uint32_t entries = table.len / sizeof(PvirtqDesc);
  if (entries == 0 || table.len % sizeof(PvirtqDesc) != 0 || entries > size_) {
    return BreakReason::kIndirectBadTable;
  }
  for (uint32_t i = 0; i < entries; ++i) {
    PvirtqDesc d;
    if (!translate.Read(table.addr + i * sizeof(d), &d, sizeof(d))) {
      return BreakReason::kAddressUnmapped;
    }
    const BreakReason reason =
        AppendBuffer(translate, d.addr, d.len, d.flags, access, pieces, bytes);
    if (reason != BreakReason::kNone) return reason;
  }
  return BreakReason::kNone;
}

// The general case: any number of descriptors, or one that names an indirect table. `head` is what was
// read at `at`; the chain may use `room` descriptors, of which there is at least one.
BreakReason PackedQueue::WalkChain(Translator& translate, Cursor at, uint32_t room,
                                   const PvirtqDesc& head, Access access, PieceStore& pieces,
                                   Element* chain) const {
  PvirtqDesc d = head;
  chain->bytes = 0;
  for (uint32_t walked = 1; walked <= room; ++walked) {
    if ((d.flags & VIRTQ_DESC_F_INDIRECT) != 0) {
      if (walked > 1 || (d.flags & VIRTQ_DESC_F_NEXT) != 0) return BreakReason::kIndirectNested;
      const BreakReason reason = WalkTable(translate, d, access, pieces, &chain->bytes);
      if (reason != BreakReason::kNone) return reason;
    } else {
      const BreakReason reason =
          AppendBuffer(translate, d.addr, d.len, d.flags, access, pieces, &chain->bytes);
      if (reason != BreakReason::kNone) return reason;
    }
    if ((d.flags & VIRTQ_DESC_F_NEXT) == 0) {
      // §2.8.6: the id is in the last descriptor.
      chain->id = d.id;
      chain->descriptors = static_cast<uint16_t>(walked);
      return BreakReason::kNone;
    }
    if (walked == room) break;
    at.Advance(1, size_);
    d = Read(at.position);
    // §2.8.17: the head is made available last, so the rest must be by now.
    if ((d.flags & kOwnerFlags) != at.AvailableFlags()) return BreakReason::kChainIncomplete;
  }
  return BreakReason::kChainTooLong;
}

uint32_t PackedQueue::Take(const GuestMemory& memory, uint32_t max, Chain* chains,
                           PieceStore& pieces, BreakReason* broken) {
  Translator translate(memory);
  Cursor at = next_avail_;
  uint32_t room = Room();
  uint32_t count = 0;
  // Every turn takes a descriptor, so the room bounds the loop as well as `max`.
  while (count < max && room > 0) {
    // Read soon and written when the batch is returned; beyond the ring's end it is only a hint.
    PrefetchToWrite(desc_ + at.position + kPrefetchDescriptors);
    const PvirtqDesc d = Read(at.position);
    const uint16_t available = at.AvailableFlags();
    Chain& chain = chains[count];
    chain.first_piece = pieces.used();
    // 0 - 1 wraps, so one comparison refuses both empty and overlong buffers.
    if ((d.flags & kMeaningFlags) == available && Holds(d.len - 1 < kChainBytesMax)) [[likely]] {
      const Span span = translate(d.addr, d.len);
      if (Holds(span.bytes == d.len)) [[likely]] {
        PrefetchToRead(span.data);
        PrefetchToRead(span.data + 64);
        pieces.Append(span.data, d.len);
        chain.bytes = d.len;
        chain.piece_count = 1;
        chain.id = d.id;
        chain.descriptors = 1;
        at.Advance(1, size_);
        --room;
        ++count;
        continue;
      }
    }
    if ((d.flags & kOwnerFlags) != available || !pieces.HasRoomForChain()) break;
    Element walked;
    *broken = WalkChain(translate, at, room, d, Access::kDeviceReads, pieces, &walked);
    if (*broken != BreakReason::kNone) break;
    chain.bytes = walked.bytes;
    chain.id = walked.id;
    chain.descriptors = walked.descriptors;
    chain.piece_count = pieces.used() - chain.first_piece;
    if (chain.piece_count != 0) PrefetchToRead(pieces.at(chain.first_piece)->data);
    at.Advance(walked.descriptors, size_);
    room -= walked.descriptors;
    ++count;
  }
  next_avail_ = at;
  return count;
}

// Writes `count` used elements, at least one, with `flags` besides those of the lap: the first one's
// flags last, since that is where the driver looks.
template <class ElementAt>
void PackedQueue::WriteUsed(uint32_t count, uint16_t flags, ElementAt element_at) {
  const Element first = element_at(0);
  Cursor at = next_used_;
  at.Advance(first.descriptors, size_);
  for (uint32_t i = 1; i < count; ++i) {
    const Element used = element_at(i);
    PvirtqDesc& d = desc_[at.position];
    // Element by element the order does not matter: the driver looks at none before the first.
    Store(d.len, used.bytes, std::memory_order_relaxed);
    Store(d.id, used.id, std::memory_order_relaxed);
    Store(d.flags, static_cast<uint16_t>(at.UsedFlags() | flags), std::memory_order_relaxed);
    at.Advance(used.descriptors, size_);
  }
  PvirtqDesc& d = desc_[next_used_.position];
  Store(d.len, first.bytes, std::memory_order_relaxed);
  Store(d.id, first.id, std::memory_order_relaxed);
  // Release: the elements, and the frames they speak of, are written before these flags (§2.8.22).
  Store(d.flags, static_cast<uint16_t>(next_used_.UsedFlags() | flags), std::memory_order_release);
  next_used_ = at;
}

void PackedQueue::Return(const Chain* chains, uint32_t count) {
  if (count == 0) return;
  if (!in_order_) {
    WriteUsed(count, 0, [chains](uint32_t i) {
      return Element{0, chains[i].id, chains[i].descriptors};
    });
    return;
  }
  // §2.8.8: one element with the last chain's id stands for all, at the first chain's place.
  uint32_t descriptors = 0;
  for (uint32_t i = 0; i < count; ++i) descriptors += chains[i].descriptors;
  const Element all = {0, chains[count - 1].id, static_cast<uint16_t>(descriptors)};
  WriteUsed(1, 0, [all](uint32_t) { return all; });
}

uint32_t PackedQueue::Claim(const GuestMemory& memory, const uint32_t* bytes, uint32_t count,
                            Landing* landings, PieceStore& pieces, BreakReason* broken) {
  Translator translate(memory);
  Cursor at = next_avail_;
  uint32_t room = Room();
  uint32_t decided = 0;
  while (decided < count && room > 0) {
    PrefetchToWrite(desc_ + at.position + kPrefetchDescriptors);
    const PvirtqDesc d = Read(at.position);
    const uint32_t wanted = bytes[decided];
    const Span span = translate(d.addr, wanted);
    Landing& landing = landings[decided];
    if ((d.flags & kMeaningFlags) == (at.AvailableFlags() | VIRTQ_DESC_F_WRITE) &&
        d.len >= wanted && Holds(span.bytes == wanted)) [[likely]] {
      PrefetchToWrite(span.data);
      PrefetchToWrite(span.data + 64);
      landing = {span.data, 0, 0, 1};
      pending_[pending_count_++] = {wanted, d.id, 1};
      at.Advance(1, size_);
      --room;
      ++decided;
      continue;
    }
    next_avail_ = at;
    if (ClaimScattered(translate, wanted, landing, pieces, broken) != ClaimResult::kDecided) break;
    at = next_avail_;
    room = Room();
    ++decided;
  }
  next_avail_ = at;
  return decided;
}

// The general case: one chain after another until the frame fits. Nothing is kept of a claim that
// does not end well, so its chains are there for the next frame.
PackedQueue::ClaimResult PackedQueue::ClaimScattered(Translator& translate, uint32_t bytes,
                                                     Landing& landing, PieceStore& pieces,
                                                     BreakReason* broken) {
  landing = {nullptr, pieces.used(), 0, 0};
  const auto give_up = [&](ClaimResult result) {
    pieces.ShrinkTo(landing.first_piece);
    return result;
  };
  Cursor at = next_avail_;
  uint32_t pending = pending_count_;
  uint32_t found = 0;
  uint32_t room = Room();
  const bool nothing_taken = room == size_;
  // Every turn takes a descriptor, so the room bounds the loop.
  while (room > 0) {
    if (!pieces.HasRoomForChain()) return give_up(ClaimResult::kNoBuffer);
    const PvirtqDesc head = Read(at.position);
    if ((head.flags & kOwnerFlags) != at.AvailableFlags()) return give_up(ClaimResult::kNoBuffer);
    Element chain;
    *broken = WalkChain(translate, at, room, head, Access::kDeviceWrites, pieces, &chain);
    if (*broken == BreakReason::kNone && chain.bytes < header_bytes_) {
      *broken = BreakReason::kBufferBelowHeader;
    }
    if (*broken != BreakReason::kNone) return give_up(ClaimResult::kBroken);
    const uint32_t filled = std::min(chain.bytes, bytes - found);
    pending_[pending++] = {filled, chain.id, chain.descriptors};
    at.Advance(chain.descriptors, size_);
    room -= chain.descriptors;
    found += filled;
    if (found == bytes) {
      landing.piece_count = pieces.used() - landing.first_piece;
      landing.num_buffers = static_cast<uint16_t>(pending - pending_count_);
      pending_count_ = pending;
      next_avail_ = at;
      return ClaimResult::kDecided;
    }
    if (!mergeable_) return give_up(ClaimResult::kDecided);
  }
  // num_buffers stays 0 if not even the whole ring holds this frame. Else buffers of this batch are
  // still to be published, and the driver may offer them again.
  return give_up(nothing_taken ? ClaimResult::kDecided : ClaimResult::kNoBuffer);
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
  // What is reserved, or was not negotiated, cannot mean that the driver wants to sleep for ever.
  if (flags != RING_EVENT_FLAGS_DESC || !event_idx_) return true;
  const Cursor event = Cursor::Of(Load(driver_->desc, std::memory_order_relaxed));
  return event.position >= size_ || Distance(before, event) < Distance(before, next_used_);
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
