// Ports, their queues and the bridge that joins them: the state that rounds read and control
// changes.
//
// Control changes anything here only between rounds (worker.h), so a round reads plain fields. What
// two workers may write during rounds is atomic (`broken`) or under the receiveq's lock (its ring,
// counters and `stalled`); a transmitq is touched by its one worker only.

#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "capture.h"
#include "counters.h"
#include "dirty_log.h"
#include "fdb.h"
#include "guest_memory.h"
#include "link.h"
#include "source_rule.h"
#include "spinlock.h"
#include "virtqueue.h"

namespace tsvswitch {

inline constexpr uint32_t kQueuePairsMax = 128;
inline constexpr uint32_t kQueuesPerPort = 2 * kQueuePairsMax;

inline constexpr uint32_t kNoMtu = ~uint32_t{0} >> 1;  // longer than any frame

struct Port;

// Where a ring's parts are in the frontend's address space.
struct RingAddresses {
  UserAddress desc;
  UserAddress avail;
  UserAddress used;
  // Where the dirty log has the part that we write; kNoGuestAddress: it is not logged.
  uint64_t used_log = GuestMemory::kNoGuestAddress;
};

struct Queue {
  Port* port = nullptr;
  uint16_t index = 0;       // even: receiveq, odd: transmitq; unless it is the control queue
  bool is_control = false;  // as it was started: served by the control thread, never by a worker

  std::unique_ptr<Virtqueue> ring;  // of the negotiated format; there once started
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

  // Transmitq: the source learned last, and the second and revision of the FDB it was learned in; a
  // steady flow does not even look it up.
  uint64_t known_source = 0;
  uint64_t known_at = 0;
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

  bool is_transmitq() const { return (index & 1) != 0; }
  // A started queue is served even while it is disabled: its transmitq is emptied, its receiveq is
  // given nothing (vhost-user "Ring states").
  bool Served() const {
    return started && broken.load(std::memory_order_relaxed) == BreakReason::kNone;
  }
  bool Runs() const { return Served() && enabled; }
};

struct Bridge {
  Fdb fdb;
  // By port number; nullptr where there is none. A port is a member of one bridge.
  std::vector<Port*> members;
  uint32_t member_count = 0;
  std::vector<Capture*> captures;  // those of the whole bridge, for ports that join it
};
using Bridges = std::vector<std::unique_ptr<Bridge>>;

// What is between a port and the others besides the bridge. A link's state is what Judge makes of
// it: it changes during rounds, with several workers under the lock of the port's receiveq 0.
struct Impairment {
  std::unique_ptr<Link> from_guest;  // nullptr: frames pass
  std::unique_ptr<Link> to_guest;
  // to this guest, by number of the sender's port
  std::map<uint16_t, std::unique_ptr<Link>> from_port;
  // of a partition: frames pass between ports of one side; 0: of none, they pass
  uint16_t side = 0;
};

// The sources a port is bound to. `told`: the counters of spoofed sources that were told in this
// session.
struct Sources {
  explicit Sources(SourceRule r) : rule(std::move(r)) {}
  const SourceRule rule;
  std::atomic<uint32_t> told{0};
};

// What a driver has said on its control queue (control_command.h), as far as rounds follow it.
// Changed between two rounds.
struct Controlled {
  static constexpr uint32_t kAllPairs = ~uint32_t{0};

  uint64_t negotiated = 0;     // Port::features before guest offloads were switched off
  uint32_t pairs = kAllPairs;  // how many receiveqs frames go to; all without a control queue
  uint32_t pairs_max = 0;      // as the driver was told
};

struct Port {
  explicit Port(uint32_t queue_pairs)
      : queues(2 * queue_pairs), counters(new QueueCounters[2 * queue_pairs]()) {}

  uint16_t number = 0;
  // Of the frontend that is served, of all that were; events name it (events.h).
  uint32_t session = 0;
  Controlled controlled;
  bool is_host = false;  // its queues are those of host_queue.h, for as long as it lives
  uint64_t features = 0;
  // What its guest takes in one frame beside Ethernet's header, if the frontend told it
  // (NET_SET_MTU).
  uint32_t mtu_bytes = kNoMtu;
  Bridge* bridge = nullptr;
  std::shared_ptr<const GuestMemory> memory = std::make_shared<GuestMemory>();
  // What we write is logged while both are set (SET_LOG_BASE, VHOST_F_LOG_ALL).
  std::shared_ptr<const DirtyLog> dirty_log;
  bool logging = false;
  bool Logs() const { return logging && dirty_log != nullptr; }
  // Raised by the SIGBUS handler and by NoteWait, compared with `lost_handled` after every batch.
  std::atomic<uint32_t> lost{0};
  std::atomic<uint32_t> lost_handled{0};
  std::atomic<bool> made_wait{false};  // somebody, since the port was given up last
  std::vector<Queue> queues;
  // of each queue; control reads them during rounds
  const std::shared_ptr<QueueCounters[]> counters;
  // Both are nullptr for nearly all ports, which then pay one look at each per batch.
  std::unique_ptr<Impairment> impairment;
  std::unique_ptr<Sources> sources;  // nullptr: any
  // The receiveqs that are started and enabled; a flow's frames all go to one of them.
  std::vector<Queue*> receivers;
  // Makes that list anew.
  void FindReceivers();
  // Everything that records this port.
  std::vector<Capture*> captures;
};

}  // namespace tsvswitch
