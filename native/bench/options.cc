// Parsing and checking of the command line. See options.h.

#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"

namespace tsvswitch::bench {

namespace {

constexpr char kHelp[] =
    R"(usage: flood --socket PATH --socket PATH [--socket PATH --socket PATH ...] [options]

A vhost-user frontend with one port per socket. Port 0 sends to port 1 and back, 2 to 3, and so on.

  --socket PATH          where a backend listens; an even number of them
  --mode flood|pingpong|idle
                         flood: every transmitq full, every receiveq drained (default)
                         pingpong: one frame at a time between ports 0 and 1, one-way latency
                         idle: connect, learn, say "ready", then stay silent
  --frame BYTES          Ethernet frame without checksum, 60..65550 (64)
  --touch headers|bytes  write and read the first cache line of a frame, or all of it (headers)
  --queue-size N         descriptors per queue, a power of two up to 32768 (1024)
  --buffer BYTES         size of a receive buffer (2048, or the frame if that is more)
  --memory hugetlbfs|memfd
                         what the ports share (hugetlbfs if enough huge pages are free)
  --warmup S             seconds before the measurement (0.5)
  --seconds S            seconds of the measurement (3)
  --connect-timeout S    how long to wait for the sockets (10)
  --cpu N                run on this CPU only
  --self-test-cpu N      no backend: a thread on this CPU moves the frames with no switching at all;
                         the result is the most that this client can show on this machine
  --self-test-ports N    ports of the self test, even (2)
  --json                 print the result as one line of JSON
)";

enum OptionId : int {
  kSocket = 1,
  kMode,
  kFrame,
  kTouch,
  kQueueSize,
  kBuffer,
  kMemory,
  kWarmup,
  kSeconds,
  kConnectTimeout,
  kCpu,
  kSelfTestCpu,
  kSelfTestPorts,
  kJson,
  kHelpWanted,
};

constexpr option kLongOptions[] = {
    {"socket", required_argument, nullptr, kSocket},
    {"mode", required_argument, nullptr, kMode},
    {"frame", required_argument, nullptr, kFrame},
    {"touch", required_argument, nullptr, kTouch},
    {"queue-size", required_argument, nullptr, kQueueSize},
    {"buffer", required_argument, nullptr, kBuffer},
    {"memory", required_argument, nullptr, kMemory},
    {"warmup", required_argument, nullptr, kWarmup},
    {"seconds", required_argument, nullptr, kSeconds},
    {"connect-timeout", required_argument, nullptr, kConnectTimeout},
    {"cpu", required_argument, nullptr, kCpu},
    {"self-test-cpu", required_argument, nullptr, kSelfTestCpu},
    {"self-test-ports", required_argument, nullptr, kSelfTestPorts},
    {"json", no_argument, nullptr, kJson},
    {"help", no_argument, nullptr, kHelpWanted},
    {nullptr, 0, nullptr, 0},
};

constexpr size_t kPortsMax = 1024;
constexpr int kCpusMax = 1024;
constexpr double kSecondsMax = 3600;
constexpr size_t kDefaultBufferBytes = 2048;
constexpr size_t kBufferBytesMax = 128 * 1024;

size_t ParseInteger(const char* name, const char* text, size_t min, size_t max) {
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = strtoull(text, &end, 10);
  const bool number = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
  if (!number || value < min || value > max) {
    Fail("--%s %s: expected a whole number from %zu to %zu", name, text, min, max);
  }
  return value;
}

double ParseSeconds(const char* name, const char* text) {
  char* end = nullptr;
  const double value = strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= 0 && value <= kSecondsMax)) {
    Fail("--%s %s: expected seconds from 0 to %.0f", name, text, kSecondsMax);
  }
  return value;
}

template <typename Value, size_t count>
Value ParseName(const char* name, const char* text, const Value (&values)[count]) {
  std::string names;
  for (const Value value : values) {
    if (strcmp(text, Name(value)) == 0) return value;
    names += names.empty() ? Name(value) : std::string(" or ") + Name(value);
  }
  Fail("--%s %s: expected %s", name, text, names.c_str());
}

void Apply(Options& options, int id, const char* name, const char* text) {
  switch (id) {
    case kSocket: options.sockets.emplace_back(text); break;
    case kMode:
      options.mode = ParseName(name, text, {Mode::kFlood, Mode::kPingpong, Mode::kIdle});
      break;
    case kFrame: options.frame_bytes = ParseInteger(name, text, kFrameBytesMin, kFrameBytesMax); break;
    case kTouch: options.touch = ParseName(name, text, {Touch::kHeaders, Touch::kBytes}); break;
    case kQueueSize:
      options.queue_size =
          static_cast<uint16_t>(ParseInteger(name, text, 2, SplitRing::kSizeMax));
      break;
    case kBuffer: options.buffer_bytes = ParseInteger(name, text, 128, kBufferBytesMax); break;
    case kMemory:
      options.memory = ParseName(name, text, {MemoryKind::kHugetlbfs, MemoryKind::kMemfd});
      break;
    case kWarmup: options.warmup_s = ParseSeconds(name, text); break;
    case kSeconds: options.measure_s = ParseSeconds(name, text); break;
    case kConnectTimeout: options.connect_timeout_s = ParseSeconds(name, text); break;
    case kCpu: options.cpu = static_cast<int>(ParseInteger(name, text, 0, kCpusMax)); break;
    case kSelfTestCpu:
      options.self_test_cpu = static_cast<int>(ParseInteger(name, text, 0, kCpusMax));
      break;
    case kSelfTestPorts: options.self_test_ports = ParseInteger(name, text, 2, kPortsMax); break;
    case kJson: options.json = true; break;
    case kHelpWanted: fputs(kHelp, stdout); exit(0);
    default: Fail("see flood --help");
  }
}

void CheckTogether(Options& options) {
  const size_t ports = options.port_count();
  if (options.self_test_cpu.has_value() && !options.sockets.empty()) {
    Fail("--self-test-cpu and --socket exclude each other");
  }
  if (ports < 2 || ports % 2 != 0 || ports > kPortsMax) {
    Fail("%zu ports were given; an even number of --socket PATH from 2 to %zu is needed", ports,
         kPortsMax);
  }
  if ((options.queue_size & (options.queue_size - 1)) != 0) {
    Fail("--queue-size %u: a split queue's size is a power of two", options.queue_size);
  }
  const size_t needed = kVirtioHeaderBytes + options.frame_bytes;
  if (options.buffer_bytes == 0) {
    options.buffer_bytes = needed > kDefaultBufferBytes ? needed : kDefaultBufferBytes;
  }
}

}  // namespace

const char* Name(Mode mode) {
  switch (mode) {
    case Mode::kFlood: return "flood";
    case Mode::kPingpong: return "pingpong";
    case Mode::kIdle: return "idle";
  }
  __builtin_unreachable();
}

const char* Name(Touch touch) { return touch == Touch::kHeaders ? "headers" : "bytes"; }

Options ParseOptions(int argc, char** argv) {
  Options options;
  int index = 0;
  for (;;) {  // Bounded by argc.
    const int id = getopt_long(argc, argv, "", kLongOptions, &index);
    if (id == -1) break;
    if (id == '?') Fail("see flood --help");
    Apply(options, id, kLongOptions[index].name, optarg);
  }
  if (optind < argc) Fail("%s: not an option; see flood --help", argv[optind]);
  CheckTogether(options);
  return options;
}

}  // namespace tsvswitch::bench
