// One port of the client: a guest that exists only as two queues and two flows, one to its partner
// and one from it. Port i talks to port i ^ 1.
//
// SendBatch fills what is to be sent from, ReceiveBatch empties what was received into and checks
// what came. Frames of the client's own flow count; anything else is an error of one of the kinds
// in Counters. The calls are virtual because each of them is about a whole batch; what is done per
// frame is not. There are two kinds: ring_port.h over vhost-user and tap_port.h over a tap device.
//
// Single threaded, never blocks.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <string>
#include <vector>

#include "flow.h"

namespace tsvswitch::bench {

constexpr uint16_t kSendBatchMax = 128;
constexpr uint16_t kReceiveBatchMax = 128;

class Port {
 public:
  Port(size_t index, const FrameShape& shape)
      : index_(index), outgoing_(index, index ^ 1, shape), incoming_(index ^ 1, index, shape) {}
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;
  virtual ~Port() = default;

  virtual bool Alive() const = 0;
  virtual std::string Name() const = 0;

  // Sends one frame that is not counted; false while there is no room.
  virtual bool SendHello() = 0;

  // Sends the next frame of the flow; false while there is no room.
  virtual bool SendOne() = 0;

  // Sends at most `limit` frames of the flow, itself at most kSendBatchMax, but only once it pays
  // to look for room. Returns how many.
  virtual uint16_t SendBatch(uint16_t limit) = 0;

  // Takes and checks what came, at most kReceiveBatchMax buffers; returns how many.
  virtual uint16_t ReceiveBatch() = 0;

  // Wakes the device where it wants that; once per round.
  virtual void KickIfWanted() = 0;

  const Counters& counters() const { return counters_; }
  OutgoingFlow& outgoing() { return outgoing_; }
  IncomingFlow& incoming() { return incoming_; }

 protected:
  const size_t index_;
  Counters counters_;
  OutgoingFlow outgoing_;
  IncomingFlow incoming_;
};

using Ports = std::vector<std::unique_ptr<Port>>;

}  // namespace tsvswitch::bench
