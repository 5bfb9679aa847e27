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
constexpr double kDrainSilenceS = 0.1;
constexpr double kDrainLimitS = 2;
constexpr double kWindowPatienceS = 0.01;
constexpr int kReceiveBatchesMax = 8;
constexpr double kRecoveryS = 200e-6;

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

// A port whose frames fill several buffers each has more to take than it sends.
size_t ReceiveAll(Port& port) {
  size_t taken = 0;
  for (int batch = 0; batch < kReceiveBatchesMax; ++batch) {
    const uint16_t got = port.ReceiveBatch();
    taken += got;
    if (got < kReceiveBatchMax) break;
  }
  return taken;
}

// How many frames of each flow may be under way. Frames that were lost at the end of a window leave
// no gap by which to know it; after a while without any arrival all that is under way counts as
// lost.
class Windows {
 public:
  // 0: as many as fit.
  Windows(const Clock& clock, const Ports& ports, size_t frames)
      : ports_(ports),
        frames_(frames),
        patience_(clock.FromSeconds(kWindowPatienceS)),
        last_arrival_(Clock::Ticks()),
        written_off_(ports.size(), 0) {}

  uint16_t Room(size_t port) const {
    if (frames_ == 0) return kSendBatchMax;
    const Counters& arrived = ports_[port ^ 1]->counters();
    const uint64_t settled = std::max(arrived.delivered + arrived.lost, written_off_[port]);
    const uint64_t under_way = ports_[port]->counters().sent - settled;
    const uint64_t room = under_way < frames_ ? frames_ - under_way : 0;
    return static_cast<uint16_t>(std::min<uint64_t>(room, kSendBatchMax));
  }

  void RoundEnded(bool moved) {
    if (frames_ == 0) return;
    const uint64_t now = Clock::Ticks();
    if (moved) last_arrival_ = now;
    if (now - last_arrival_ < patience_) return;
    for (size_t i = 0; i < ports_.size(); ++i) written_off_[i] = ports_[i]->counters().sent;
    last_arrival_ = now;
  }

 private:
  const Ports& ports_;
  const size_t frames_;
  const uint64_t patience_;
  uint64_t last_arrival_;
  std::vector<uint64_t> written_off_;  // Frames of a flow up to here are not waited for.
};

// Returns how many buffers were moved.
size_t FloodRound(const Ports& ports, Windows& windows) {
  size_t moved = 0;
  for (size_t i = 0; i < ports.size(); ++i) {
    Port& port = *ports[i];
    moved += ReceiveAll(port);
    const uint16_t room = windows.Room(i);
    if (room > 0) moved += port.SendBatch(room);
    port.KickIfWanted();
  }
  windows.RoundEnded(moved > 0);
  return moved;
}

// Takes out of a load the moments in which this thread did not run, as a hypervisor or another
// program may have it: no frame is due then, or all of them would come in a burst that no receiveq
// holds; and how late those arrived that were under way says nothing about the switch. Nor do those
// that come next, while a switch wakes up that fell asleep over it: waking has a trial of its own.
class OwnStalls {
 public:
  OwnStalls(const Clock& clock, const Ports& ports, double limit_s)
      : ports_(ports),
        limit_(clock.FromSeconds(limit_s)),
        recovery_(clock.FromSeconds(kRecoveryS)),
        last_(Clock::Ticks()) {}

  void Look() {
    const uint64_t now = Clock::Ticks();
    if (now - last_ > limit_) [[unlikely]] {
      stalled_ += now - last_;
      for (const auto& port : ports_) {
        port->outgoing().Postpone(now - last_);
        port->incoming().IgnoreLatenciesBefore(now + recovery_);
      }
    }
    last_ = now;
  }
  uint64_t stalled() const { return stalled_; }

 private:
  const Ports& ports_;
  const uint64_t limit_;
  const uint64_t recovery_;
  uint64_t last_;
  uint64_t stalled_ = 0;
};

void LoadRound(const Ports& ports, OwnStalls& stalls) {
  for (const auto& port : ports) {
    stalls.Look();
    ReceiveAll(*port);
    stalls.Look();
    const uint64_t due = port->outgoing().DueBy(Clock::Ticks());
    if (due > 0) port->SendBatch(static_cast<uint16_t>(std::min<uint64_t>(due, kSendBatchMax)));
    port->KickIfWanted();
  }
}

// Until everything has arrived, or nothing did for a while.
void Drain(const Clock& clock, const Ports& ports) {
  uint64_t sent = 0;
  for (const auto& port : ports) sent += port->counters().sent;
  const uint64_t deadline = Clock::Ticks() + clock.FromSeconds(kDrainLimitS);
  uint64_t last_arrival = Clock::Ticks();
  for (uint64_t now = last_arrival; now < deadline; now = Clock::Ticks()) {
    if (Delivered(ports) >= sent || now - last_arrival > clock.FromSeconds(kDrainSilenceS)) return;
    for (const auto& port : ports) {
      if (ReceiveAll(*port) > 0) last_arrival = now;
      port->KickIfWanted();
    }
  }
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
      ports[i]->ReceiveBatch();
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
      if (port->ReceiveBatch() > 0) quiet_since = Clock::Ticks();
      port->KickIfWanted();
    }
    if (Clock::Ticks() > deadline) break;
  }
}

FloodResult Flood(const Clock& clock, const Ports& ports, size_t window, double warmup_s,
                  double measure_s) {
  Watchdog watchdog(clock, ports);
  Windows windows(clock, ports, window);
  uint64_t now = Clock::Ticks();
  for (const uint64_t end = now + clock.FromSeconds(warmup_s); now < end; now = Clock::Ticks()) {
    if (FloodRound(ports, windows) == 0) Pause();
    watchdog.Look(now);
  }

  const std::vector<Counters> before = Snapshot(ports);
  const uint64_t start = now;
  const uint64_t end = start + clock.FromSeconds(measure_s);
  const double cpu_start_s = ThreadCpuSeconds();
  Slices slices(clock, start, Delivered(ports));
  uint64_t idle_ticks = 0;
  while (now < end) {
    const bool moved = FloodRound(ports, windows) > 0;
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

LoadResult OfferLoad(const Clock& clock, const Ports& ports, double offered_pps, double own_stall_s,
                     double warmup_s, double measure_s) {
  Watchdog watchdog(clock, ports);
  LoadResult result{
      .seconds = 0, .stalled_share = 0, .offered_pps = offered_pps, .latencies = {}, .ports = {}};
  const double interval = clock.TicksPerSecond() * static_cast<double>(ports.size()) / offered_pps;
  const uint64_t start = Clock::Ticks();
  for (size_t i = 0; i < ports.size(); ++i) {
    // Ports take turns: all at once would be bursts.
    const double phase = interval * static_cast<double>(i) / static_cast<double>(ports.size());
    ports[i]->outgoing().Schedule(start + static_cast<uint64_t>(phase), interval);
  }
  OwnStalls stalls(clock, ports, own_stall_s);
  uint64_t now = start;
  for (const uint64_t end = start + clock.FromSeconds(warmup_s); now < end; now = Clock::Ticks()) {
    LoadRound(ports, stalls);
    watchdog.Look(now);
  }
  const double ns_per_tick = 1e9 / clock.TicksPerSecond();
  for (const auto& port : ports) port->incoming().RecordLatencies(&result.latencies, ns_per_tick);
  for (const uint64_t end = now + clock.FromSeconds(measure_s); now < end; now = Clock::Ticks()) {
    LoadRound(ports, stalls);
    watchdog.Look(now);
  }
  result.seconds = clock.ToSeconds(now - start);
  result.stalled_share = clock.ToSeconds(stalls.stalled()) / result.seconds;
  Drain(clock, ports);
  for (const auto& port : ports) port->incoming().RecordLatencies(nullptr, 0);
  result.ports = Snapshot(ports);
  return result;
}

PingpongResult Pingpong(const Clock& clock, const Ports& ports, double pause_s, double warmup_s,
                        double measure_s) {
  Watchdog watchdog(clock, ports);
  const uint64_t frame_limit = clock.FromSeconds(kFrameLostAfterS);
  const uint64_t pause = clock.FromSeconds(pause_s);
  const uint64_t start = Clock::Ticks() + clock.FromSeconds(warmup_s);
  const uint64_t end = start + clock.FromSeconds(measure_s);
  PingpongResult result{.seconds = measure_s, .one_way = {}, .lost = 0, .ports = Snapshot(ports)};
  Port* from = ports[0].get();
  Port* to = ports[1].get();
  for (uint64_t sent_at = Clock::TicksAfterAll(); sent_at < end; sent_at = Clock::TicksAfterAll()) {
    const bool measured = sent_at >= start;
    const uint64_t delivered = to->counters().delivered;
    if (!from->SendOne()) Fail("%s: the backend returns no buffers", from->Name().c_str());
    uint64_t now = sent_at;
    while (to->counters().delivered == delivered && now - sent_at < frame_limit) {
      from->KickIfWanted();
      to->ReceiveBatch();
      now = Clock::TicksAfterAll();
    }
    // Buffers that went back may be worth a kick as well, which is not the next frame's.
    to->KickIfWanted();
    watchdog.Look(now);
    if (measured && to->counters().delivered == delivered) ++result.lost;
    if (measured) result.one_way.Add(clock.ToNs(now - sent_at));
    std::swap(from, to);
    // This thread stays awake: only the switch is to be found asleep.
    if (pause > 0) {
      while (Clock::Ticks() - now < pause) Pause();
    }
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

}  // namespace tsvswitch::bench
