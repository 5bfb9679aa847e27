// What the client does with connected ports: teach the switch, flood it, offer it a load, or time
// single frames.
//
// Every trial is bounded in time and ends the program with a sentence if a backend goes away or
// delivers nothing for kStallLimitS.

#pragma once

#include <stdint.h>

#include <vector>

#include "clock.h"
#include "latency_histogram.h"
#include "port.h"

namespace tsvswitch::bench {

constexpr double kStallLimitS = 3;
constexpr double kSliceS = 0.05;

struct FloodResult {
  double seconds;
  // Share of the measured time in rounds that found nothing to send or receive: near 0, the
  // client and not the switch is what was measured.
  double client_idle_share;
  // Share of the measured time that this thread really ran: below 1, another program took its CPU.
  double client_cpu_share;
  // The rate that one slice of kSliceS in ten exceeded. On a machine whose CPUs are disturbed or
  // moved about it lies above the mean; on a quiet one they agree.
  double fast_slice_pps;
  std::vector<Counters> ports;  // Of the measured time only.
};

struct LoadResult {
  double seconds;  // Of sending, warm-up included.
  // Share of that time in which this thread did not run, in stretches above own_stall_s: nothing
  // was due then, and frames that were under way, or due in the moment after, are not among the
  // latencies.
  double stalled_share;
  double offered_pps;
  // From the moment a frame was due to the moment its arrival was seen, of frames that arrived
  // after the warm-up.
  LatencyHistogram latencies;
  // Of all the time, and after waiting for what was under way: what was sent and not delivered is
  // lost. Less sent than offered means that a transmitq was full when frames were due.
  std::vector<Counters> ports;
};

struct PingpongResult {
  double seconds;
  LatencyHistogram one_way;
  uint64_t lost;
  std::vector<Counters> ports;
};

// Sends hellos until each port has heard its partner, so that the switch has learned every address,
// then takes in what is still under way.
void Learn(const Clock& clock, const Ports& ports);

// With a window above 0, at most that many frames of a flow are under way at a time: large frames
// fill a receiveq before its guest can empty it, and would be measured as losses.
FloodResult Flood(const Clock& clock, const Ports& ports, size_t window, double warmup_s,
                  double measure_s);

// Sends `offered_pps` frames a second, evenly spread over the ports and over time, and waits in the
// end until all have arrived or nothing more comes. Where this thread finds that it did not run for
// more than `own_stall_s` the load stops for as long.
LoadResult OfferLoad(const Clock& clock, const Ports& ports, double offered_pps, double own_stall_s,
                     double warmup_s, double measure_s);

// Sends one frame at a time between ports 0 and 1, in turn; the stamps are taken before the frame
// is written and after it was checked. Before each frame nothing happens for `pause_s`: where that
// is long enough for the switch to fall asleep, waking it is part of the time.
PingpongResult Pingpong(const Clock& clock, const Ports& ports, double pause_s, double warmup_s,
                        double measure_s);

// Leaves the ports connected and silent.
void Idle(const Ports& ports, double measure_s);

}  // namespace tsvswitch::bench
