// The measuring tool of this project: a vhost-user frontend with a pair of ports or more that costs
// next to nothing, so that what is measured is the switch behind the sockets.
//
// Every port has its own shared memory, one queue pair, and a partner (port i ^ 1) to which it sends.
// The frames carry addresses and sequence numbers that are checked at the other end, so a result says
// what was delivered, lost, reordered or damaged, and never just what was sent. It speaks only
// vhost-user, so the same program measures this switch and any other that listens on sockets.
//
//   options -> ports (memory, rings) -> frontend (protocol) -> trial (loops) -> report
//
// One thread does everything, and it never sleeps while measuring; --self-test-cpu adds a second one
// in the place of the backend (reflector.h) and gives the ceiling of the client on a machine.
// Not here: starting switches, repeating, comparing; bench/main.ts does that.

#include <stdio.h>

#include <memory>
#include <optional>

#include "clock.h"
#include "cpu.h"
#include "options.h"
#include "port.h"
#include "reflector.h"
#include "report.h"
#include "trial.h"

namespace tsvswitch::bench {

namespace {

template <Touch touch>
void Run(const Options& options, MemoryKind memory, const Clock& clock, const Ports& ports) {
  switch (options.mode) {
    case Mode::kFlood:
      return Report(options, memory,
                    Flood<touch>(clock, ports, options.warmup_s, options.measure_s));
    case Mode::kPingpong:
      return Report(options, memory,
                    Pingpong<touch>(clock, ports, options.warmup_s, options.measure_s));
    case Mode::kIdle:
      puts("ready");
      fflush(stdout);
      return Idle(ports, options.measure_s);
  }
}

void Main(int argc, char** argv) {
  const Options options = ParseOptions(argc, argv);
  if (options.cpu.has_value()) PinThread(*options.cpu);
  const Clock clock = Clock::Calibrate();

  Traffic traffic{
      .queue_size = options.queue_size,
      .frame_bytes = options.frame_bytes,
      .buffer_bytes = options.buffer_bytes,
      .memory = MemoryKind::kMemfd,
  };
  if (options.memory.has_value()) {
    traffic.memory = *options.memory;
  } else if (PortMemory::HugePagesSuffice(options.port_count() * Port::MemoryBytes(traffic))) {
    traffic.memory = MemoryKind::kHugetlbfs;
  }

  Ports ports;
  for (size_t i = 0; i < options.port_count(); ++i) {
    ports.push_back(std::make_unique<Port>(i, traffic));
  }
  std::optional<Reflector> reflector;
  if (options.self_test_cpu.has_value()) {
    reflector.emplace(ports, *options.self_test_cpu);
  } else {
    for (size_t i = 0; i < ports.size(); ++i) {
      ports[i]->Attach(options.sockets[i], options.connect_timeout_s);
    }
  }
  Learn(clock, ports);
  if (options.touch == Touch::kBytes) {
    Run<Touch::kBytes>(options, traffic.memory, clock, ports);
  } else {
    Run<Touch::kHeaders>(options, traffic.memory, clock, ports);
  }
}

}  // namespace

}  // namespace tsvswitch::bench

int main(int argc, char** argv) {
  tsvswitch::bench::Main(argc, argv);
  return 0;
}
