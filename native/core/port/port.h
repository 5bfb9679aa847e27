// Ports and their queues: the state that rounds read and control changes.
//
// Control changes anything here only between rounds (worker.h), so a round reads plain fields. What
// two workers may write during rounds is atomic (`broken`, `fates`) or under the receiveq's lock
// (its ring, counters and `stalled`); a transmitq is touched by its one worker only.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/bridge/bridge.h"
#include "core/memory/dirty_log.h"
#include "core/memory/guest_memory.h"
#include "core/platform/spinlock.h"
#include "core/port/counters.h"
#include "core/port/slots.h"
#include "core/ring/endpoint.h"
#include "core/ring/virtqueue.h"

namespace tsvswitch {

inline constexpr uint32_t kQueuePairsMax = 128;
inline constexpr uint32_t kQueuesPerPort = 2 * kQueuePairsMax;

inline constexpr uint32_t kNoMtu = ~uint32_t{0} >> 1;  // longer than any frame

struct Port;
struct ProcessQueues;  // process_queue.h

// Where a ring's parts are in the frontend's address space.
struct RingAddresses {
  UserAddress desc;
  UserAddress avail;
  UserAddress used;
  // Where the dirty log has the part that we write; kNoGuestAddress: it is not logged.
  uint64_t used_log = GuestMemory::kNoGuestAddress;
};

// The addresses of a transmitq's last frames, as the forwarding database had them in one second and
// at one revision: a steady flow looks nothing up.
struct KnownAddresses {
  static constexpr uint64_t kNoMac = ~uint64_t{0};

  uint64_t at = 0;  // the second, and the revision below it
  uint64_t source = kNoMac;
  uint64_t destination = kNoMac;
  Destination where;  // of that: a port
};

struct Queue {
  Port* port = nullptr;
  uint16_t index = 0;       // even: receiveq, odd: transmitq; unless it is the control queue
  bool is_control = false;  // as it was started: served by the control thread, never by a worker

  // What forwarding has of it, once it is started: a transmitq's source, a receiveq's sink, and
  // either as an end.
  FrameSource* source = nullptr;
  FrameSink* sink = nullptr;
  FrameEnd* end = nullptr;
  // Where that is a ring of a frontend, of the negotiated format; for control.
  std::unique_ptr<Virtqueue> ring;
  bool started = false;
  bool enabled = false;
  std::atomic<BreakReason> broken{BreakReason::kNone};

  int kick_fd = -1;
  int call_fd = -1;
  bool call_is_socket = false;
  int err_fd = -1;

  // Receiveq, for several workers: held while buffers are claimed, filled and published.
  Spinlock lock;
  // Receiveq: the last bounded wait for a buffer was in vain, so the next frame does not wait
  // again.
  bool stalled = false;

  // Transmitq.
  KnownAddresses known;
  // Transmitq: how many frames its next batch may have; fewer behind one that met an impaired link.
  uint32_t batch_frames = kBatchFramesMax;
  // Transmitq: the ports below this number have the frame at its head already, of a flood that
  // takes more than a turn (forward.h); 0: there is none.
  uint16_t flooded_to = 0;

  QueueCounters* counters = nullptr;

  // Addresses as the frontend gave them, to translate anew when memory changes.
  RingAddresses addresses{};
  uint32_t size = 0;
  uint32_t start_base = 0;

  void Hold(FrameSource& of) { end = source = &of; }
  void Hold(FrameSink& of) { end = sink = &of; }
  // The ring that was there goes out through `of`.
  void Hold(std::unique_ptr<Virtqueue>& of);
  template <class Ring>
  void HoldNew() {
    std::unique_ptr<Virtqueue> made = std::make_unique<Ring>();
    Hold(made);
  }

  bool is_transmitq() const { return (index & 1) != 0; }
  // A started queue is served even while it is disabled: its transmitq is emptied, its receiveq is
  // given nothing (vhost-user "Ring states").
  bool Served() const {
    return started && broken.load(std::memory_order_relaxed) == BreakReason::kNone;
  }
  bool Runs() const { return Served() && enabled; }
};

// What a driver has said on its control queue (control_command.h), as far as rounds follow it.
// Changed between two rounds.
struct Controlled {
  static constexpr uint32_t kAllPairs = ~uint32_t{0};

  uint64_t negotiated = 0;     // Port::features before guest offloads were switched off
  uint32_t pairs = kAllPairs;  // how many receiveqs frames go to; all without a control queue
  uint32_t pairs_max = 0;      // as its configuration space says
};

struct Port {
  explicit Port(uint32_t queue_pairs);
  ~Port();

  uint16_t number = 0;
  // Of the frontend that is served, of all that were; events name it (events.h).
  uint32_t session = 0;
  Controlled controlled;
  // Of a port of this process; nullptr: of a frontend, whose rings come and go.
  std::unique_ptr<ProcessQueues> process;
  uint64_t features = 0;
  // What its guest takes in one frame beside Ethernet's header, if the frontend told it
  // (NET_SET_MTU).
  uint32_t mtu_bytes = kNoMtu;
  // Nothing goes through it, as its operator wants it.
  bool down = false;
  Bridge* bridge = nullptr;
  uint32_t flood_group = 0;  // its frames, flooded, are heard by the same as others' of it
  uint32_t fdb_entries_max = kFdbEntriesPerPortMax;  // what its bridge learns behind it
  std::shared_ptr<const GuestMemory> memory = std::make_shared<GuestMemory>();
  // What we write is logged while both are set (SET_LOG_BASE, VHOST_F_LOG_ALL).
  std::shared_ptr<const DirtyLog> dirty_log;
  bool logging = false;
  bool Logs() const { return logging && dirty_log != nullptr; }
  // Raised by the SIGBUS handler and by NoteBlockedEventfd, compared with `lost_handled` after
  // every batch.
  std::atomic<uint32_t> lost{0};
  std::atomic<uint32_t> lost_handled{0};
  std::atomic<bool> eventfd_blocked{false};  // since the port was given up last
  std::vector<Queue> queues;
  // Of each queue; control reads them during rounds.
  const std::shared_ptr<QueueCounters[]> counters;
  // Why frames ended here, of all queues; as long.
  const std::shared_ptr<FateCounters> fates{new FateCounters};
  // Which stages frames from its guest and to it go through, a bit each (policy/stages.h): none at
  // nearly all ports, which then pay one comparison a batch for all of them. `policies` is what
  // stages keep here.
  uint32_t ingress = 0;
  uint32_t egress = 0;
  PolicySlots policies;
  // The receiveqs that are started and enabled; a flow's frames all go to one of them.
  std::vector<Queue*> receivers;
  // Rebuilds that list.
  void FindReceivers();

  // Frames that ended at a queue of this port.
  void Count(Queue& at, Fate why, uint64_t frames) {
    if (why == Fate::kNoBuffer) {
      at.counters->Add(kNoBuffer, frames);
    } else {
      fates->Add(why, frames);
    }
  }
};

}  // namespace tsvswitch
