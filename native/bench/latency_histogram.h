// Counts of latencies, one bin per nanosecond up to a millisecond, and one bin for the rest.
//
// Bins are wide enough in number and narrow enough in width that percentiles need no interpolation;
// only the few bins in use are ever in a cache.

#ifndef TSVSWITCH_BENCH_LATENCY_HISTOGRAM_H_
#define TSVSWITCH_BENCH_LATENCY_HISTOGRAM_H_

#include <stddef.h>
#include <stdint.h>

#include <vector>

namespace tsvswitch::bench {

class LatencyHistogram {
 public:
  LatencyHistogram() : bins_(kBins + 1) {}

  void Add(double ns) {
    const size_t bin = ns < static_cast<double>(kBins) ? static_cast<size_t>(ns) : kBins;
    ++bins_[bin];
    ++samples_;
  }

  uint64_t samples() const { return samples_; }

  // The smallest whole number of nanoseconds that a share of the samples, 0..1, does not exceed;
  // a millisecond stands for everything above it.
  size_t PercentileNs(double share) const {
    const auto wanted = static_cast<uint64_t>(share * static_cast<double>(samples_));
    uint64_t seen = 0;
    for (size_t bin = 0; bin < kBins; ++bin) {
      seen += bins_[bin];
      if (seen > wanted) return bin;
    }
    return kBins;
  }

 private:
  static constexpr size_t kBins = 1'000'000;

  std::vector<uint32_t> bins_;
  uint64_t samples_ = 0;
};

}  // namespace tsvswitch::bench

#endif  // TSVSWITCH_BENCH_LATENCY_HISTOGRAM_H_
