// A capture: records frames of ports, cut to a snap length, on their way from the workers to
// control, as the packet blocks of a pcapng file.
//
// A worker writes a batch of frames into a ring, each as it will be in the file, and goes on. If
// the ring is full, a frame is not recorded, and the next packet says how many were not. So a
// capture never makes a worker wait. Frames are recorded as the switch carries them: large packets
// whole, and checksums that their guest left to the device not yet there. The bytes are read apart
// from the copy that a receiver gets: a guest that changes a frame while it is under way may make
// them differ.
//
// Workers know ports, files know interfaces: in the ring a block has the number of its port, and
// control puts in its interface when it moves the block out (Read). Read stops in front of a port
// that has no interface, and goes on when it has been given one. Control is called through an
// eventfd when it wants to wait.
//
// Does not: know which ports it records (port_captures.h).
// Thread: Adding on any worker, one after the other under a lock of theirs; all else on the control
// thread.

#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "core/frame/batch.h"
#include "core/frame/fate.h"
#include "core/frame/frame.h"
#include "core/frame/slice.h"
#include "core/platform/clock.h"
#include "core/platform/spinlock.h"
#include "core/policy/packet_block.h"
#include "core/policy/packet_ring.h"
#include "core/port/port.h"

namespace tsvswitch {

class Capture {
 public:
  Capture(const Clock& clock, uint32_t snap_bytes, int call_fd);

  // Frames of one batch at one port: one turn of the lock, one look at the clock, and one word to
  // the reader when it ends.
  class Adding {
   public:
    Adding(Capture& capture, uint16_t port, Direction direction);
    ~Adding();
    Adding(const Adding&) = delete;
    Adding& operator=(const Adding&) = delete;

    // Those of the list, except frames that are held. Returns how many bytes they have.
    uint64_t Add(const Frame* frames, const FrameList& list, const Outcomes& outcomes);
    void Add(const Slice& frame, Fate fate, Marks marks);

   private:
    PacketBlockHead HeadOf(uint32_t block_bytes, uint32_t captured_bytes,
                           uint32_t frame_bytes) const;

    Capture& capture_;
    const std::lock_guard<Spinlock> guard_;
    const uint64_t time_ns_;
    const uint16_t port_;
    const Direction direction_;
  };

  // Moves blocks into `to`, as many as fit; returns how many bytes they have. Stops in front of one
  // of a port without an interface.
  size_t Read(uint8_t* to, size_t room);
  // The same to where a file stands. Returns 0, or an errno after which the file may have a part of
  // a block.
  int WriteTo(int fd);
  // Bytes in the ring, what it skips at its end with them.
  size_t waiting() const { return ring_.waiting(); }
  // The port of the next block if it has no interface, else kNoPort.
  uint16_t PortWithoutInterface();
  // The interface that packets of a port have from now on.
  void SetInterface(uint16_t port, uint32_t interface) { interfaces_[port] = interface; }
  // Ports may become others: each has to be told again.
  void ForgetInterfaces() { interfaces_.assign(kPortsMax, kNoInterface); }
  // One write to the eventfd is wanted as soon as there is a packet. Returns whether there is one
  // already, to be read now.
  bool RequestCall() {
    call_wanted_.store(true, std::memory_order_seq_cst);
    return ring_.Next().bytes != 0;
  }
  // Frames that found no room, ever.
  uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

  static constexpr uint32_t kRingBytes = 1 << 23;
  static constexpr uint32_t kInterfaceMax = ~0u - 1;

 private:
  static constexpr uint32_t kNoInterface = kInterfaceMax + 1;

  uint32_t PutInterfaces(const PacketRing::Run& run, size_t room);
  // Frames that were lost and that no packet tells of.
  uint32_t CountUntold() const { return static_cast<uint32_t>(lost() - lost_told_); }

  const Clock& clock_;
  const uint64_t epoch_ns_;  // of the clock
  const uint32_t snap_bytes_;
  const int call_fd_;

  Spinlock writing_;
  PacketRing ring_{kRingBytes};
  std::atomic<uint64_t> lost_{0};
  uint64_t lost_told_ = 0;
  std::atomic<bool> call_wanted_{false};
  std::vector<uint32_t> interfaces_;  // by port; control's
};

}  // namespace tsvswitch
