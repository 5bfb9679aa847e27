// Formatting of results. See report.h.

#include "report.h"

#include <stdio.h>

namespace tsvswitch::bench {

namespace {

using Count = unsigned long long;

Counters Sum(const std::vector<Counters>& ports) {
  Counters sum;
  for (const Counters& port : ports) sum = sum + port;
  return sum;
}

double Gbit(uint64_t bytes, double seconds) {
  return static_cast<double>(bytes) * 8 / seconds / 1e9;
}

double Millions(uint64_t count, double seconds) {
  return static_cast<double>(count) / seconds / 1e6;
}

// The members that all trials share, with the opening brace and a comma at the end.
void PrintJsonStart(const Options& options, MemoryKind memory, double seconds,
                    const Counters& sum) {
  printf(
      "{\"mode\":\"%s\",\"ports\":%zu,\"frameBytes\":%zu,\"imix\":%s,\"tso\":%s,"
      "\"touch\":\"%s\",\"ring\":\"%s\",\"queueSize\":%u,\"bufferBytes\":%zu,"
      "\"memory\":\"%s\",\"cpu\":%d,\"seconds\":%.3f,",
      Name(options.mode), options.port_count(), options.frames.frame_bytes,
      options.frames.is_imix ? "true" : "false",
      options.frames.transport == Transport::kTcpSegments ? "true" : "false", Name(options.touch),
      Name(options.format), options.queue_size, options.buffer_bytes, Name(memory),
      options.cpu.value_or(-1), seconds);
  printf(
      "\"sent\":%llu,\"delivered\":%llu,\"lost\":%llu,\"errors\":%llu,\"reordered\":%llu,"
      "\"corrupt\":%llu,\"misdelivered\":%llu,",
      Count{sum.sent}, Count{sum.delivered}, Count{sum.lost}, Count{sum.errors()},
      Count{sum.reordered}, Count{sum.corrupt}, Count{sum.misdelivered});
}

void PrintJsonLatencies(const LatencyHistogram& latencies) {
  printf("\"samples\":%llu,\"p50Ns\":%zu,\"p99Ns\":%zu,\"p999Ns\":%zu}\n",
         Count{latencies.samples()}, latencies.PercentileNs(0.5), latencies.PercentileNs(0.99),
         latencies.PercentileNs(0.999));
}

void PrintLatencies(const LatencyHistogram& latencies, const Options& options, MemoryKind memory) {
  printf("one way p50 %zu ns, p99 %zu ns, p99.9 %zu ns over %llu frames of %zu B, %s memory\n",
         latencies.PercentileNs(0.5), latencies.PercentileNs(0.99), latencies.PercentileNs(0.999),
         Count{latencies.samples()}, options.frames.frame_bytes, Name(memory));
}

void PrintErrors(const Counters& sum) {
  printf("%llu lost, %llu reordered, %llu corrupt, %llu misdelivered\n", Count{sum.lost},
         Count{sum.reordered}, Count{sum.corrupt}, Count{sum.misdelivered});
}

}  // namespace

void Report(const Options& options, MemoryKind memory, const FloodResult& result) {
  const Counters sum = Sum(result.ports);
  const double delivered_mpps = Millions(sum.delivered, result.seconds);
  const double gbit = Gbit(sum.delivered_bytes, result.seconds);
  if (!options.json) {
    printf(
        "%.2f Mpps delivered of %.2f sent, %.2f Gbit/s, %zu B frames, %zu ports, %s memory; "
        "client idle %.0f %%\n",
        delivered_mpps, Millions(sum.sent, result.seconds), gbit, options.frames.frame_bytes,
        options.port_count(), Name(memory), result.client_idle_share * 100);
    PrintErrors(sum);
    return;
  }
  PrintJsonStart(options, memory, result.seconds, sum);
  printf(
      "\"deliveredMpps\":%.4f,\"sentMpps\":%.4f,\"gbitPerSecond\":%.4f,"
      "\"fastSliceMpps\":%.4f,\"clientIdleShare\":%.4f,\"clientCpuShare\":%.4f,"
      "\"deliveredMppsPerPort\":[",
      delivered_mpps, Millions(sum.sent, result.seconds), gbit, result.fast_slice_pps / 1e6,
      result.client_idle_share, result.client_cpu_share);
  for (size_t i = 0; i < result.ports.size(); ++i) {
    printf("%s%.4f", i == 0 ? "" : ",", Millions(result.ports[i].delivered, result.seconds));
  }
  printf("]}\n");
}

void Report(const Options& options, MemoryKind memory, const LoadResult& result) {
  const Counters sum = Sum(result.ports);
  const double sent_mpps = Millions(sum.sent, result.seconds);
  const double offered_mpps = result.offered_pps / 1e6;
  const uint64_t undelivered = sum.sent - sum.delivered;
  if (!options.json) {
    printf("%.3f Mpps sent of %.3f offered, %llu of %llu frames not delivered\n", sent_mpps,
           offered_mpps, Count{undelivered}, Count{sum.sent});
    PrintLatencies(result.latencies, options, memory);
    PrintErrors(sum);
    return;
  }
  PrintJsonStart(options, memory, result.seconds, sum);
  printf("\"offeredMpps\":%.4f,\"sentMpps\":%.4f,\"stalledShare\":%.6f,\"undelivered\":%llu,",
         offered_mpps, sent_mpps, result.stalled_share, Count{undelivered});
  PrintJsonLatencies(result.latencies);
}

void Report(const Options& options, MemoryKind memory, const PingpongResult& result) {
  const Counters sum = Sum(result.ports);
  if (!options.json) {
    PrintLatencies(result.one_way, options, memory);
    PrintErrors(sum);
    return;
  }
  PrintJsonStart(options, memory, result.seconds, sum);
  PrintJsonLatencies(result.one_way);
}

void Report(const Options& options, MemoryKind memory, const CoreCopyResult& result) {
  const uint64_t bytes = result.copies * options.frames.frame_bytes;
  const double gbit = Gbit(bytes, result.seconds);
  if (!options.json) {
    printf("%.2f Gbit/s copied in pieces of %zu B, %s memory\n", gbit, options.frames.frame_bytes,
           Name(memory));
    return;
  }
  PrintJsonStart(options, memory, result.seconds,
                 {.sent = result.copies, .delivered = result.copies});
  printf("\"gbitPerSecond\":%.4f}\n", gbit);
}

}  // namespace tsvswitch::bench
