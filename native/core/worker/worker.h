// A worker: one thread that polls its transmitqs round after round, and sleeps when there is
// nothing.
//
// A round visits every transmitq of the worker once and moves at most one batch from each. Those of
// one port come one after the other and are its turn, which ends early when the port has used up
// its work (work.h); the next round goes on with the queue behind. So a round is as long as its
// ports make it, however many queues they have, and ports that use theirs up share what one of them
// would have had. The worker holds `round_` during rounds; control takes it (class Pause) to change
// anything that rounds read, and then owns all of it: nothing touches a queue while a Pause lives,
// and only this worker waits.
//
// Idle: after idle_us without a frame the worker asks every driver for kicks, looks once more,
// gives up `round_` and sleeps in epoll on the kick eventfds. They are watched edge-triggered, so a
// kick costs one wake-up and nothing has to be read from fds that the frontend chose. A queue
// without a kick fd (the frontend asked for polling) bounds the sleep instead. A worker that has
// moved much since it last slept waits longer, up to 20 times as long: a sender that stops for a
// moment is soon back, and waking up costs each frame that waits for it.
//
// Whether a worker still makes rounds is found out without waiting for it: control asks with a bit
// of the word that the worker reads in front of each round anyway, and the worker clears it.
//
// With a manual clock there is no thread: control runs the rounds itself.
//
// Invariants: polled_ changes only under a Pause, but for the order of a port's queues; every queue
// in it is a transmitq of this worker alone, and those of a port are neighbours. Sources: virtio
// 1.2 §2.7.10; vhost-user "Ring states".

#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "core/forward/forward.h"
#include "core/platform/clock.h"
#include "core/port/port.h"
#include "core/worker/worker_counters.h"

namespace tsvswitch {

class Worker {
 public:
  struct Options {
    int cpu;  // -1: anywhere
    uint32_t idle_us;
    bool shared;           // other workers exist
    bool sweeps;           // this one removes aged FDB entries
    bool sandbox;          // its thread is confined (sandbox.h)
    uint32_t fragment_id;  // as Segmenter's
    EventRing::Notify notify;
    void* notify_context;
  };

  Worker(const Options& options, const Clock& clock, const Bridges& bridges);
  ~Worker();
  // Not with a manual clock. False if the thread, its CPU or its eventfds cannot be had; errno says
  // why.
  bool Start();

  // Pins its thread to a CPU, or lets it run anywhere with -1. False if it cannot be had; errno
  // says why. Not with a manual clock.
  bool Pin(int cpu);
  // Whether it has been between two rounds since the last call, which nobody waited for: the first
  // one says true. A worker that sleeps is woken for it. Control's thread.
  bool HasMadeRound();
  // From the next time on that it has nothing to do. Any thread.
  void SetIdle(uint32_t idle_us) { idle_us_.store(idle_us, std::memory_order_relaxed); }

  // While it lives, the worker is between two rounds.
  class Pause {
   public:
    explicit Pause(Worker& worker);
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Worker& worker_;
  };

  // All six under a Pause.
  void Share() { forwarder_.Share(); }  // from now on other workers exist
  void Poll(Queue& transmitq);
  void Unpoll(Queue& transmitq);
  bool Polls(const Queue& transmitq) const;
  // Floods a frame of ours from `from`, on the caller's thread.
  void Inject(Port& from, uint8_t* frame, uint32_t bytes, uint32_t now_s) {
    forwarder_.Inject(from, frame, bytes, now_s);
  }
  // Visits every transmitq once; returns how many frames were moved. Public for a manual clock.
  uint32_t Round();
  // Removes all that has aged by now from the forwarding tables. For a manual clock.
  void SweepAll();
  // All under a Pause.
  Wire* wire() { return forwarder_.wire(); }
  void SetWire(std::unique_ptr<Wire> wire) { forwarder_.SetWire(std::move(wire)); }
  // When the next frame is due that a link holds back; HeldFrames::kNever if there is none.
  uint64_t next_due_ns() {
    return wire() == nullptr ? HeldFrames::kNever : wire()->held().next_due_ns();
  }
  size_t polled_count() const { return polled_.size(); }
  const Queue& last_polled() const { return *polled_.back(); }

  EventRing& events() { return events_; }

  // As it is now. Any thread.
  uint64_t Counted(WorkerCounter counter) const { return counters_.Read(counter, clock_.NowNs()); }

  // What it has delivered by pair of ports (pair_counters.h says which thread may do what).
  PairCounters& pairs() { return forwarder_.pairs(); }

  // The most work (work.h) that one turn of a port has had so far, for tests.
  uint64_t longest_turn() const { return longest_turn_; }

 private:
  Queue** EndTurn(Queue** next);
  void SweepSome(uint32_t now_s);
  void Sweep(Bridge& bridge, uint32_t buckets, uint32_t now_s);
  void Main();
  void YieldToControl(std::unique_lock<std::mutex>& round);
  int SleepMs(bool polling);
  void Sleep(std::unique_lock<std::mutex>& round);
  void WaitForKick(int ms);
  bool AnythingOffered();
  void Wake();

  const Options options_;
  std::atomic<uint32_t> idle_us_;
  const Clock& clock_;
  const Bridges& bridges_;
  EventRing events_;
  Forwarder forwarder_;
  std::vector<Queue*> polled_;
  WorkerCounters counters_;
  uint32_t busy_ports_ = 0;  // how many have used their turn up in the last round
  uint64_t longest_turn_ = 0;

  std::mutex round_;
  // How many control threads want round_; beside that kAsked, until the worker has seen it.
  std::atomic<uint32_t> waiting_{0};
  std::atomic<bool> stop_{false};
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  uint64_t last_sweep_ms_ = 0;
  std::thread thread_;
};

}  // namespace tsvswitch
