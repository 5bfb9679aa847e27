// See dataplane.h: the workers, and which of them polls which transmitq.

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include "core/control/dataplane.h"

namespace tsvswitch {

namespace {

// Far from that of every other worker, in the 16 bits of IPv4 too: a golden ratio apart.
uint32_t FragmentId(uint32_t first, size_t worker) {
  return first + static_cast<uint32_t>(worker) * 0x9e3779b9u;
}

bool PollsFewer(const std::unique_ptr<Worker>& a, const std::unique_ptr<Worker>& b) {
  return a->polled_count() < b->polled_count();
}

}  // namespace

// The next one. `shared`: there are others, or will be before it polls anything.
std::unique_ptr<Worker> Dataplane::MakeWorker(int cpu, bool shared) const {
  const Worker::Options options = {.cpu = cpu,
                                   .idle_us = idle_us_,
                                   .shared = shared,
                                   .sweeps = workers_.empty(),
                                   .sandbox = options_.sandbox,
                                   .fragment_id = FragmentId(options_.fragment_id, workers_.size()),
                                   .notify = options_.notify,
                                   .notify_context = options_.notify_context};
  return std::make_unique<Worker>(options, clock_, bridges_);
}

bool Dataplane::Start() {
  if (clock_.manual()) return true;
  for (auto& worker : workers_) {
    if (!worker->Start()) return false;
  }
  return true;
}

bool Dataplane::AddWorker(int cpu) {
  assert(!clock_.manual());
  std::unique_ptr<Worker> added = MakeWorker(cpu, true);
  if (workers_.front()->wire() != nullptr) {
    added->SetWire(
        std::make_unique<Wire>(clock_, FragmentId(options_.fragment_id, workers_.size())));
  }
  if (!added->Start()) {
    const int why = errno;
    added.reset();
    errno = why;
    return false;
  }
  {
    // It may have been the only one, and has to take locks before another one polls anything.
    const Worker::Pause pause(*workers_.front());
    workers_.front()->Share();
  }
  const uint32_t number = worker_count();
  workers_.push_back(std::move(added));
  // Its share, as if it had been there when they were started, with a pause for each: every turn
  // brings the two workers closer to each other.
  for (;;) {
    const Worker& busiest = **std::max_element(workers_.begin(), workers_.end(), PollsFewer);
    if (busiest.polled_count() <= workers_[number]->polled_count() + 1) return true;
    const Queue& moved = busiest.last_polled();
    AssignWorker(moved.port->number, moved.index, number);
  }
}

void Dataplane::RemoveWorker() {
  assert(workers_.size() > 1);
  Worker& leaving = *workers_.back();
  while (leaving.polled_count() > 0) {
    const auto idlest = std::min_element(workers_.begin(), workers_.end() - 1, PollsFewer);
    const Queue& moved = leaving.last_polled();
    AssignWorker(moved.port->number, moved.index, static_cast<uint32_t>(idlest - workers_.begin()));
  }
  if (leaving.wire() != nullptr) {
    // What is under way beyond its bridge, of queues that are stopped meanwhile.
    const PauseAll pause(*this);
    leaving.wire()->GiveTo(*workers_.front()->wire(), nullptr);
  }
  {
    const PauseAll pause(*this);
    workers_.front()->pairs().TakeOver(leaving.pairs());
  }
  const std::unique_ptr<Worker> removed = std::move(workers_.back());
  workers_.pop_back();
  // Its thread ends with it; what it had to report is reported by the first one.
  const Worker::Pause pause(*workers_.front());
  for (Event event; removed->events().Pop(&event);) workers_.front()->events().Push(event);
}

std::vector<PairCounters::Pair> Dataplane::Pairs() const {
  std::vector<PairCounters::Pair> pairs;
  for (const auto& worker : workers_) worker->pairs().AppendTo(pairs);
  return pairs;
}

void Dataplane::SetIdle(uint32_t idle_us) {
  idle_us_ = idle_us;
  for (auto& worker : workers_) worker->SetIdle(idle_us);
}

Worker& Dataplane::LeastLoadedWorker() {
  return **std::min_element(workers_.begin(), workers_.end(), PollsFewer);
}

void Dataplane::Assign(Queue& transmitq, Worker& worker) {
  for (auto& other : workers_) {
    if (other.get() == &worker || other->wire() == nullptr) continue;
    const uint32_t lost = other->wire()->GiveTo(*worker.wire(), &transmitq);
    transmitq.port->fates->Add(Fate::kHeldOverflow, lost);
  }
  worker.Poll(transmitq);
}

uint32_t Dataplane::WorkerOf(uint16_t port, uint32_t transmitq) {
  const Queue& queue = QueueAt(port, transmitq);
  assert(queue.started && queue.is_transmitq());
  uint32_t worker = 0;
  while (!workers_[worker]->Polls(queue)) ++worker;
  return worker;
}

void Dataplane::AssignWorker(uint16_t port, uint32_t transmitq, uint32_t worker) {
  Queue& queue = QueueAt(port, transmitq);
  const uint32_t old = WorkerOf(port, transmitq);
  const PauseAll pause(*this);
  workers_[old]->Unpoll(queue);
  Assign(queue, *workers_[worker]);
}

}  // namespace tsvswitch
