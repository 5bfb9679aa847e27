// See link.h.

#include "core/policy/link.h"

#include <algorithm>

namespace tsvswitch {

namespace {

constexpr uint32_t kVlanTagBytes = 4;
constexpr uint64_t kBitsPerByte = 8;
constexpr uint64_t kNsPerSecond = 1'000'000'000;

// Nanoseconds that `bytes` take at a rate; exact in 128 bits, and never too few.
uint64_t TransmissionNs(uint64_t bytes, uint64_t bits_per_second) {
  const auto bits_ns = static_cast<unsigned __int128>(bytes * kBitsPerByte) * kNsPerSecond;
  return static_cast<uint64_t>((bits_ns + bits_per_second - 1) / bits_per_second);
}

}  // namespace

// SplitMix64, the generator's n-th number without the ones before it.
uint64_t Link::Random(Draw draw) const {
  const uint64_t n = frames_ * kDrawsPerFrame + static_cast<uint64_t>(draw) + 1;
  uint64_t z = settings_.seed + n * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

bool Link::Chance(Draw draw, double probability) const {
  // 53 random bits make a number below 1 of which a double keeps every digit.
  return probability > 0 && static_cast<double>(Random(draw) >> 11) * 0x1p-53 < probability;
}

bool Link::Lost() {
  if (Chance(Draw::kTurn, bad_ ? settings_.turns_good : settings_.turns_bad)) bad_ = !bad_;
  return Chance(Draw::kLoss, bad_ ? settings_.loss_bad : settings_.loss_good);
}

// False if the queue is full; *sent_ns is when the frame's last byte goes out.
bool Link::Queue(uint32_t frame_bytes, uint64_t now_ns, uint64_t* sent_ns) {
  *sent_ns = now_ns;
  if (settings_.bits_per_second == 0) return true;
  const uint64_t start_ns = std::max(now_ns, busy_until_ns_);
  const uint64_t limit_ns = TransmissionNs(settings_.queue_bytes, settings_.bits_per_second);
  if (start_ns - now_ns > limit_ns) return false;
  busy_until_ns_ = start_ns + TransmissionNs(frame_bytes, settings_.bits_per_second);
  *sent_ns = busy_until_ns_;
  return true;
}

uint64_t Link::DelayNs() const {
  if (settings_.jitter_ns == 0) return settings_.delay_ns;
  return settings_.delay_ns - settings_.jitter_ns +
         Random(Draw::kJitter) % (2 * settings_.jitter_ns + 1);
}

Verdict Link::Judge(uint32_t frame_bytes, bool tagged, uint64_t now_ns) {
  Verdict verdict;
  const uint32_t untagged_bytes = frame_bytes - (tagged ? kVlanTagBytes : 0);
  uint64_t sent_ns = now_ns;
  if (settings_.blackhole) {
    verdict.fate = Fate::kBlackhole;
  } else if (settings_.frame_bytes_max != 0 && untagged_bytes > settings_.frame_bytes_max) {
    verdict.fate = Fate::kOverMtu;
  } else if (!Queue(frame_bytes, now_ns, &sent_ns)) {
    verdict.fate = Fate::kOverRate;
  } else if (Lost()) {
    verdict.fate = Fate::kLost;
  } else {
    verdict.due_ns = std::max(sent_ns + DelayNs(), last_due_ns_);
    verdict.reordered = Chance(Draw::kReorder, settings_.reorder);
    if (verdict.reordered) {
      verdict.due_ns += settings_.reorder_ns;
    } else {
      last_due_ns_ = verdict.due_ns;
    }
    verdict.duplicated = Chance(Draw::kDuplicate, settings_.duplicate);
    verdict.corrupted = Chance(Draw::kCorrupt, settings_.corrupt);
    if (verdict.corrupted) {
      verdict.corrupted_bit =
          static_cast<uint32_t>(Random(Draw::kSpoiltBit) % (frame_bytes * kBitsPerByte));
    }
  }
  ++frames_;
  return verdict;
}

}  // namespace tsvswitch
