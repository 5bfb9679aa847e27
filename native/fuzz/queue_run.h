// One queue of either format, driven by an input: its driver writes anything into the ring and into
// guest memory, the device takes, returns, claims and publishes in between, and each step is
// compared with a reference that reads the same ring.
//
// What must hold after every step, whatever the driver wrote:
//   - what was taken or claimed is what the reference finds there: the same bytes of guest memory
//     in the same order, so none outside of it, and no more chains than asked
//   - where the device stopped early, the reference finds nothing offered, or the violation that
//     was reported
//   - used elements are those of the chains handed back, in their order, with the lengths written
// The rings lie in allocations of their own, of exactly their size, so that AddressSanitizer sees a
// step beyond them.

#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "hostile_split_ring.h"
#include "reference_walk.h"

namespace tsvswitch {

template <class Ring>
class QueueRun {
  using Cursor = typename Ring::Cursor;

 public:
  QueueRun(Input& input, FuzzedMemory& memory, PieceStore& pieces)
      : input_(input),
        memory_(memory),
        pieces_(pieces),
        is_receiveq_(input.Flag()),
        features_(TakeFeatures(input)),
        size_(Ring::TakeSize(input)),
        base_(Ring::TakeBase(input, size_)),
        ring_(NewRings(), size_, base_) {
    MUST(queue_.Accepts(size_, base_));
    queue_.Start(rings_.parts, size_, base_, features_);
  }

  void Run() {
    while (!input_.Done()) {
      switch (input_.Below(8)) {
        case 0: Offered(); break;
        case 1: Restart(); break;
        case 2: Notify(); break;
        case 3:
        case 4: is_receiveq_ ? Claim() : Take(); break;
        default: ring_.Change(input_, memory_, is_receiveq_ ? DescriptorFlags::kWrite : 0);
      }
      MUST(queue_.base() == base_);
    }
  }

 private:
  struct HeapRings {
    std::unique_ptr<uint8_t[]> desc, avail, used;
    Virtqueue::Rings parts;
  };
  enum class Outcome { kLands, kTooSmall, kNoBuffer, kBroken };

  static uint64_t TakeFeatures(Input& input) {
    const uint8_t left_out = input.Byte();
    uint64_t features = Ring::kFeatures;
    if ((left_out & 1) == 0) features |= VIRTIO_F_INDIRECT_DESC;
    if ((left_out & 2) == 0) features |= VIRTIO_F_EVENT_IDX;
    if ((left_out & 4) == 0) features |= VIRTIO_NET_F_MRG_RXBUF;
    if ((left_out & 8) == 0) features |= VIRTIO_F_VERSION_1;
    if ((left_out & 16) != 0) features |= VIRTIO_F_IN_ORDER;
    return features;
  }

  // Rings at a new place, with the contents of those at the old one.
  const Virtqueue::Rings& NewRings() {
    const Virtqueue::Layout layout = queue_.LayoutOf(size_);
    const auto copy = [](const std::unique_ptr<uint8_t[]>& from, uint64_t bytes) {
      std::unique_ptr<uint8_t[]> to(new uint8_t[bytes]());
      if (from != nullptr) std::memcpy(to.get(), from.get(), bytes);
      return to;
    };
    rings_ = {copy(rings_.desc, layout.desc_bytes),
              copy(rings_.avail, layout.avail_bytes),
              copy(rings_.used, layout.used_bytes),
              {}};
    rings_.parts = {rings_.desc.get(), rings_.avail.get(), rings_.used.get(),
                    memory_.memory().get()};
    return rings_.parts;
  }

  bool Has(uint64_t feature) const { return (features_ & feature) != 0; }
  WalkRules rules() const {
    return {memory_, size_, Has(VIRTIO_F_INDIRECT_DESC),
            is_receiveq_ ? Access::kDeviceWrites : Access::kDeviceReads};
  }

  void Offered() {
    BreakReason broken = BreakReason::kNone;
    const uint32_t offered = queue_.Offered(1 + input_.Below(kBatchFramesMax), &broken);
    MUST(offered <= size_);
    const bool jumped = ring_.Jumped(ring_.CursorAt(base_));
    MUST(broken == BreakReason::kNone || (jumped && offered == 0));
  }

  // The rings at another place, or all of it as a frontend does it that heard of a broken queue.
  void Restart() {
    ring_.MoveTo(NewRings());
    if (input_.Flag()) {
      queue_.Move(rings_.parts);
    } else {
      queue_.Start(rings_.parts, size_, base_, features_);
      base_ = ring_.BaseOfStart(base_);
    }
  }

  void Notify() {
    if (input_.Flag()) queue_.EnableKicks();
    queue_.CallWanted();
    if (input_.Flag()) queue_.DisableKicks();
  }

  void Take() {
    const uint32_t max = 1 + input_.Below(kBatchFramesMax);
    const Cursor begin = ring_.CursorAt(base_);
    BreakReason broken = BreakReason::kNone;
    pieces_.Clear();
    const uint32_t count = queue_.Take(max, chains_, pieces_, &broken);
    MUST(count <= max);
    Cursor at = begin;
    std::vector<UsedChain> used;
    for (uint32_t i = 0; i < count; ++i) {
      const WalkedChain expected = ring_.Walk(&at, rules());
      const Chain& chain = chains_[i];
      MUST(!expected.broken && chain.id == expected.id && chain.bytes == expected.bytes);
      Parts parts;
      parts.Add(pieces_.at(chain.first_piece), chain.piece_count, chain.bytes);
      MUST(parts == expected.parts);
      used.push_back({expected.id, 0, expected.descriptors});
    }
    if (broken != BreakReason::kNone) {
      Cursor next = at;
      MUST(ring_.Jumped(at) || ring_.Walk(&next, rules()).broken);
    } else if (count < max) {
      MUST(!ring_.Offers(at) || !ring_.IsHonest() || queue_.walked() >= Virtqueue::kWalkedPerTake);
    }
    queue_.Return(chains_, count);
    if (count == 0) return;
    if (Has(VIRTIO_F_IN_ORDER)) used = {{used.back().id, 0, 1}};
    base_ = ring_.BaseOf(at);
    ring_.MustHaveUsed(begin, used, at);
  }

  void Claim() {
    uint32_t bytes[kClaimsMax];
    const uint32_t count = 1 + input_.Below(kClaimsMax);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t frame = input_.Flag() ? input_.Take<uint16_t>() : input_.Byte();
      bytes[i] = queue_.header_bytes() + kFrameBytesMin + frame;
      bytes[i] = std::min(bytes[i], queue_.header_bytes() + kFrameBytesMax);
    }
    const Cursor begin = ring_.CursorAt(base_);
    BreakReason broken = BreakReason::kNone;
    pieces_.Clear();
    const uint32_t claimed = queue_.Claim(bytes, count, landings_, pieces_, &broken);
    MUST(claimed <= count);
    Cursor at = begin;
    std::vector<UsedChain> used;
    for (uint32_t i = 0; i < claimed; ++i) {
      const Landing& landing = landings_[i];
      Parts expected;
      const size_t before = used.size();
      const Outcome outcome = Land(&at, bytes[i], true, &expected, &used);
      MUST(landing.num_buffers == used.size() - before);
      MUST(outcome == (landing.num_buffers != 0 ? Outcome::kLands : Outcome::kTooSmall));
      if (landing.num_buffers == 0) continue;
      const Piece whole = {landing.data, bytes[i]};
      Parts parts;
      if (landing.data != nullptr)
        parts.Add(&whole, 1, bytes[i]);
      else
        parts.Add(pieces_.at(landing.first_piece), landing.piece_count, bytes[i]);
      MUST(parts == expected);
    }
    const Cursor end = at;
    if (broken != BreakReason::kNone) {
      MUST(ring_.Jumped(begin) || ring_.Jumped(at) || !ring_.IsHonest() ||
           Land(&at, bytes[claimed], false) == Outcome::kBroken);
    } else if (claimed < count && ring_.IsHonest() &&
               queue_.walked() < Virtqueue::kWalkedPerClaim) {
      MUST(Land(&at, bytes[claimed], false) == Outcome::kNoBuffer);
    }
    if (used.empty()) return;
    queue_.Publish();
    base_ = ring_.BaseOf(end);
    ring_.MustHaveUsed(begin, used, end);
  }

  // What becomes of a frame of `bytes` at *at, which is moved on if it lands. `decided`: the device
  // has found buffers, so they were offered; of a chain that holds the frame it need not look at
  // the rest.
  Outcome Land(Cursor* at, uint32_t bytes, bool decided, Parts* parts = nullptr,
               std::vector<UsedChain>* used = nullptr) const {
    Cursor next = *at;
    std::vector<UsedChain> chains;
    Parts found;
    for (uint32_t left = bytes; left > 0;) {
      if (ring_.Exhausted(*at, next, static_cast<uint32_t>(chains.size()))) {
        return Outcome::kTooSmall;
      }
      if (!decided && !ring_.Offers(next)) return Outcome::kNoBuffer;
      const WalkedChain chain = ring_.Walk(&next, rules());
      const bool holds_all = decided && chains.empty() && chain.bytes >= bytes;
      if ((chain.broken && !holds_all) || chain.bytes < queue_.header_bytes()) {
        return Outcome::kBroken;
      }
      const uint32_t filled = std::min(chain.bytes, left);
      found.Add(chain.parts, filled);
      chains.push_back({chain.id, filled, chain.descriptors});
      left -= filled;
      if (left > 0 && !Has(VIRTIO_NET_F_MRG_RXBUF)) return Outcome::kTooSmall;
    }
    *at = next;
    if (parts != nullptr) *parts = found;
    if (used != nullptr) used->insert(used->end(), chains.begin(), chains.end());
    return Outcome::kLands;
  }

  static constexpr uint32_t kClaimsMax = 8;

  Input& input_;
  const FuzzedMemory& memory_;
  PieceStore& pieces_;
  const bool is_receiveq_;
  const uint64_t features_;
  const uint32_t size_;
  uint32_t base_;  // where the device is, by the reference
  typename Ring::Queue queue_;
  HeapRings rings_;
  Ring ring_;
  Chain chains_[kBatchFramesMax];
  Landing landings_[kClaimsMax];
};

// A fuzz target's one entry.
template <class Ring>
int RunQueue(const uint8_t* data, size_t bytes) {
  static FuzzedMemory memory;
  static PieceStore pieces;
  memory.Wipe();
  Input input(data, bytes);
  QueueRun<Ring>(input, memory, pieces).Run();
  return 0;
}

}  // namespace tsvswitch
