// Parsing and checking of the command line. See options.h.

#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#include "failure.h"
#include "split_ring.h"

namespace tsvswitch::bench {

namespace {

constexpr char kHelp[] =
    R"(usage: flood --socket PATH --socket PATH [--socket PATH --socket PATH ...] [options]

A vhost-user frontend with one port per socket. Port 0 sends to port 1 and back, 2 to 3, and so on.

  --socket PATH          where a backend listens; an even number of them
  --tap NAME             a tap device instead, to measure a Linux bridge; an even number of them
  --mode flood|load|pingpong|wake|idle|copy
                         flood: every transmitq full, every receiveq drained (default)
                         load: --rate frames a second, latency and losses
                         pingpong: one frame at a time between ports 0 and 1, one-way latency
                         wake: the same with a pause before each frame
                         idle: connect, learn, say "ready", then stay silent
                         copy: no switch; memcpy of frames between --cpu and --self-test-cpu
  --frame BYTES          Ethernet frame without checksum, 60..65549 (64)
  --imix                 frames of 64, 594 and 1518 bytes, seven to four to one
  --tso                  TCP frames that the device may cut, in chains of pages; queues negotiate
                         checksums and segmentation both ways (sets --frame 65214, --buffer 4096)
  --touch headers|bytes  write and read the first cache line of a frame, or all of it (headers)
  --rate MPPS            load: million frames a second, all ports added
  --pause US             wake: microseconds before each frame (1000)
  --window FRAMES        flood: frames of a flow that are under way at most (what the queues hold)
  --ring split|packed    format of the queues (split)
  --queue-size N         descriptors per queue, a power of two up to 32768 (1024)
  --transmit-queue-size N  other than that of receiveqs
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
  kTap,
  kMode,
  kFrame,
  kImixWanted,
  kTsoWanted,
  kTouch,
  kRate,
  kPause,
  kWindow,
  kRing,
  kQueueSize,
  kTransmitQueueSize,
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
    {"tap", required_argument, nullptr, kTap},
    {"mode", required_argument, nullptr, kMode},
    {"frame", required_argument, nullptr, kFrame},
    {"imix", no_argument, nullptr, kImixWanted},
    {"tso", no_argument, nullptr, kTsoWanted},
    {"touch", required_argument, nullptr, kTouch},
    {"rate", required_argument, nullptr, kRate},
    {"pause", required_argument, nullptr, kPause},
    {"window", required_argument, nullptr, kWindow},
    {"ring", required_argument, nullptr, kRing},
    {"queue-size", required_argument, nullptr, kQueueSize},
    {"transmit-queue-size", required_argument, nullptr, kTransmitQueueSize},
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
constexpr size_t kRateMppsMax = 1000;
constexpr size_t kPauseUsMax = 1'000'000;
constexpr size_t kDefaultBufferBytes = 2048;
constexpr size_t kDefaultSegmentedBufferBytes = 4096;
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

uint16_t ParseQueueSize(const char* name, const char* text) {
  const size_t size = ParseInteger(name, text, 2, SplitRing::kSizeMax);
  if ((size & (size - 1)) != 0) Fail("--%s %s: expected a power of two", name, text);
  return static_cast<uint16_t>(size);
}

double ParseNumber(const char* name, const char* text, double max) {
  char* end = nullptr;
  const double value = strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= 0 && value <= max)) {
    Fail("--%s %s: expected a number from 0 to %.0f", name, text, max);
  }
  return value;
}

double ParseSeconds(const char* name, const char* text) {
  return ParseNumber(name, text, kSecondsMax);
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
    case kTap: options.taps.emplace_back(text); break;
    case kMode:
      options.mode = ParseName(
          name, text,
          {Mode::kFlood, Mode::kLoad, Mode::kPingpong, Mode::kWake, Mode::kIdle, Mode::kCopy});
      break;
    case kFrame:
      options.frames.frame_bytes = ParseInteger(name, text, kFrameBytesMin, kFrameBytesMax);
      break;
    case kImixWanted:
      options.frames.is_imix = true;
      options.frames.frame_bytes = kImixFrameBytesMax;
      break;
    case kTsoWanted:
      options.frames.transport = Transport::kTcpSegments;
      options.frames.frame_bytes = kSegmentedFrameBytes;
      break;
    case kRate: options.offered_pps = ParseNumber(name, text, kRateMppsMax) * 1e6; break;
    case kPause: options.pause_s = ParseNumber(name, text, kPauseUsMax) / 1e6; break;
    case kWindow: options.window = ParseInteger(name, text, 1, SplitRing::kSizeMax); break;
    case kRing:
      options.format = ParseName(name, text, {RingFormat::kSplit, RingFormat::kPacked});
      break;
    case kTouch: options.touch = ParseName(name, text, {Touch::kHeaders, Touch::kBytes}); break;
    case kQueueSize: options.queue_size = ParseQueueSize(name, text); break;
    case kTransmitQueueSize: options.transmit_queue_size = ParseQueueSize(name, text); break;
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

void CheckSelfTest(const Options& options) {
  if (!options.sockets.empty() || !options.taps.empty()) {
    Fail("--self-test-cpu stands in for a backend: no --socket and no --tap with it");
  }
  const bool is_plain =
      options.format == RingFormat::kSplit && options.frames.transport == Transport::kUdp;
  if (!is_plain && options.mode != Mode::kCopy) {
    Fail("--self-test-cpu knows split rings and frames of one piece only");
  }
}

void CheckTogether(Options& options) {
  const size_t ports = options.port_count();
  if (options.self_test_cpu.has_value()) CheckSelfTest(options);
  if (options.mode == Mode::kCopy && !options.self_test_cpu.has_value()) {
    Fail("--mode copy needs --self-test-cpu");
  }
  if (!options.sockets.empty() && !options.taps.empty()) {
    Fail("--tap and --socket exclude each other");
  }
  if (ports < 2 || ports % 2 != 0 || ports > kPortsMax) {
    Fail("%zu ports were given; an even number of --socket PATH from 2 to %zu is needed", ports,
         kPortsMax);
  }
  if (options.transmit_queue_size == 0) options.transmit_queue_size = options.queue_size;
  if ((options.mode == Mode::kLoad) != (options.offered_pps > 0)) {
    Fail("--mode load and --rate above 0 go together");
  }
  const bool is_segmented = options.frames.transport == Transport::kTcpSegments;
  if (is_segmented && options.frames.is_imix) Fail("--tso and --imix exclude each other");
  if (is_segmented && options.frames.frame_bytes < kFrameBytesMin + kSegmentBytes) {
    Fail("--tso with --frame %zu: expected more than one segment of %u bytes",
         options.frames.frame_bytes, kSegmentBytes);
  }
  if (options.buffer_bytes == 0) {
    options.buffer_bytes = is_segmented ? kDefaultSegmentedBufferBytes
                                        : std::max(kVirtioHeaderBytes + options.frames.frame_bytes,
                                                   kDefaultBufferBytes);
  }
  if (options.queue_size < options.frames.frame_bytes / options.buffer_bytes + 2) {
    Fail("--queue-size %u with --buffer %zu: a frame of %zu bytes does not fit into the receiveq",
         options.queue_size, options.buffer_bytes, options.frames.frame_bytes);
  }
}

}  // namespace

const char* Name(Mode mode) {
  switch (mode) {
    case Mode::kFlood: return "flood";
    case Mode::kLoad: return "load";
    case Mode::kPingpong: return "pingpong";
    case Mode::kWake: return "wake";
    case Mode::kIdle: return "idle";
    case Mode::kCopy: return "copy";
  }
  __builtin_unreachable();
}

const char* Name(Touch touch) { return touch == Touch::kHeaders ? "headers" : "bytes"; }

const char* Name(RingFormat format) { return format == RingFormat::kSplit ? "split" : "packed"; }

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
