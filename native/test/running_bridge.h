// Guests on a data plane with its worker threads, and traffic that loses nothing unless core does.
//
// The test's thread is driver of every guest and the control thread at once; control calls are made
// while the workers still have up to 64 frames to move. Workers are confined, as the command's are.
// Waiting is for a condition, with a deadline.

#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "core/control/dataplane.h"
#include "net_guest.h"

namespace tsvswitch {

// Whether `condition` came true before a deadline that only a defect reaches.
template <class Condition>
bool ComesTrue(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

class RunningBridge {
 public:
  struct Member {
    Member(uint64_t features, const ReceiveShape& shape) : guest(features, shape) {}
    NetGuest guest;
    uint16_t port = kNoPort;
    int kick_fds[2] = {-1, -1};  // the guest's end
    ~Member() {
      for (const int fd : kick_fds) {
        if (fd >= 0) close(fd);
      }
    }
  };

  explicit RunningBridge(uint32_t workers, uint32_t idle_us = 50) {
    plane_ = std::make_unique<Dataplane>(
        Dataplane::Options{.worker_cpus = std::vector<int>(workers, -1),
                           .idle_us = idle_us,
                           .sandbox = true,
                           .notify = [](void* self) { static_cast<RunningBridge*>(self)->Hear(); },
                           .notify_context = this});
    CHECK(plane_->Start());
    CHECK_EQ(plane_->AddBridge(300), 0u);
  }

  ~RunningBridge() { LetGo(); }
  RunningBridge(const RunningBridge&) = delete;
  RunningBridge& operator=(const RunningBridge&) = delete;

  Dataplane& plane() { return *plane_; }
  int notifications() const { return notifications_.load(); }
  void Close() { plane_.reset(); }
  // From now on a worker that has something to report does not come back from that.
  void Hold() { held_ = true; }
  void LetGo() {
    held_ = false;
    held_.notify_all();
  }

  // A guest with its memory mapped, both queues started and enabled, and all buffers posted.
  std::unique_ptr<Member> Join(uint64_t features, const ReceiveShape& shape = {.chains = 256}) {
    auto member = std::make_unique<Member>(features, shape);
    member->port = plane_->AddPort(1, 0);
    plane_->SetFeatures(member->port, features);
    CHECK_EQ(plane_->SetMemory(member->port, member->guest.ram().Share()), MapResult::kOk);
    member->guest.Post();
    for (uint32_t queue = 0; queue < 2; ++queue) {
      StartQueue(*member, queue, 0);
      plane_->EnableQueue(member->port, queue, true);
    }
    return member;
  }

  void StartQueue(Member& member, uint32_t queue, uint32_t base) {
    if (member.kick_fds[queue] < 0) member.kick_fds[queue] = eventfd(0, EFD_NONBLOCK);
    SplitDriver& driver = queue == 0 ? member.guest.receiveq() : member.guest.transmitq();
    const QueueStart start = {.rings = driver.addresses(),
                              .size = driver.size(),
                              .base = base,
                              .kick_fd = dup(member.kick_fds[queue])};
    CHECK_EQ(plane_->StartQueue(member.port, queue, start), RingResult::kOk);
  }

  // Kicks as a driver does: only if the device wants it (virtio 1.2 §2.7.10).
  static void KickTransmitq(Member& member, uint16_t before) {
    const bool event_idx = (member.guest.features() & VIRTIO_F_EVENT_IDX) != 0;
    if (member.guest.transmitq().WantsKick(before, event_idx)) {
      eventfd_write(member.kick_fds[1], 1);
    }
  }

  static bool Send(Member& member, const FrameBytes& frame, uint32_t pieces = 1) {
    const uint16_t before = member.guest.transmitq().avail_index();
    if (!member.guest.Send(frame, pieces)) return false;
    KickTransmitq(member, before);
    return true;
  }

  uint64_t Count(const Member& member, uint32_t queue, Counter counter) {
    QueueCounters& counters = plane_->Counters(member.port)[queue];
    return std::atomic_ref(counters.value[counter]).load(std::memory_order_relaxed);
  }
  uint64_t Drops(const Member& member, Fate fate) {
    return fate == Fate::kNoBuffer ? Count(member, 0, kNoBuffer)
                                   : plane_->Fates(member.port)->Read(fate);
  }

 private:
  // On the worker's thread.
  void Hear() {
    ++notifications_;
    held_.wait(true);
  }

  std::atomic<int> notifications_{0};
  std::atomic<bool> held_{false};
  std::unique_ptr<Dataplane> plane_;
};

// Frames from one member to another, numbered, never more on the way than there are buffers for:
// each must arrive, once and in order.
class Stream {
 public:
  Stream(RunningBridge::Member& from, RunningBridge::Member& to, uint32_t bytes = 300)
      : from_(from), to_(to), bytes_(bytes) {}

  // Sends as many as may be on the way.
  void Fill() {
    while (sent_ - received_ < kOnTheWayMax) {
      if (!RunningBridge::Send(from_, Frame(sent_), 1 + sent_ % 3)) break;
      ++sent_;
    }
  }
  // Takes what has arrived; frames of others, floods mostly, are left out by source address.
  void Drain() {
    for (const FrameBytes& frame : to_.guest.Receive()) {
      const FrameBytes expected = Frame(received_);
      if (!std::equal(&expected[6], &expected[12], &frame[6])) continue;
      CHECK(frame == expected);
      ++received_;
    }
    to_.guest.Post();
  }
  // Goes on until `count` more frames have arrived.
  void Pass(uint32_t count) {
    const uint32_t wanted = received_ + count;
    CHECK(ComesTrue([&] {
      Fill();
      Drain();
      return received_ >= wanted;
    }));
  }
  // Until nothing is on the way.
  void Finish() {
    CHECK(ComesTrue([&] {
      Drain();
      return received_ == sent_ && from_.guest.Sending() == 0;
    }));
  }
  // Expects no more of what is on the way, and counts it.
  void Forgive() {
    Drain();
    forgiven_ += sent_ - received_;
    received_ = sent_;
  }
  uint32_t received() const { return received_; }
  uint32_t forgiven() const { return forgiven_; }

 private:
  static constexpr uint32_t kOnTheWayMax = 60;
  FrameBytes Frame(uint32_t number) const {
    return MakeFrame(MacOf(to_.port), MacOf(from_.port), bytes_, number);
  }
  RunningBridge::Member& from_;
  RunningBridge::Member& to_;
  const uint32_t bytes_;
  uint32_t sent_ = 0;
  uint32_t received_ = 0;
  uint32_t forgiven_ = 0;
};

}  // namespace tsvswitch
