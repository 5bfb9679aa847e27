// A guest with one network device: sends frames, posts receive buffers, takes frames out of them.
//
// It is an honest driver with a choice of shapes: how many pieces a sent frame is cut into, and
// whether receive buffers are single, chained or small enough to be merged. What the device hands
// back is checked here: no id twice or unknown, used lengths that fit, a header of zeros, as many
// buffers as the header says. A violation fails the fact that runs.
//
// Thread: one per guest. Sources: virtio 1.2 §5.1.6.2 (transmission), §5.1.6.3 and §5.1.6.4
// (receiving).

#pragma once

#include <cstdint>
#include <vector>

#include "core/ring/virtio_spec.h"
#include "driver/guest_ram.h"
#include "driver/split_driver.h"

namespace tsvswitch {

using FrameBytes = std::vector<uint8_t>;

// An Ethernet frame of `bytes`; what follows the addresses depends on `number` and position.
FrameBytes MakeFrame(uint64_t destination, uint64_t source, uint32_t bytes, uint32_t number = 0);
inline constexpr uint64_t kBroadcast = 0xffff'ffff'ffff;
// A locally administered address for guest `number`.
inline constexpr uint64_t MacOf(uint32_t number) { return 0x5254'0000'0000 + number; }

// What a guest's receive chains look like; a device needs as many of them as a frame does not fit.
struct ReceiveShape {
  uint32_t chains = 128;
  uint32_t buffers_per_chain = 1;
  uint32_t buffer_bytes = 2048;
};

class NetGuest {
 public:
  static constexpr uint32_t kQueueSize = 512;
  static constexpr uint32_t kPiecesMax = 8;

  explicit NetGuest(uint64_t features, const ReceiveShape& shape = {});

  uint64_t features() const { return features_; }
  GuestRam& ram() { return ram_; }
  SplitDriver& receiveq() { return receiveq_; }
  SplitDriver& transmitq() { return transmitq_; }

  // The virtio-net header of frames sent from now on; zeros unless a test says otherwise.
  void SetHeader(uint8_t flags, uint8_t gso_type);
  // Offers one frame in `pieces` pieces; false if 64 frames are still with the device.
  bool Send(const FrameBytes& frame, uint32_t pieces = 1);
  // Offers these bytes as they are, header included, as one chain.
  bool SendRaw(const std::vector<uint8_t>& bytes, uint32_t pieces = 1);
  // Takes back what the device is done with; how many frames are still with it.
  uint32_t Sending();

  // Offers up to `count` more receive chains; returns how many there were.
  uint32_t Post(uint32_t count = ~0u);
  // The frames that arrived since the last call. Their buffers are free to be posted again.
  std::vector<FrameBytes> Receive();

 private:
  static constexpr uint32_t kSlots = kQueueSize / kPiecesMax;
  static constexpr uint32_t kSlotBytes = 65600;
  struct ReceiveChain {
    std::vector<Buffer> buffers;
    bool posted = false;
  };
  std::vector<uint8_t> TakeChain(const UsedEntry& used);

  const uint64_t features_;
  const ReceiveShape shape_;
  GuestRam ram_;
  SplitDriver receiveq_;
  SplitDriver transmitq_;
  VirtioNetHdr header_ = {};
  uint64_t slots_;  // guest address of the transmit buffers
  uint32_t sent_ = 0;
  uint32_t returned_ = 0;
  std::vector<ReceiveChain> chains_;
  uint32_t next_post_ = 0;
  uint16_t taken_ = 0;  // used entries of the receiveq that were taken
};

}  // namespace tsvswitch
