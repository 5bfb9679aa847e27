// Counts of latencies: one bin per nanosecond up to a millisecond, one per microsecond up to a
// second, and one for the rest.
//
// Bins are wide enough in number and narrow enough in width that percentiles need no interpolation;
// only the few bins in use are ever in a cache.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include <vector>

namespace tsvswitch::bench {

class LatencyHistogram {
 public:
  LatencyHistogram() : fine_(kFineBins), coarse_(kCoarseBins + 1) {}

  void Add(double ns) {
    ++samples_;
    if (ns < kFineBins) {
      ++fine_[static_cast<size_t>(ns)];
      return;
    }
    const double us = ns / kCoarseNs;
    ++coarse_[us < kCoarseBins ? static_cast<size_t>(us) : kCoarseBins];
  }

  uint64_t samples() const { return samples_; }

  // The smallest bin, in nanoseconds, that a share of the samples, 0..1, does not exceed; a second
  // stands for everything above it.
  size_t PercentileNs(double share) const {
    const auto wanted = static_cast<uint64_t>(share * static_cast<double>(samples_));
    uint64_t seen = 0;
    for (size_t bin = 0; bin < kFineBins; ++bin) {
      seen += fine_[bin];
      if (seen > wanted) return bin;
    }
    for (size_t bin = 0; bin < kCoarseBins; ++bin) {
      seen += coarse_[bin];
      if (seen > wanted) return bin * kCoarseNs;
    }
    return kCoarseBins * kCoarseNs;
  }

 private:
  static constexpr size_t kFineBins = 1'000'000;
  static constexpr size_t kCoarseBins = 1'000'000;
  static constexpr size_t kCoarseNs = 1000;

  std::vector<uint32_t> fine_;
  std::vector<uint32_t> coarse_;
  uint64_t samples_ = 0;
};

}  // namespace tsvswitch::bench
