// See worker.h for the idle scheme and the hand-over to control.

#include "core/worker/worker.h"

#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <future>
#include <utility>

#include "core/platform/cpus.h"
#include "core/platform/sandbox.h"
#include "core/port/notify.h"

namespace tsvswitch {

namespace {

// A full sweep of an FDB takes about a second, or a few if it is large: no step reads more than so
// many cache lines.
constexpr uint64_t kSweepStepMs = 4;
constexpr uint32_t kSweepSteps = 256;
constexpr uint32_t kSweepBucketsMax = 512;
// How long a frame may wait in a queue whose frontend gave no kick fd while the worker sleeps.
constexpr uint64_t kPollingQueueSleepMs = 1;
constexpr int kWakeupsMax = 64;
// How often an idle worker looks at its queues between two looks at the clock, which take as long.
constexpr uint32_t kLooksPerClock = 8;
// For how many frames moved since it last slept a worker waits another idle_us, up to so many in
// all.
constexpr uint64_t kFramesPerPatience = 256;
constexpr uint64_t kPatienceMax = 20;
// In Worker::waiting_: whether the worker still makes rounds is asked.
constexpr uint32_t kAsked = 1u << 31;

}  // namespace

Worker::Worker(const Options& options, const Clock& clock, const Bridges& bridges)
    : options_(options),
      idle_us_(options.idle_us),
      clock_(clock),
      bridges_(bridges),
      events_(options.notify, options.notify_context),
      forwarder_(events_, options.shared, options.fragment_id) {}

bool Worker::Start() {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (epoll_fd_ < 0 || wake_fd_ < 0) return false;
  epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {}};
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) != 0) return false;
  std::promise<int> confined;
  std::future<int> error = confined.get_future();
  thread_ = std::thread([this, confined = std::move(confined)]() mutable {
    ExpectSignals();
    const int failed = options_.sandbox && !ConfineWorker() ? errno : 0;
    confined.set_value(failed);
    if (failed == 0) Main();
  });
  errno = error.get();
  if (errno != 0) return false;
  pthread_setname_np(thread_.native_handle(), "tsvswitch-work");
  return options_.cpu < 0 || Pin(options_.cpu);
}

bool Worker::Pin(int cpu) {
  cpu_set_t cpus = AllowedCpuSet();
  if (cpu >= 0) {
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<size_t>(cpu), &cpus);
  }
  errno = pthread_setaffinity_np(thread_.native_handle(), sizeof(cpus), &cpus);
  return errno == 0;
}

Worker::~Worker() {
  if (thread_.joinable()) {
    stop_.store(true, std::memory_order_relaxed);
    {
      const Pause pause(*this);
    }  // a worker that spins sees stop_, one that sleeps is woken
    thread_.join();
  }
  if (epoll_fd_ >= 0) close(epoll_fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

Worker::Pause::Pause(Worker& worker) : worker_(worker) {
  worker_.waiting_.fetch_add(1, std::memory_order_relaxed);
  worker_.round_.lock();
}

Worker::Pause::~Pause() {
  worker_.round_.unlock();
  worker_.waiting_.fetch_sub(1, std::memory_order_release);
  worker_.waiting_.notify_all();
  // A sleeping worker must see what changed; one that polls ignores it.
  if (worker_.wake_fd_ >= 0) worker_.Wake();
}

void Worker::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof(one));
}

void Worker::Poll(Queue& transmitq) {
  const auto neighbour = std::find_if(polled_.rbegin(), polled_.rend(), [&](const Queue* queue) {
    return queue->port == transmitq.port;
  });
  polled_.insert(neighbour == polled_.rend() ? polled_.end() : neighbour.base(), &transmitq);
  if (transmitq.kick_fd < 0 || epoll_fd_ < 0) return;
  epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {}};
  // Where the kernel watches no more eventfds for this user, the queue is polled.
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, transmitq.kick_fd, &event) != 0) {
    close(transmitq.kick_fd);
    transmitq.kick_fd = -1;
  }
}

void Worker::Unpoll(Queue& transmitq) {
  polled_.erase(std::remove(polled_.begin(), polled_.end(), &transmitq), polled_.end());
  if (transmitq.kick_fd >= 0 && epoll_fd_ >= 0)
    epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, transmitq.kick_fd, nullptr);
}

bool Worker::Polls(const Queue& transmitq) const {
  return std::find(polled_.begin(), polled_.end(), &transmitq) != polled_.end();
}

void Worker::Main() {
  std::unique_lock<std::mutex> round(round_);
  uint64_t idle_since_ns = 0;  // 0: the last round moved something
  uint64_t looked_ns = 0;      // at the clock, since then
  uint32_t looks = 0;
  uint64_t moved_awake = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    if (waiting_.load(std::memory_order_relaxed) != 0) [[unlikely]]
      YieldToControl(round);
    if (const uint32_t moved = Round(); moved != 0) {
      moved_awake += moved;
      counters_.CountRound(moved);
      idle_since_ns = 0;
      continue;
    }
    CpuRelax();
    if (++looks % kLooksPerClock != 0) continue;
    const uint64_t now_ns = clock_.NowNs();
    if (idle_since_ns == 0) idle_since_ns = looked_ns = now_ns;
    counters_.CountIdle(now_ns - looked_ns);
    looked_ns = now_ns;
    const uint64_t idle_ns = uint64_t{idle_us_.load(std::memory_order_relaxed)} * 1000;
    const uint64_t patience = std::min(1 + moved_awake / kFramesPerPatience, kPatienceMax);
    if (now_ns - idle_since_ns < patience * idle_ns) continue;
    Sleep(round);
    idle_since_ns = 0;
    moved_awake = 0;
  }
}

bool Worker::HasMadeRound() {
  // Without a thread there is nothing that could be stuck.
  if (wake_fd_ < 0) return true;
  // Nothing is published with the bit: that it was cleared is all there is to know.
  const bool seen = (waiting_.fetch_or(kAsked, std::memory_order_relaxed) & kAsked) == 0;
  if (seen) Wake();
  return seen;
}

void Worker::YieldToControl(std::unique_lock<std::mutex>& round) {
  // Acquire: as in the loop below, for what control did in a pause that is over by now.
  if ((waiting_.fetch_and(~kAsked, std::memory_order_acquire) & ~kAsked) == 0) return;
  round.unlock();
  uint32_t waiting = waiting_.load(std::memory_order_acquire);
  while ((waiting & ~kAsked) != 0) {
    waiting_.wait(waiting);
    waiting = waiting_.load(std::memory_order_acquire);
  }
  round.lock();
}

uint32_t Worker::Round() {
  const uint64_t coarse_ns = clock_.CoarseNs();
  const uint64_t now_ms = coarse_ns / kNsPerMs;
  const auto now_s = static_cast<uint32_t>(coarse_ns / kNsPerSecond);
  uint32_t moved = 0;
  uint32_t busy_ports = 0;
  const Port* port = nullptr;
  forwarder_.BeginRound();
  Queue** const end = polled_.data() + polled_.size();
  for (Queue** next = polled_.data(); next != end;) {
    Queue& queue = **next++;
    if (!queue.Served()) continue;
    if (queue.port != port) {
      port = queue.port;
      forwarder_.BeginTurn();
    }
    moved += forwarder_.Run(queue, now_s);
    if (forwarder_.turn_is_over()) [[unlikely]] {
      next = EndTurn(next);
      ++busy_ports;
    }
  }
  if (busy_ports != busy_ports_) [[unlikely]] {
    busy_ports_ = busy_ports;
    forwarder_.SetTurnWork(kTurnWork / std::max(busy_ports, 1u));
  }
  if (forwarder_.wire() != nullptr) [[unlikely]]
    moved += forwarder_.Release(now_s);
  if (options_.sweeps && now_ms - last_sweep_ms_ >= kSweepStepMs) {
    last_sweep_ms_ = now_ms;
    SweepSome(now_s);
  }
  return moved;
}

void Worker::SweepSome(uint32_t now_s) {
  for (const auto& bridge : bridges_) {
    if (bridge == nullptr) continue;
    const uint32_t step = bridge->fdb.bucket_count() / kSweepSteps;
    Sweep(*bridge, std::min(step, kSweepBucketsMax), now_s);
    if (bridge->fdb.TakeGrowthWish()) events_.Push({.type = Event::Type::kFdbCrowded});
  }
}

void Worker::SweepAll() {
  for (const auto& bridge : bridges_) {
    if (bridge != nullptr) Sweep(*bridge, bridge->fdb.bucket_count(), clock_.NowSeconds());
  }
}

void Worker::Sweep(Bridge& bridge, uint32_t buckets, uint32_t now_s) {
  struct Place {
    const Bridge& bridge;
    EventRing& events;
  } place = {bridge, events_};
  const auto report = [](void* context, const FdbRecord& aged) {
    const auto& [bridge, events] = *static_cast<Place*>(context);
    // Who leaves takes the entries along, so there is a port.
    const Port& port = *bridge.members[aged.port];
    events.Push({.type = Event::Type::kMacAged,
                 .session = port.session,
                 .port = port.number,
                 .vlan = aged.vlan,
                 .mac = aged.mac});
  };
  bridge.fdb.Sweep(buckets, now_s, report, &place);
}

// The port of the queue before `next` has used up its turn: its next one begins at the queue
// behind. Returns where the next port's queues begin.
Queue** Worker::EndTurn(Queue** next) {
  longest_turn_ = std::max(longest_turn_, forwarder_.work());
  const Port* const port = next[-1]->port;
  Queue** first = next - 1;
  while (first != polled_.data() && first[-1]->port == port) --first;
  Queue** end = next;
  while (end != polled_.data() + polled_.size() && (*end)->port == port) ++end;
  if (next != end) std::rotate(first, next, end);
  return end;
}

bool Worker::AnythingOffered() {
  for (Queue* queue : polled_) {
    BreakReason broken = BreakReason::kNone;
    if (!queue->Served()) continue;
    // A violation counts as something to do: the next round breaks the queue.
    if (queue->source->Offered(1, &broken) != 0 || broken != BreakReason::kNone) return true;
  }
  return false;
}

// How long to sleep at most, -1 for ever. Whole milliseconds before the next held frame is due: the
// rest is polled, so that it goes on in time.
int Worker::SleepMs(bool polling) {
  constexpr uint64_t kHourMs = 3'600'000;
  const uint64_t due_ns = next_due_ns();
  if (due_ns == HeldFrames::kNever) return polling ? int{kPollingQueueSleepMs} : -1;
  const uint64_t now_ns = clock_.NowNs();
  const uint64_t due_ms = due_ns <= now_ns ? 0 : (due_ns - now_ns) / kNsPerMs;
  return static_cast<int>(std::min(due_ms, polling ? kPollingQueueSleepMs : kHourMs));
}

void Worker::WaitForKick(int ms) {
  counters_.FallAsleep(clock_.NowNs());
  epoll_event events[kWakeupsMax];
  epoll_wait(epoll_fd_, events, kWakeupsMax, ms);
  counters_.WakeUp(clock_.NowNs());
}

void Worker::Sleep(std::unique_lock<std::mutex>& round) {
  bool polling = false;
  for (Queue* queue : polled_) {
    if (!queue->Served()) continue;
    queue->source->EnableKicks();
    LogRing(*queue);
    polling = polling || queue->kick_fd < 0;
  }
  if (const int ms = SleepMs(polling); ms != 0 && !AnythingOffered()) {
    round.unlock();
    WaitForKick(ms);
    round.lock();
  }
  for (Queue* queue : polled_) {
    if (!queue->Served()) continue;
    queue->source->DisableKicks();
    LogRing(*queue);
  }
}

}  // namespace tsvswitch
