// The measuring tool of this project: a vhost-user frontend with a pair of ports or more that costs
// next to nothing, so that what is measured is the switch behind the sockets.
//
// Every port has its own shared memory, one queue pair, and a partner (port i ^ 1) to which it
// sends. The frames carry addresses and sequence numbers that are checked at the other end, so a
// result says what was delivered, lost, reordered or damaged, and never just what was sent. It
// speaks only vhost-user, so the same program measures this switch and any other that listens on
// sockets; on tap devices it measures the bridge of the kernel.
//
//   options -> ports (memory, rings, flows) -> frontend (protocol) -> trial (loops) -> report
//
// One thread does everything, and it never sleeps while measuring; --self-test-cpu adds a second
// one in the place of the backend (reflector.h, core_copy.h) and gives the ceiling of the client on
// a machine. Not here: starting switches, repeating, comparing; bench/main.ts does that.

#include <stdio.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "clock.h"
#include "core_copy.h"
#include "cpu.h"
#include "options.h"
#include "reflector.h"
#include "report.h"
#include "ring_port.h"
#include "tap_port.h"
#include "trial.h"

namespace tsvswitch::bench {

namespace {

// Longer than a round that empties full queues; with taps, whose bridge works inside the client's
// system calls, no stretch of time is only the client's.
constexpr double kOwnStallS = 30e-6;

void Run(const Options& options, MemoryKind memory, const Clock& clock, const Ports& ports) {
  const double warmup_s = options.warmup_s;
  const double measure_s = options.measure_s;
  switch (options.mode) {
    case Mode::kFlood:
      return Report(options, memory, Flood(clock, ports, options.window, warmup_s, measure_s));
    case Mode::kLoad:
      return Report(options, memory,
                    OfferLoad(clock, ports, options.offered_pps,
                              options.taps.empty() ? kOwnStallS : measure_s, warmup_s, measure_s));
    case Mode::kPingpong:
      return Report(options, memory, Pingpong(clock, ports, 0, warmup_s, measure_s));
    case Mode::kWake:
      return Report(options, memory, Pingpong(clock, ports, options.pause_s, warmup_s, measure_s));
    case Mode::kIdle:
      puts("ready");
      fflush(stdout);
      return Idle(ports, measure_s);
    case Mode::kCopy: break;
  }
  __builtin_unreachable();
}

Ports OpenTaps(const Options& options) {
  Ports ports;
  for (size_t i = 0; i < options.taps.size(); ++i) {
    ports.push_back(MakeTapPort(i, options.frames, options.touch, options.taps[i]));
  }
  return ports;
}

std::vector<std::unique_ptr<RingPort>> MakeRings(const Options& options, const Traffic& traffic) {
  std::vector<std::unique_ptr<RingPort>> rings;
  for (size_t i = 0; i < options.port_count(); ++i) rings.push_back(RingPort::Make(i, traffic));
  return rings;
}

void RunOverRings(const Options& options, const Traffic& traffic, const Clock& clock) {
  Ports ports;
  std::vector<RingPort*> rings;
  for (std::unique_ptr<RingPort>& ring : MakeRings(options, traffic)) {
    rings.push_back(ring.get());
    ports.push_back(std::move(ring));
  }
  std::optional<Reflector> reflector;
  if (options.self_test_cpu.has_value()) {
    reflector.emplace(rings, *options.self_test_cpu);
  } else {
    for (size_t i = 0; i < rings.size(); ++i) {
      rings[i]->Attach(options.sockets[i], options.connect_timeout_s);
    }
  }
  Learn(clock, ports);
  Run(options, traffic.memory, clock, ports);
}

// As many copies under way as frames would be.
void RunCopy(const Options& options, const Traffic& traffic, const Clock& clock) {
  const size_t slots =
      options.port_count() * traffic.TransmitShape().Count(traffic.transmit_queue_size);
  Report(options, traffic.memory,
         CopyBetweenCores(clock, *options.self_test_cpu, traffic.memory, options.frames.frame_bytes,
                          slots, options.warmup_s, options.measure_s));
}

void Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  if (options.cpu.has_value()) PinThread(*options.cpu);
  const Clock clock = Clock::Calibrate();

  if (!options.taps.empty()) {
    const Ports ports = OpenTaps(options);
    Learn(clock, ports);
    return Run(options, MemoryKind::kMemfd, clock, ports);
  }
  Traffic traffic{
      .frames = options.frames,
      .touch = options.touch,
      .format = options.format,
      .receive_queue_size = options.queue_size,
      .transmit_queue_size = options.transmit_queue_size,
      .buffer_bytes = options.buffer_bytes,
      .memory = MemoryKind::kMemfd,
  };
  if (options.memory.has_value()) {
    traffic.memory = *options.memory;
  } else if (PortMemory::HugePagesSuffice(options.port_count() * RingPort::MemoryBytes(traffic))) {
    traffic.memory = MemoryKind::kHugetlbfs;
  }
  if (options.mode == Mode::kCopy) return RunCopy(options, traffic, clock);
  RunOverRings(options, traffic, clock);
}

}  // namespace

}  // namespace tsvswitch::bench

int main(int argc, char** argv) {
  tsvswitch::bench::Main(argc, argv);
  return 0;
}
