// One port of the client: a guest that exists only as a queue pair, its memory and two flows.
//
// SendBatch keeps the transmitq full, ReceiveBatch empties the receiveq and checks what came. Both
// work in batches of two loops, so that the prefetches of the first loop have time to land before the
// second one touches the frames. Frames of the client's own flow count; anything else is an error
// of one of the kinds in Counters.
//
// Single threaded, never blocks. Touch decides at compile time whether payloads are written and read.

#ifndef TSVSWITCH_BENCH_PORT_H_
#define TSVSWITCH_BENCH_PORT_H_

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

#include "frame.h"
#include "port_memory.h"
#include "split_ring.h"
#include "vhost_frontend.h"

namespace tsvswitch::bench {

// How much of a frame the client writes and reads: the first cache line, or all of it.
enum class Touch { kHeaders, kBytes };

constexpr uint16_t kSendBatchMax = 128;
constexpr uint16_t kReceiveBatchMax = 128;

struct Traffic {
  uint16_t queue_size;
  size_t frame_bytes;
  size_t buffer_bytes;  // Of the receiveq; those of the transmitq hold a whole frame in any case.
  MemoryKind memory;
};

struct Counters {
  uint64_t sent = 0;
  uint64_t delivered = 0;
  uint64_t lost = 0;          // Gaps in the sequence numbers.
  uint64_t reordered = 0;     // Sequence numbers that went back or came twice.
  uint64_t corrupt = 0;       // Wrong length, header or payload; such a frame is a gap as well.
  uint64_t misdelivered = 0;  // Data frames of other flows, for example flooded ones.
  uint64_t hellos = 0;

  uint64_t errors() const { return reordered + corrupt + misdelivered; }
};

Counters operator-(const Counters& later, const Counters& earlier);

class Port {
 public:
  static constexpr size_t kReceiveq = 0;
  static constexpr size_t kTransmitq = 1;

  static size_t MemoryBytes(const Traffic& traffic);

  // Port i talks to port i ^ 1.
  Port(size_t index, const Traffic& traffic);
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  // Connects to a backend and starts both queues.
  void Attach(const std::string& socket_path, double timeout_s);
  bool Alive() const { return !frontend_.has_value() || frontend_->Alive(); }
  std::string Name() const;

  // Sends one frame that is not counted; false while the transmitq is full.
  bool SendHello();

  // Sends one frame of the flow; false while the transmitq is full.
  template <Touch touch>
  bool SendOne();

  // Refills the transmitq with at most kSendBatchMax frames, but only once `worthwhile` fit in.
  template <Touch touch>
  uint16_t SendBatch(uint16_t worthwhile);

  // Takes at most kReceiveBatchMax buffers from the receiveq and posts them again.
  template <Touch touch>
  uint16_t ReceiveBatch();

  // Kicks whatever the device wants to be kicked for; once per round.
  void KickIfWanted();

  const Counters& counters() const { return counters_; }
  SplitRing& receiveq() { return receiveq_; }
  SplitRing& transmitq() { return transmitq_; }
  PortMemory& memory() { return memory_; }

 private:
  void PostReceiveBuffers();
  std::optional<uint32_t> FreeTransmitBuffer();
  template <Touch touch>
  void WriteFrame(uint32_t id);
  void Transmit(uint32_t id);
  template <Touch touch>
  void CheckFrame(const uint8_t* frame, size_t frame_bytes);
  template <Touch touch>
  uint16_t CheckMergedFrame(uint16_t ahead, uint16_t pieces, uint16_t completed);
  void CountSequence(uint64_t sequence);
  void CountForeign(const uint8_t* frame);

  const size_t index_;
  const size_t frame_bytes_;
  const size_t buffer_bytes_;
  const EthernetHeader incoming_;
  uint64_t next_sequence_ = 0;
  uint64_t expected_sequence_ = 0;
  Counters counters_;
  PortMemory memory_;
  SplitRing receiveq_;
  SplitRing transmitq_;
  std::optional<VhostFrontend> frontend_;
  std::vector<uint8_t> gathered_;  // A frame that came in pieces, put together for checking.
};

}  // namespace tsvswitch::bench

#endif  // TSVSWITCH_BENCH_PORT_H_
