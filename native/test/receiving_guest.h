// A guest that only receives, through a split or a packed ring, and takes frames with their
// headers.
//
// Its buffers are those of Linux: with MRG_RXBUF pieces of 2 KiB, of which the device merges as
// many as a frame takes; without, chains of 17 pages where large packets may come, else single
// buffers for one Ethernet frame. What the device hands back is checked: known, once, with lengths
// that fit.
//
// Thread: one. Sources: virtio 1.2 §5.1.6.3.1 (buffers), §5.1.6.4 (incoming packets).

#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "check.h"
#include "core/port/port.h"
#include "core/ring/packed_queue.h"
#include "core/ring/split_queue.h"
#include "driver/guest_ram.h"
#include "driver/packed_driver.h"
#include "driver/split_driver.h"
#include "receiving_stack.h"

namespace tsvswitch {

class ReceivingGuest {
 public:
  explicit ReceivingGuest(uint64_t features)
      : features_(features), shape_(ShapeFor(features)), ram_(GuestRam::OfBytes(12 << 20)) {
    port.features = features;
    port.memory = ram_.Map(&port.lost);
    Queue& receiveq = port.queues[0];
    receiveq.port = &port;
    receiveq.counters = &counters;
    if ((features & VIRTIO_F_RING_PACKED) != 0) {
      packed_.emplace(ram_, kQueueSize, PackedDriver::Place{0, true});
      receiveq.HoldNew<PackedQueue>();
      constexpr uint32_t kFirstLap = 1u << 15 | 1u << 31;
      receiveq.ring->Start(packed_->RingsIn(*port.memory), kQueueSize, kFirstLap, features);
    } else {
      split_.emplace(ram_, kQueueSize);
      receiveq.HoldNew<SplitQueue>();
      receiveq.ring->Start(split_->RingsIn(*port.memory), kQueueSize, 0, features);
    }
    receiveq.started = receiveq.enabled = true;
    port.receivers.push_back(&receiveq);
    for (uint16_t id = 0; id < shape_.chains; ++id) {
      chains_.emplace_back();
      for (uint32_t i = 0; i < shape_.buffers_per_chain; ++i) {
        chains_[id].push_back({ram_.Allocate(shape_.buffer_bytes), shape_.buffer_bytes});
      }
      if (split_) {
        split_->WriteChain(id * shape_.buffers_per_chain, chains_[id], SplitDriver::kWrite);
      }
      Offer(id);
    }
  }

  // How many chains there are for frames.
  uint32_t chains() const { return shape_.chains; }

  // The frames that have arrived; their buffers are offered again.
  std::vector<ReceivedFrame> Receive() {
    std::vector<ReceivedFrame> frames;
    while (std::optional<Bytes> first = TakeChain()) {
      ReceivedFrame frame;
      CHECK(first->size() >= sizeof(frame.header));
      std::memcpy(&frame.header, first->data(), sizeof(frame.header));
      frame.bytes.assign(first->begin() + sizeof(frame.header), first->end());
      CHECK(frame.header.num_buffers >= 1);
      CHECK(frame.header.num_buffers == 1 || (features_ & VIRTIO_NET_F_MRG_RXBUF) != 0);
      for (uint32_t i = 1; i < frame.header.num_buffers; ++i) {
        const std::optional<Bytes> more = TakeChain();
        CHECK(more.has_value());
        Append(&frame.bytes, *more);
      }
      frames.push_back(frame);
    }
    return frames;
  }

  Port port{1};
  QueueCounters counters = {};

 private:
  static constexpr uint32_t kQueueSize = 2048;
  struct Shape {
    uint16_t chains;
    uint32_t buffers_per_chain;
    uint32_t buffer_bytes;
  };
  static Shape ShapeFor(uint64_t features) {
    constexpr uint64_t kLarge = VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 |
                                VIRTIO_NET_F_GUEST_ECN | VIRTIO_NET_F_GUEST_UFO |
                                VIRTIO_NET_F_GUEST_USO4 | VIRTIO_NET_F_GUEST_USO6;
    if ((features & VIRTIO_NET_F_MRG_RXBUF) != 0) return {512, 1, 2048};
    if ((features & kLarge) != 0) return {120, 17, 4096};
    // Header, Ethernet header, two VLAN tags, and no more than the MTU allows.
    return {512, 1, 12 + 14 + 8 + ReceivingStack::kMtu};
  }

  void Offer(uint16_t id) {
    if (packed_) {
      packed_->Offer(chains_[id], PackedDriver::kWrite, id);
    } else {
      split_->Offer(static_cast<uint16_t>(id * shape_.buffers_per_chain));
    }
  }

  // The used bytes of the next used chain.
  std::optional<Bytes> TakeChain() {
    uint32_t id = 0;
    uint32_t left = 0;
    if (packed_) {
      PackedUsed used;
      if (!packed_->TakeUsed(&used)) return std::nullopt;
      id = used.id;
      left = used.bytes;
    } else {
      if (taken_ == split_->used_index()) return std::nullopt;
      const UsedEntry used = split_->used(taken_++);
      CHECK_EQ(used.id % shape_.buffers_per_chain, 0u);
      id = used.id / shape_.buffers_per_chain;
      left = used.bytes;
    }
    Bytes bytes;
    for (const Buffer& buffer : chains_.at(id)) {
      const uint32_t part = std::min(left, buffer.bytes);
      Append(&bytes, ram_.Read(buffer.guest, part));
      left -= part;
    }
    CHECK_EQ(left, 0u);
    Offer(static_cast<uint16_t>(id));
    return bytes;
  }

  const uint64_t features_;
  const Shape shape_;
  GuestRam ram_;
  std::optional<SplitDriver> split_;
  std::optional<PackedDriver> packed_;
  std::vector<std::vector<Buffer>> chains_;
  uint16_t taken_ = 0;
};

}  // namespace tsvswitch
