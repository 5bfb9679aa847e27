// A port of the client behind a vhost-user socket: a queue pair, its memory, and the protocol.
//
// Sending and receiving work in batches of two loops, so that the prefetches of the first loop have
// time to land before the second one touches the frames. Which ring format and how much of a frame
// is touched are decided when the port is made, not per frame.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <optional>
#include <string>

#include "buffers.h"
#include "port.h"
#include "port_memory.h"
#include "queue.h"
#include "vhost_frontend.h"

namespace tsvswitch::bench {

struct Traffic {
  FrameShape frames;
  Touch touch;
  RingFormat format;
  uint16_t receive_queue_size;
  uint16_t transmit_queue_size;
  size_t buffer_bytes;  // Of the receiveq; those of the transmitq hold a whole frame in any case.
  MemoryKind memory;

  // Those of a transmitq.
  BufferShape TransmitShape() const;
  BufferShape ReceiveShape() const;
};

class RingPort : public Port {
 public:
  static constexpr size_t kReceiveq = 0;
  static constexpr size_t kTransmitq = 1;

  static size_t MemoryBytes(const Traffic& traffic);
  static std::unique_ptr<RingPort> Make(size_t index, const Traffic& traffic);

  // Connects to a backend and starts both queues.
  void Attach(const std::string& socket_path, double timeout_s);

  bool Alive() const override { return !frontend_.has_value() || frontend_->Alive(); }
  std::string Name() const override;

  virtual QueueLayout receiveq_layout() const = 0;
  virtual QueueLayout transmitq_layout() const = 0;
  const PortMemory& memory() const { return memory_; }

 protected:
  RingPort(size_t index, const Traffic& traffic);

  const Traffic traffic_;
  PortMemory memory_;
  Buffers receive_buffers_;
  Buffers transmit_buffers_;
  std::optional<VhostFrontend> frontend_;
};

}  // namespace tsvswitch::bench
