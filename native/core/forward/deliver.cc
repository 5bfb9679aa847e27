// See deliver.h. The fast path is Deliver -> Land -> Fill with CopyFrame inlined.

#include "core/forward/deliver.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <mutex>

#include "core/platform/copy.h"
#include "core/platform/prefetch.h"
#include "core/port/notify.h"

namespace tsvswitch {

namespace {

// About a microsecond: long enough for a driver that is just refilling, short enough that a stuck
// one costs the others nothing they would notice.
constexpr uint32_t kBufferWaitSpins = 32;
// So many buffers that do not hold a frame together are too small for it, rather than too few.
constexpr uint32_t kManyChains = 8;

// What taking and claiming have not fetched of a frame, all after its second cache line, is fetched
// this many frames before it is copied: 13.9 instead of 13.1 Mpps at 1500 B. Longer frames than
// kAheadBytesMax would push each other out of the first-level cache.
constexpr uint32_t kCopyAhead = 2;
constexpr uint32_t kFetchedBytes = 128;
constexpr uint32_t kAheadBytesMax = 2048;

// Writes bytes into the pieces of a landing, one part after another.
class LandingWriter {
 public:
  LandingWriter(const Landing& landing, const PieceStore& pieces, uint32_t bytes)
      : whole_{landing.data, bytes},
        to_(landing.data != nullptr ? &whole_ : pieces.at(landing.first_piece)),
        left_(bytes) {}
  LandingWriter(const LandingWriter&) = delete;
  LandingWriter& operator=(const LandingWriter&) = delete;

  // The pieces hold as many bytes as were claimed, and none is empty: the loop ends with them.
  void Put(const uint8_t* from, uint32_t bytes) {
    bytes = std::min(bytes, left_);
    left_ -= bytes;
    while (bytes > 0) {
      const uint32_t part = std::min(bytes, to_->bytes - used_);
      CopyBytes(to_->data + used_, from, part);
      from += part;
      bytes -= part;
      used_ += part;
      if (used_ == to_->bytes) {
        ++to_;
        used_ = 0;
      }
    }
  }
  void Put(const Slice& slice) {
    ForEachPart(slice, [this](const uint8_t* from, uint32_t bytes) { Put(from, bytes); });
  }

 private:
  const Piece whole_;
  const Piece* to_;
  uint32_t used_ = 0;
  uint32_t left_;
};

VirtioNetHdr HeaderFor(const VirtioNetHdr& header, const Landing& landing) {
  VirtioNetHdr written = header;
  written.num_buffers = landing.num_buffers;
  return written;
}

// Writes the header from registers, as two words. Put together in memory first, it would be read
// back over two stores of different width, which a processor can only do once all stores before
// them, those into the last frame's landing, have left for the cache: 28.7 instead of 33.0 Mpps at
// 64 B.
void WriteHeader(uint8_t* to, const VirtioNetHdr& header, uint16_t num_buffers) {
  uint64_t front;
  std::memcpy(&front, &header, sizeof(front));
  const uint32_t back = header.csum_offset | uint32_t{num_buffers} << 16;
  static_assert(offsetof(VirtioNetHdr, csum_offset) == sizeof(front));
  std::memcpy(to, &front, sizeof(front));
  std::memcpy(to + sizeof(front), &back, sizeof(back));
}

// Hints only: a landing that was not claimed this time is one of an earlier batch.
inline void FetchAhead(const Slice& body, const Landing& landing) {
  if (body.bytes <= kFetchedBytes - sizeof(VirtioNetHdr) || body.bytes > kAheadBytesMax) return;
  if (landing.data == nullptr || body.piece->bytes - body.skip < body.bytes) return;
  const uint8_t* from = body.piece->data + body.skip;
  for (uint32_t at = kFetchedBytes; at < sizeof(VirtioNetHdr) + body.bytes; at += 64) {
    PrefetchToRead(from + at);
    PrefetchToWrite(landing.data + at);
  }
}

}  // namespace

Deliverer::Deliverer(EventRing& events, bool shared, uint32_t fragment_id)
    : events_(events), shared_(shared), segmenter_(fragment_id) {}

void Deliverer::Deliver(Queue& to, const Frame* frames, const FrameList& list, Fate* fates) {
  std::unique_lock<Spinlock> guard(to.lock, std::defer_lock);
  if (shared_) guard.lock();
  work += kQueueWork;
  fates_ = fates;
  landing_frames_ = list.frame;
  ended_landings_ = 0;
  if (to.Runs()) [[likely]] {
    // What the receiver counts meanwhile, as whoever else delivers there waits for the lock. Less
    // what it had, and then plus what it has: the loops in between need the registers.
    delivered_frames -= to.counters->Read(kFrames);
    delivered_bytes -= to.counters->Read(kBytes);
    DeliverBatch(to, frames, list);
    delivered_frames += to.counters->Read(kFrames);
    delivered_bytes += to.counters->Read(kBytes);
  } else {
    End(to, 0, list.count, Fate::kNotReady);
  }
}

void Deliverer::DeliverBatch(Queue& to, const Frame* frames, const FrameList& list) {
  const uint32_t header_bytes = to.sink->header_bytes();
  uint64_t needs = 0;
  for (uint32_t i = 0; i < list.count; ++i) {
    const Frame& frame = frames[list.frame[i]];
    needs |= frame.offload.needs;
    landing_bytes_[i] = header_bytes + frame.body.bytes;
  }
  if ((needs & ~to.port->features) != 0) [[unlikely]] {
    DeliverParcels(to, frames, list);
    return;
  }
  Land(to, list.count, [&](uint32_t i, const Landing& landing) {
    const Frame& frame = frames[list.frame[i]];
    const Slice& body = frame.body;
    if (i + kCopyAhead < list.count) {
      FetchAhead(frames[list.frame[i + kCopyAhead]].body, (&landing)[kCopyAhead]);
    }
    if (landing.data != nullptr && body.piece->bytes - body.skip >= body.bytes) [[likely]] {
      // Always the 12-byte form: where the driver's is 10, the frame, at least 14 bytes, covers the
      // rest.
      WriteHeader(landing.data, frame.offload.header, landing.num_buffers);
      CopyBytes(landing.data + header_bytes, body.piece->data + body.skip, body.bytes);
      return;
    }
    const VirtioNetHdr header = HeaderFor(frame.offload.header, landing);
    LandingWriter writer(landing, landing_pieces_, header_bytes + body.bytes);
    writer.Put(reinterpret_cast<const uint8_t*>(&header), header_bytes);
    writer.Put(body);
  });
}

// The receiver lacks a feature that some frame needs: every frame becomes what it can take. Once
// its buffers are used up no more is cut, which bounds what a sender of large frames can cost.
void Deliverer::DeliverParcels(Queue& to, const Frame* frames, const FrameList& list) {
  room_left_ = true;
  landing_frames_ = parcel_frames_;
  for (uint32_t i = 0; i < list.count; ++i) {
    const uint8_t number = list.frame[i];
    const Frame& frame = frames[number];
    switch (PlanOffload(frame.offload, to.port->features)) {
      case OffloadPlan::kPass: PassFrame(frame.offload, frame.body, &NextParcel(to, number)); break;
      case OffloadPlan::kCompleteChecksum:
        work += BytesWork(frame.body.bytes);
        CompleteChecksum(frame.offload, frame.body, &NextParcel(to, number));
        break;
      case OffloadPlan::kSegment: Segment(to, frame, number); break;
    }
  }
  FlushParcels(to);
}

void Deliverer::Segment(Queue& to, const Frame& frame, uint8_t number) {
  // The headers were good when the frame was parsed; its guest has changed them since.
  if (segmenter_.Begin(frame.offload, frame.body, to.port->features) != OffloadVerdict::kOk) {
    EndPackets(to, number, 1, Fate::kUnsegmentable);
    return;
  }
  if (segmenter_.packet_bytes_max() > to.port->mtu_bytes) {
    EndPackets(to, number, 1, Fate::kOverMtu);
    return;
  }
  const uint32_t segments = segmenter_.left();
  // At most kSegmentsMax turns.
  while (segmenter_.left() != 0 && room_left_) segmenter_.Next(&NextParcel(to, number));
  if (segmenter_.left() != 0) EndPackets(to, number, segmenter_.left(), Fate::kNoBuffer);
  work += (segments - segmenter_.left()) * kSegmentWork + BytesWork(frame.body.bytes);
}

Parcel& Deliverer::NextParcel(Queue& to, uint8_t frame) {
  if (parcel_count_ == kBatchFramesMax) FlushParcels(to);
  parcel_frames_[parcel_count_] = frame;
  return parcels_[parcel_count_++];
}

void Deliverer::FlushParcels(Queue& to) {
  const uint32_t header_bytes = to.sink->header_bytes();
  for (uint32_t i = 0; i < parcel_count_; ++i) {
    landing_bytes_[i] = header_bytes + parcels_[i].bytes();
  }
  room_left_ = Land(to, parcel_count_, [&](uint32_t i, const Landing& landing) {
    const Parcel& parcel = parcels_[i];
    const VirtioNetHdr header = HeaderFor(parcel.header, landing);
    LandingWriter writer(landing, landing_pieces_, header_bytes + parcel.bytes());
    writer.Put(reinterpret_cast<const uint8_t*>(&header), header_bytes);
    writer.Put(parcel.before);
    writer.Put(parcel.private_data, parcel.private_bytes);
    writer.Put(parcel.after);
  });
  parcel_count_ = 0;
}

template <class Copy>
bool Deliverer::Land(Queue& to, uint32_t count, Copy copy) {
  const uint32_t done = to.Runs() ? Fill(to, count, copy) : 0;
  if (done != count) [[unlikely]]
    End(to, done, count - done, to.Runs() ? Fate::kNoBuffer : Fate::kNotReady);
  if (fates_ != nullptr) [[unlikely]]
    NoteDelivered(count);
  return done == count;
}

void Deliverer::End(Queue& to, uint32_t first, uint32_t count, Fate why) {
  to.port->Count(to, why, count);
  if (fates_ == nullptr) return;
  for (uint32_t landing = first; landing < first + count; ++landing) {
    ended_landings_ |= uint64_t{1} << landing;
    NoteFate(landing_frames_[landing], why);
  }
}

void Deliverer::EndTooSmall(Queue& to, uint32_t first, uint32_t claimed) {
  for (uint32_t i = 0; i < claimed; ++i) {
    if (landings_[i].num_buffers == 0) End(to, first + i, 1, Fate::kBufferTooSmall);
  }
}

void Deliverer::EndPackets(Queue& to, uint8_t frame, uint32_t count, Fate why) {
  to.port->Count(to, why, count);
  if (fates_ != nullptr) NoteFate(frame, why);
}

// Of a frame that was cut, what became of some packet first; but one that arrives is enough.
void Deliverer::NoteFate(uint8_t frame, Fate fate) {
  if (fates_[frame] == Fate::kUnderWay || fate == Fate::kDelivered) fates_[frame] = fate;
}

void Deliverer::NoteDelivered(uint32_t landings) {
  for (uint32_t landing = 0; landing < landings; ++landing) {
    if ((ended_landings_ >> landing & 1) == 0) NoteFate(landing_frames_[landing], Fate::kDelivered);
  }
  ended_landings_ = 0;
}

// Fills from the front; returns how many were delivered or counted.
template <class Copy>
uint32_t Deliverer::Fill(Queue& to, uint32_t count, Copy copy) {
  const uint32_t header_bytes = to.sink->header_bytes();
  uint32_t done = 0;
  uint32_t spins = to.stalled ? 1 : kBufferWaitSpins;
  if (!MayWalk(*to.port)) [[unlikely]]
    return 0;
  // Every turn decides at least one frame or has used up some of the spins.
  for (;;) {
    BreakReason broken = BreakReason::kNone;
    landing_pieces_.Clear();
    const uint32_t claimed =
        to.sink->Claim(&landing_bytes_[done], count - done, landings_, landing_pieces_, &broken);
    uint64_t frames = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < claimed; ++i) {
      if (landings_[i].num_buffers == 0) [[unlikely]]
        continue;
      copy(done + i, landings_[i]);
      frames += 1;
      bytes += landing_bytes_[done + i] - header_bytes;
    }
    if (to.port->Logs()) [[unlikely]]
      LogLandings(*to.port, claimed, &landing_bytes_[done]);
    done += claimed;
    work += claimed * kFrameWork + BytesWork(bytes);
    if (to.sink->walked() != 0) [[unlikely]]
      CountWalked(*to.port, to.sink->walked());
    if (frames != 0) {
      to.sink->Publish();
      NotifyDriver(to);
      to.counters->Add(kFrames, frames);
      to.counters->Add(kBytes, bytes);
    }
    if (frames != claimed) [[unlikely]]
      EndTooSmall(to, done - claimed, claimed);
    if (broken != BreakReason::kNone) {
      // First: rings that read as zeros would otherwise be blamed on the guest.
      GiveUpIfLost(*to.port, events_);
      Break(to, broken, events_);
      return done;
    }
    if (claimed != 0) to.stalled = false;
    if (done == count) return done;
    switch (AfterShortClaim(to, claimed, done, &spins)) {
      case Next::kClaimAgain: break;
      case Next::kPassOver:
        if (++done == count) return done;
        break;
      case Next::kGiveUp: return done;
    }
  }
}

// What becomes of the landing for which a Claim found no place, after `claimed` others.
Deliverer::Next Deliverer::AfterShortClaim(Queue& to, uint32_t claimed, uint32_t landing,
                                           uint32_t* spins) {
  if (!MayWalk(*to.port)) return Next::kGiveUp;
  const ClaimEnd end = to.sink->claim_end();
  // What this batch has taken may be on offer again.
  if (end == ClaimEnd::kPaused || (end == ClaimEnd::kFrameTooLarge && claimed != 0)) {
    return Next::kClaimAgain;
  }
  if (WaitForMore(to, spins)) return Next::kClaimAgain;
  to.stalled = true;
  if (end == ClaimEnd::kNothingOffered) return Next::kGiveUp;
  // A driver that offers few buffers is late with the others, and what it has held before it will
  // hold again.
  const bool unfit =
      to.sink->chains_short() >= kManyChains && to.sink->NeverHeld(landing_bytes_[landing]);
  End(to, landing, 1, unfit ? Fate::kBufferTooSmall : Fate::kNoBuffer);
  return Next::kPassOver;
}

void Deliverer::CountWalked(const Port& to, uint32_t descriptors) {
  work += descriptors * kDescriptorWork;
  uint32_t& walked = walked_for_[to.number];
  if (walked == 0) walked_ports_.push_back(to.number);
  walked += descriptors;
}

void Deliverer::ForgetWalked() {
  for (const uint16_t port : walked_ports_) walked_for_[port] = 0;
  walked_ports_.clear();
}

// After a Claim that found too little: whether the driver offers more before *spins are used up. A
// frame may need several buffers, and those of a packed ring appear one by one. Many that do not
// hold it are not counted again and again.
bool Deliverer::WaitForMore(Queue& to, uint32_t* spins) {
  BreakReason broken = BreakReason::kNone;
  const uint32_t before = to.sink->chains_short();
  if (before > kBatchFramesMax) return false;
  while (*spins != 0) {
    --*spins;
    // A violation is left for Claim to find again and report.
    if (broken != BreakReason::kNone || to.sink->Offered(before + 1, &broken) > before) return true;
    CpuRelax();
  }
  return false;
}

void Deliverer::LogLandings(const Port& to, uint32_t claimed, const uint32_t* bytes) {
  const auto mark = [&](const uint8_t* data, uint32_t written) {
    to.dirty_log->Mark(to.memory->GuestAddressOf(data), written);
  };
  for (uint32_t i = 0; i < claimed; ++i) {
    const Landing& landing = landings_[i];
    if (landing.num_buffers == 0) continue;
    if (landing.data != nullptr) {
      mark(landing.data, bytes[i]);
      continue;
    }
    uint32_t left = bytes[i];
    for (uint32_t k = 0; k < landing.piece_count && left > 0; ++k) {
      const Piece& piece = *landing_pieces_.at(landing.first_piece + k);
      const uint32_t written = std::min(piece.bytes, left);
      mark(piece.data, written);
      left -= written;
    }
  }
}

}  // namespace tsvswitch
