// The loops around the ports. See trial.h.

#include "trial.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "failure.h"

namespace tsvswitch::bench {

namespace {

constexpr double kLearnLimitS = 10;
constexpr double kHelloPauseS = 0.01;
constexpr double kQuietS = 0.02;
constexpr double kAliveCheckS = 0.1;
constexpr double kFrameLostAfterS = 0.1;
constexpr int kPauseSpins = 64;
// Frames that must fit into a transmitq before it is refilled: fewer would have the line of its
// indices travel between the cores more often than the switch empties a batch.
constexpr uint16_t kWorthwhile = 64;
constexpr int kReceiveBatchesMax = 8;

std::vector<Counters> Snapshot(const Ports& ports) {
  std::vector<Counters> counters;
  counters.reserve(ports.size());
  for (const auto& port : ports) counters.push_back(port->counters());
  return counters;
}

std::vector<Counters> Since(const Ports& ports, const std::vector<Counters>& earlier) {
  std::vector<Counters> counters = Snapshot(ports);
  for (size_t i = 0; i < counters.size(); ++i) counters[i] = counters[i] - earlier[i];
  return counters;
}

uint64_t Delivered(const Ports& ports) {
  uint64_t delivered = 0;
  for (const auto& port : ports) delivered += port->counters().delivered;
  return delivered;
}

double ThreadCpuSeconds() {
  timespec used;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

// The rate of each slice of a measurement.
class Slices {
 public:
  Slices(const Clock& clock, uint64_t start, uint64_t delivered)
      : clock_(clock), length_(clock.FromSeconds(kSliceS)), start_(start), delivered_(delivered) {}

  bool Over(uint64_t now) const { return now - start_ >= length_; }

  void End(uint64_t now, uint64_t delivered) {
    rates_pps_.push_back(static_cast<double>(delivered - delivered_) /
                         clock_.ToSeconds(now - start_));
    start_ = now;
    delivered_ = delivered;
  }

  // 0 for a measurement shorter than one slice.
  double FastPps() {
    if (rates_pps_.empty()) return 0;
    const auto at = rates_pps_.begin() + static_cast<ptrdiff_t>(rates_pps_.size() * 9 / 10);
    std::nth_element(rates_pps_.begin(), at, rates_pps_.end());
    return *at;
  }

 private:
  const Clock& clock_;
  const uint64_t length_;
  uint64_t start_;
  uint64_t delivered_;
  std::vector<double> rates_pps_;
};

// Ends the program when a backend is gone, or when no port received anything for too long.
class Watchdog {
 public:
  Watchdog(const Clock& clock, const Ports& ports)
      : ports_(ports),
        interval_(clock.FromSeconds(kAliveCheckS)),
        limit_(clock.FromSeconds(kStallLimitS)),
        next_check_(Clock::Ticks() + interval_),
        last_progress_(Clock::Ticks()) {}

  void Look(uint64_t now) {
    if (now < next_check_) return;
    next_check_ = now + interval_;
    for (const auto& port : ports_) {
      if (!port->Alive()) Fail("%s: the backend closed the connection", port->Name().c_str());
    }
    const uint64_t delivered = Delivered(ports_);
    if (delivered != delivered_) {
      delivered_ = delivered;
      last_progress_ = now;
    }
    if (now - last_progress_ > limit_) Fail("no port received anything for %.0f s", kStallLimitS);
  }

 private:
  const Ports& ports_;
  const uint64_t interval_;
  const uint64_t limit_;
  uint64_t next_check_;
  uint64_t last_progress_;
  uint64_t delivered_ = 0;
};

// Returns how many buffers were moved.
template <Touch touch>
size_t FloodRound(const Ports& ports) {
  size_t moved = 0;
  for (const auto& port : ports) {
    // A port whose frames fill several buffers each has more to take than it sends.
    for (int batch = 0; batch < kReceiveBatchesMax; ++batch) {
      const uint16_t taken = port->ReceiveBatch<touch>();
      moved += taken;
      if (taken < kReceiveBatchMax) break;
    }
    moved += port->SendBatch<touch>(kWorthwhile);
    port->KickIfWanted();
  }
  return moved;
}

void Pause() {
  for (int i = 0; i < kPauseSpins; ++i) _mm_pause();
}

}  // namespace

void Learn(const Clock& clock, const Ports& ports) {
  const uint64_t deadline = Clock::Ticks() + clock.FromSeconds(kLearnLimitS);
  std::vector<bool> heard(ports.size(), false);
  for (size_t missing = ports.size(); missing > 0;) {
    for (size_t i = 0; i < ports.size(); ++i) {
      // A port that was heard goes on: its partner may have connected too late for the first hello.
      ports[i]->SendHello();
    }
    usleep(static_cast<useconds_t>(kHelloPauseS * 1e6));
    for (size_t i = 0; i < ports.size(); ++i) {
      ports[i]->ReceiveBatch<Touch::kHeaders>();
      if (!ports[i]->Alive()) {
        Fail("%s: the backend closed the connection", ports[i]->Name().c_str());
      }
      if (heard[i] || ports[i]->counters().hellos == 0) continue;
      heard[i] = true;
      --missing;
    }
    if (missing > 0 && Clock::Ticks() > deadline) {
      for (size_t i = 0; i < ports.size(); ++i) {
        if (!heard[i]) {
          Fail("%s received nothing from %s in %.0f s: the backend does not forward",
               ports[i]->Name().c_str(), ports[i ^ 1]->Name().c_str(), kLearnLimitS);
        }
      }
    }
  }
  uint64_t quiet_since = Clock::Ticks();
  while (Clock::Ticks() - quiet_since < clock.FromSeconds(kQuietS)) {
    for (const auto& port : ports) {
      if (port->ReceiveBatch<Touch::kHeaders>() > 0) quiet_since = Clock::Ticks();
      port->KickIfWanted();
    }
    if (Clock::Ticks() > deadline) break;
  }
}

template <Touch touch>
FloodResult Flood(const Clock& clock, const Ports& ports, double warmup_s, double measure_s) {
  Watchdog watchdog(clock, ports);
  uint64_t now = Clock::Ticks();
  for (const uint64_t end = now + clock.FromSeconds(warmup_s); now < end; now = Clock::Ticks()) {
    if (FloodRound<touch>(ports) == 0) Pause();
    watchdog.Look(now);
  }

  const std::vector<Counters> before = Snapshot(ports);
  const uint64_t start = now;
  const uint64_t end = start + clock.FromSeconds(measure_s);
  const double cpu_start_s = ThreadCpuSeconds();
  Slices slices(clock, start, Delivered(ports));
  uint64_t idle_ticks = 0;
  while (now < end) {
    const bool moved = FloodRound<touch>(ports) > 0;
    if (!moved) Pause();
    const uint64_t later = Clock::Ticks();
    if (!moved) idle_ticks += later - now;
    now = later;
    if (slices.Over(now)) slices.End(now, Delivered(ports));
    watchdog.Look(now);
  }
  const double seconds = clock.ToSeconds(now - start);
  return {
      .seconds = seconds,
      .client_idle_share = clock.ToSeconds(idle_ticks) / seconds,
      .client_cpu_share = (ThreadCpuSeconds() - cpu_start_s) / seconds,
      .fast_slice_pps = slices.FastPps(),
      .ports = Since(ports, before),
  };
}

template <Touch touch>
PingpongResult Pingpong(const Clock& clock, const Ports& ports, double warmup_s,
                        double measure_s) {
  Watchdog watchdog(clock, ports);
  const uint64_t frame_limit = clock.FromSeconds(kFrameLostAfterS);
  const uint64_t start = Clock::Ticks() + clock.FromSeconds(warmup_s);
  const uint64_t end = start + clock.FromSeconds(measure_s);
  PingpongResult result{.seconds = measure_s, .one_way = {}, .lost = 0, .ports = Snapshot(ports)};
  Port* from = ports[0].get();
  Port* to = ports[1].get();
  for (uint64_t sent_at = Clock::TicksAfterAll(); sent_at < end; sent_at = Clock::TicksAfterAll()) {
    const bool measured = sent_at >= start;
    const uint64_t delivered = to->counters().delivered;
    if (!from->SendOne<touch>()) Fail("%s: the backend returns no buffers", from->Name().c_str());
    uint64_t now = sent_at;
    while (to->counters().delivered == delivered && now - sent_at < frame_limit) {
      from->KickIfWanted();
      to->ReceiveBatch<touch>();
      now = Clock::TicksAfterAll();
    }
    watchdog.Look(now);
    if (measured && to->counters().delivered == delivered) ++result.lost;
    if (measured) result.one_way.Add(clock.ToNs(now - sent_at));
    std::swap(from, to);
  }
  result.ports = Since(ports, result.ports);
  return result;
}

void Idle(const Ports& ports, double measure_s) {
  const auto checks = static_cast<uint64_t>(measure_s / kAliveCheckS);
  for (uint64_t i = 0; i < checks; ++i) {
    usleep(static_cast<useconds_t>(kAliveCheckS * 1e6));
    for (const auto& port : ports) {
      if (!port->Alive()) Fail("%s: the backend closed the connection", port->Name().c_str());
    }
  }
}

template FloodResult Flood<Touch::kHeaders>(const Clock&, const Ports&, double, double);
template FloodResult Flood<Touch::kBytes>(const Clock&, const Ports&, double, double);
template PingpongResult Pingpong<Touch::kHeaders>(const Clock&, const Ports&, double, double);
template PingpongResult Pingpong<Touch::kBytes>(const Clock&, const Ports&, double, double);

}  // namespace tsvswitch::bench
