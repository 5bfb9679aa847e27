// Formatting of results. See report.h.

#include "report.h"

#include <stdio.h>

namespace tsvswitch::bench {

namespace {

using Count = unsigned long long;

Counters Sum(const std::vector<Counters>& ports) {
  Counters sum;
  for (const Counters& port : ports) {
    sum.sent += port.sent;
    sum.delivered += port.delivered;
    sum.lost += port.lost;
    sum.reordered += port.reordered;
    sum.corrupt += port.corrupt;
    sum.misdelivered += port.misdelivered;
  }
  return sum;
}

double Millions(uint64_t count, double seconds) {
  return static_cast<double>(count) / seconds / 1e6;
}

// The members that all trials share, with the opening brace and a comma at the end.
void PrintJsonStart(const Options& options, MemoryKind memory, double seconds,
                    const Counters& sum) {
  printf("{\"mode\":\"%s\",\"ports\":%zu,\"frameBytes\":%zu,\"touch\":\"%s\",\"queueSize\":%u,"
         "\"bufferBytes\":%zu,\"memory\":\"%s\",\"cpu\":%d,\"seconds\":%.3f,",
         Name(options.mode), options.port_count(), options.frame_bytes, Name(options.touch),
         options.queue_size, options.buffer_bytes, Name(memory), options.cpu.value_or(-1), seconds);
  printf("\"sent\":%llu,\"delivered\":%llu,\"lost\":%llu,\"errors\":%llu,\"reordered\":%llu,"
         "\"corrupt\":%llu,\"misdelivered\":%llu,",
         Count{sum.sent}, Count{sum.delivered}, Count{sum.lost}, Count{sum.errors()},
         Count{sum.reordered}, Count{sum.corrupt}, Count{sum.misdelivered});
}

void PrintErrors(const Counters& sum) {
  printf("%llu lost, %llu reordered, %llu corrupt, %llu misdelivered\n", Count{sum.lost},
         Count{sum.reordered}, Count{sum.corrupt}, Count{sum.misdelivered});
}

}  // namespace

void Report(const Options& options, MemoryKind memory, const FloodResult& result) {
  const Counters sum = Sum(result.ports);
  const double delivered_mpps = Millions(sum.delivered, result.seconds);
  const double gbit = delivered_mpps * 1e6 * static_cast<double>(options.frame_bytes) * 8 / 1e9;
  if (!options.json) {
    printf("%.2f Mpps delivered of %.2f sent, %.2f Gbit/s, %zu B frames, %zu ports, %s memory; "
           "client idle %.0f %%\n",
           delivered_mpps, Millions(sum.sent, result.seconds), gbit, options.frame_bytes,
           options.port_count(), Name(memory), result.client_idle_share * 100);
    PrintErrors(sum);
    return;
  }
  PrintJsonStart(options, memory, result.seconds, sum);
  printf("\"deliveredMpps\":%.4f,\"sentMpps\":%.4f,\"gbitPerSecond\":%.4f,"
         "\"fastSliceMpps\":%.4f,\"clientIdleShare\":%.4f,\"clientCpuShare\":%.4f,"
         "\"deliveredMppsPerPort\":[",
         delivered_mpps, Millions(sum.sent, result.seconds), gbit, result.fast_slice_pps / 1e6,
         result.client_idle_share, result.client_cpu_share);
  for (size_t i = 0; i < result.ports.size(); ++i) {
    printf("%s%.4f", i == 0 ? "" : ",", Millions(result.ports[i].delivered, result.seconds));
  }
  printf("]}\n");
}

void Report(const Options& options, MemoryKind memory, const PingpongResult& result) {
  const Counters sum = Sum(result.ports);
  const LatencyHistogram& one_way = result.one_way;
  const size_t p50 = one_way.PercentileNs(0.5);
  const size_t p99 = one_way.PercentileNs(0.99);
  const size_t p999 = one_way.PercentileNs(0.999);
  const Count samples = one_way.samples();
  if (!options.json) {
    printf("one way p50 %zu ns, p99 %zu ns, p99.9 %zu ns over %llu frames of %zu B, %s memory\n",
           p50, p99, p999, samples, options.frame_bytes, Name(memory));
    PrintErrors(sum);
    return;
  }
  PrintJsonStart(options, memory, result.seconds, sum);
  printf("\"samples\":%llu,\"p50Ns\":%zu,\"p99Ns\":%zu,\"p999Ns\":%zu}\n", samples, p50, p99, p999);
}

}  // namespace tsvswitch::bench
