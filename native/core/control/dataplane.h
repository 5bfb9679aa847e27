// The data plane as control sees it: ports, queues, memory, the bridges and the workers.
//
// Every call takes effect between two rounds and returns when it has. What takes long (mapping and
// unmapping memory, closing fds) happens outside of the pause; inside, pointers are exchanged. A
// passed fd belongs to the data plane from the call on, whatever the call returns.
//
// The caller has checked what the frontend said: numbers in range, sizes powers of two, a queue
// started once (asserted here). What only this side can know, whether memory maps and rings lie in
// it, comes back as a result. Thread: one control thread. Sources: vhost-user "Ring states",
// "Memory".

#pragma once

#include <cassert>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/platform/clock.h"
#include "core/policy/capture.h"
#include "core/policy/impairment.h"
#include "core/policy/port_captures.h"
#include "core/policy/source_guard.h"
#include "core/port/process_queue.h"
#include "core/worker/worker.h"

namespace tsvswitch {

struct QueueStart {
  RingAddresses rings;
  uint32_t size;
  uint32_t base;  // as SET_VRING_BASE gives it
  int kick_fd;    // -1: the frontend wants polling
  // Not 0: this is the control queue of a device with that many queue pairs.
  uint32_t control_pairs = 0;
};

struct RegionWithFile {
  RegionDescription description;
  int fd;
};

enum class RingResult { kOk, kUnmapped, kMisaligned, kUnacceptable };

class Dataplane {
 public:
  struct Options {
    std::vector<int> worker_cpus;  // one worker each at first; -1: anywhere
    uint32_t idle_us;
    // No threads, and a clock that only Advance moves; for one worker.
    bool manual = false;
    bool sandbox = false;  // workers make no system calls but those of sandbox.h
    // Where the identification of datagrams that are cut into fragments starts to count.
    uint32_t fragment_id = 0;
    EventRing::Notify notify;
    void* notify_context;
  };

  explicit Dataplane(const Options& options);
  ~Dataplane();
  // False if a worker cannot run; errno says why.
  bool Start();
  // One worker more, on this CPU or on any with -1, which takes over its share of the transmitqs
  // that are started: every flow goes on in order. False, and all is as before, if it cannot run;
  // errno says why. Not with a manual clock.
  bool AddWorker(int cpu);

  // Ends the worker that was added last, whose transmitqs go to the others: every flow goes on in
  // order. Not the only one.
  void RemoveWorker();
  // Pins a worker to a CPU, or lets it run anywhere with -1. False if it cannot be had; errno says
  // why.
  bool PinWorker(uint32_t worker, int cpu) { return workers_[worker]->Pin(cpu); }
  // Whether a worker has made a round since the last call for it (worker.h); waits for nothing.
  bool WorkerHasMadeRound(uint32_t worker) { return workers_[worker]->HasMadeRound(); }
  // What a worker has counted; waits for nothing.
  uint64_t WorkerCounted(uint32_t worker, WorkerCounter counter) const {
    return workers_[worker]->Counted(counter);
  }
  // What all of them have delivered by pair of ports, a pair once for each worker; waits for
  // nothing.
  std::vector<PairCounters::Pair> Pairs() const;
  // Of all workers, also those that are added later.
  void SetIdle(uint32_t idle_us);

  // With a manual clock: up to `rounds` rounds, fewer if one moves nothing; how many frames were
  // moved.
  uint64_t Step(uint32_t rounds);
  // Moves a manual clock, and everything that is due on the way, each thing at its time.
  void Advance(uint64_t ns);
  bool manual() const { return clock_.manual(); }
  uint64_t NowNs() const { return clock_.NowNs(); }

  // The number of a new bridge, or kNoBridge if there are kBridgesMax.
  uint32_t AddBridge(uint32_t ageing_s);
  bool HasBridge(uint32_t bridge) const {
    return bridge < bridges_.size() && bridges_[bridge] != nullptr;
  }
  void SetAgeing(uint32_t bridge, uint32_t ageing_s) { bridges_[bridge]->fdb.SetAgeing(ageing_s); }
  // How many addresses may be learned on a bridge, and how many of them behind a port.
  void SetFdbLimit(uint32_t bridge, uint32_t entries) { bridges_[bridge]->fdb.SetLimit(entries); }
  void SetPortFdbLimit(uint16_t port, uint32_t entries);
  bool IsOn(uint16_t port, uint32_t bridge) {
    return PortAt(port).bridge == bridges_[bridge].get();
  }
  uint32_t PortsOn(uint32_t bridge) const { return bridges_[bridge]->member_count; }
  // One that no port is on. Captures of it record nothing more.
  void RemoveBridge(uint32_t bridge);
  static constexpr uint32_t kBridgesMax = kPortsMax;
  static constexpr uint32_t kNoBridge = ~0u;

  // The number of a new port, or kNoPort if there are kPortsMax.
  uint16_t AddPort(uint32_t queue_pairs, uint32_t bridge);
  // How frames fare from one port to another, from a guest (`to` is kNoPort) or to one (`from` is
  // kNoPort). Without settings they pass; with others than before the link goes on where it is.
  void SetLink(uint16_t from, uint16_t to, const LinkSettings* settings);
  // Cuts ports on different sides off from each other, all at once and in place of an earlier
  // partition; none with no sides. Ports on no side talk with all.
  void SetPartition(const std::vector<std::vector<uint16_t>>& sides);
  // A port of this process (process_queue.h), whose one queue pair runs from the start.
  uint16_t AddProcessPort(uint32_t bridge);
  void RemovePort(uint16_t port);
  // Puts a port on another bridge between two rounds: its guest stays connected and is heard there.
  // What was learned behind it on the old one is forgotten, and what links still hold for it.
  void MovePort(uint16_t port, uint32_t bridge);
  bool HasPort(uint16_t port) const { return port < ports_.size() && ports_[port] != nullptr; }
  bool IsProcessPort(uint16_t port) { return PortAt(port).process != nullptr; }

  ProcessTransmitq& ProcessTransmitqOf(uint16_t port);
  ProcessReceiveq& ProcessReceiveqOf(uint16_t port);
  // Publishes the frames that were sent to the worker, and wakes it if it sleeps.
  void PublishProcessSent(uint16_t port);

  bool QueueStarted(uint16_t port, uint32_t queue) { return QueueAt(port, queue).started; }
  bool AnyQueueStarted(uint16_t port);
  bool QueueBroken(uint16_t port, uint32_t queue) {
    return QueueAt(port, queue).broken.load(std::memory_order_relaxed) != BreakReason::kNone;
  }

  // How a started queue stands. A broken one offers nothing: its ring may be gone.
  struct QueueState {
    uint32_t base;     // as StopQueue would answer
    uint32_t offered;  // chains the driver offers and nobody has taken
    bool out_of_step;  // nothing was ever taken, since both sides' wrap counters differ
    BreakReason broken;
  };
  QueueState ReadQueue(uint16_t port, uint32_t queue);

  MapResult SetMemory(uint16_t port, const std::vector<RegionWithFile>& regions);
  MapResult AddMemoryRegion(uint16_t port, const RegionWithFile& region);
  MapResult RemoveMemoryRegion(uint16_t port, const RegionDescription& region);
  // Forgets the MTU.
  void SetFeatures(uint16_t port, uint64_t features);
  // From now on frames that are longer and not to be segmented are not given to the port (virtio
  // 1.2 §5.1.4.1).
  void SetMtu(uint16_t port, uint32_t bytes);
  // From now on nothing goes through the port, or everything again.
  void SetDown(uint16_t port, bool down);
  // From now on the guest's frames may have no other sources.
  void BindSources(uint16_t port, SourceRule rule);
  // From now on they may have any.
  void UnbindSources(uint16_t port);

  RingResult StartQueue(uint16_t port, uint32_t queue, const QueueStart& start);
  RingResult MoveQueue(uint16_t port, uint32_t queue, const RingAddresses& rings);
  // Takes up to `commands_max` commands of a started control queue, does what they say and answers
  // them; none if the queue is broken. What the caller has to know of is given back.
  struct ControlTurn {
    uint32_t commands = 0;   // that were answered
    bool more = false;       // others wait
    uint64_t mac = 0;        // the address that was set last; 0: none was
    bool announced = false;  // the driver has announced itself
  };
  ControlTurn ServeControl(uint16_t port, uint32_t queue, uint32_t commands_max);
  bool IsControlQueue(uint16_t port, uint32_t queue) { return QueueAt(port, queue).is_control; }

  // The base to go on from (GET_VRING_BASE). A queue that is not started answers where it stopped
  // last.
  uint32_t StopQueue(uint16_t port, uint32_t queue);
  void EnableQueue(uint16_t port, uint32_t queue, bool enabled);
  // The worker that polls a started transmitq, and another one for it: what was taken by the old
  // one is delivered before the new one takes more, so no flow is reordered.
  uint32_t WorkerOf(uint16_t port, uint32_t transmitq);
  void AssignWorker(uint16_t port, uint32_t transmitq, uint32_t worker);
  uint32_t worker_count() const { return static_cast<uint32_t>(workers_.size()); }
  void SetCall(uint16_t port, uint32_t queue, int fd);
  void SetErr(uint16_t port, uint32_t queue, int fd);

  // The frontend's dirty log, or none with an fd of -1; and whether writes go into it.
  MapResult SetLog(uint16_t port, int fd, uint64_t bytes, uint64_t offset);
  void SetLogging(uint16_t port, bool enabled);
  // Floods a RARP request from `mac` as if the guest had sent it: a guest that has just moved here
  // and cannot speak for itself (vhost-user VHOST_USER_SEND_RARP).
  void Announce(uint16_t port, uint64_t mac);

  // Records a port, or every port that is or comes on a bridge; of each frame its first snap_bytes.
  // The number of the new capture. The eventfd stays the caller's and outlives the capture.
  uint32_t CapturePort(uint16_t port, uint32_t snap_bytes, int call_fd);
  uint32_t CaptureBridge(uint32_t bridge, uint32_t snap_bytes, int call_fd);
  bool HasCapture(uint32_t capture) const {
    return capture < captures_.size() && captures_[capture] != nullptr;
  }
  Capture& CaptureAt(uint32_t capture) { return *captures_[capture]; }
  void RemoveCapture(uint32_t capture);

  std::vector<FdbRecord> ReadFdb(uint32_t bridge) const;
  // What was learned on one port of a bridge, or on all with kNoPort.
  void FlushFdb(uint32_t bridge, uint16_t port) { bridges_[bridge]->fdb.Flush(port); }
  // Puts an entry in place of what a bridge has for its address, as if it were seen now. Its port
  // is on the bridge. False if the table is full.
  bool SetFdbEntry(uint32_t bridge, FdbRecord entry);
  // False if there is none.
  bool RemoveFdbEntry(uint32_t bridge, uint64_t mac, uint16_t vlan) {
    return bridges_[bridge]->fdb.Remove(Fdb::Key(mac, vlan));
  }
  // The guest of a port has left: what was learned behind it is forgotten, what its workers still
  // have to report is not reported any more, and the next one's sources are reported anew. All its
  // queues are stopped. Returns the number of the next session, which no other port has or had.
  uint32_t EndSession(uint16_t port);
  uint32_t SessionOf(uint16_t port) { return PortAt(port).session; }
  // Seconds of the clock that FdbRecord::seen_s counts in.
  uint32_t NowSeconds() const { return clock_.NowSeconds(); }

  uint32_t QueueCount(uint16_t port) { return static_cast<uint32_t>(PortAt(port).queues.size()); }

  // One for each queue of the port, zeros when it was added; and those of all its queues. Both may
  // be kept longer than the port.
  std::shared_ptr<QueueCounters[]> Counters(uint16_t port) { return PortAt(port).counters; }
  std::shared_ptr<FateCounters> Fates(uint16_t port) { return PortAt(port).fates; }

  // The next event of any worker that is about a present session; false if there is none.
  bool PopEvent(Event* event);

 private:
  // All workers between two rounds: several may fill the receiveqs of one port.
  class PauseAll {
   public:
    // Nothing is allocated once the first of them waits.
    explicit PauseAll(Dataplane& dataplane)
        : pauses_(new std::optional<Worker::Pause>[dataplane.workers_.size()]) {
      for (size_t i = 0; i < dataplane.workers_.size(); ++i) {
        pauses_[i].emplace(*dataplane.workers_[i]);
      }
    }

   private:
    std::unique_ptr<std::optional<Worker::Pause>[]> pauses_;
  };
  Port& PortAt(uint16_t port) {
    assert(HasPort(port));
    return *ports_[port];
  }
  // Both under a PauseAll, with who hears what then (Bridge::ListHearers); who did goes out.
  static void Join(Port& port, Bridge& bridge, std::unique_ptr<const Hearers>& hearers);
  void Leave(Port& port, std::unique_ptr<const Hearers>& hearers);
  Queue& QueueAt(uint16_t port, uint32_t queue) {
    Port& at = PortAt(port);
    assert(queue < at.queues.size());
    return at.queues[queue];
  }
  void ReplaceFd(int& place, int fd);
  uint32_t NewCapture(uint32_t snap_bytes, int call_fd);
  // Under a PauseAll, as FindStages, which they call.
  static void Record(Port& port, const std::vector<Capture*>& captures);
  static void Unrecord(Port& port, const std::vector<Capture*>& captures);
  std::unique_ptr<Worker> MakeWorker(int cpu, bool shared) const;
  Worker& LeastLoadedWorker();
  // Lets a worker poll a transmitq, and gives it what links of other workers still hold of that.
  void Assign(Queue& transmitq, Worker& worker);
  void Settle();
  uint64_t NextFdbSeed() const;
  // Lets a forwarding table grow by so many buckets of the old one, if it wants to.
  void Grow(Fdb& fdb, uint32_t buckets);
  void GrowTables(uint32_t buckets);
  // Under a PauseAll. What is no longer needed goes out, to be deleted after it.
  static std::unique_ptr<Impairment> TakeIfUnimpaired(Port& port);
  MapResult Exchange(Port& port, std::shared_ptr<const GuestMemory> memory);
  void BeginControl(Queue& queue, const QueueStart& start);
  void GiveUpControl(Queue& queue, BreakReason broken);
  void FollowCommand(Port& port, uint32_t pairs, uint64_t features);
  static void Resume(Queue& queue, const Virtqueue::Rings& rings);
  static RingResult TranslateRings(const Port& port, const Virtqueue& ring,
                                   const RingAddresses& addresses, uint32_t size,
                                   Virtqueue::Rings* rings);

  const Options options_;
  uint32_t idle_us_;
  Clock clock_;
  uint32_t sessions_ = 0;                           // how many there were, of all ports
  std::vector<std::unique_ptr<Capture>> captures_;  // by number
  Bridges bridges_;
  std::vector<std::unique_ptr<Port>> ports_;      // by number
  CommandChain command_;                          // the one that is being answered
  std::vector<std::unique_ptr<Worker>> workers_;  // last of these: they stop before the others go
};

}  // namespace tsvswitch
