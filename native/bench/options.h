// The command line of the flooding client.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

#include "ring_port.h"

namespace tsvswitch::bench {

enum class Mode { kFlood, kLoad, kPingpong, kWake, kIdle, kCopy };

struct Options {
  Mode mode = Mode::kFlood;
  Touch touch = Touch::kHeaders;
  std::vector<std::string> sockets;
  std::vector<std::string> taps;  // Instead of sockets.
  FrameShape frames;
  RingFormat format = RingFormat::kSplit;
  size_t buffer_bytes = 0;  // 0: 2 KiB or the frame with its header, whichever is more.
  uint16_t queue_size = 1024;
  uint16_t transmit_queue_size = 0;  // 0: as large as receiveqs.
  double offered_pps = 0;            // Of Mode::kLoad.
  double pause_s = 1e-3;             // Of Mode::kWake.
  size_t window = 0;                 // Frames of a flow under way at a time; 0: what fits.
  double warmup_s = 0.5;
  double measure_s = 3;
  double connect_timeout_s = 10;
  std::optional<int> cpu;
  std::optional<MemoryKind> memory;  // Absent: huge pages if enough are free.
  std::optional<int> self_test_cpu;  // Present: no sockets, but a thread on this CPU.
  size_t self_test_ports = 2;
  bool json = false;

  size_t port_count() const {
    if (self_test_cpu.has_value()) return self_test_ports;
    return taps.empty() ? sockets.size() : taps.size();
  }
};

const char* Name(Mode mode);
const char* Name(Touch touch);
const char* Name(RingFormat format);

// Fails with a sentence on anything that cannot be used; prints and exits 0 on --help.
Options ParseOptions(int argc, char** argv);

}  // namespace tsvswitch::bench
