// See dataplane.h. What may take long is done before a pause is taken or after it is given back.

#include "core/control/dataplane.h"

#include <fcntl.h>
#include <unistd.h>

#include <cassert>
#include <utility>

#include "core/policy/stages.h"
#include "core/port/notify.h"
#include "core/ring/packed_queue.h"
#include "core/ring/split_queue.h"

namespace tsvswitch {

namespace {

void CloseFd(int fd) {
  if (fd >= 0) close(fd);
}

// An honest frontend's eventfd that is full is nothing to wait for. A dishonest one: eventfd.h.
int Unblocking(int fd) {
  if (fd >= 0) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

std::unique_ptr<Virtqueue> MakeVirtqueue(uint64_t features) {
  if ((features & VIRTIO_F_RING_PACKED) != 0) return std::make_unique<PackedQueue>();
  return std::make_unique<SplitQueue>();
}

}  // namespace

Dataplane::Dataplane(const Options& options)
    : options_(options), idle_us_(options.idle_us), clock_(options.manual) {
  assert(!options.manual || options.worker_cpus.size() == 1);
  // Workers read it, so that it must not be moved.
  bridges_.reserve(kBridgesMax);
  const bool shared = options.worker_cpus.size() > 1;
  for (const int cpu : options.worker_cpus) workers_.push_back(MakeWorker(cpu, shared));
}

Dataplane::~Dataplane() {
  for (uint16_t port = 0; port < kPortsMax; ++port) {
    if (HasPort(port)) RemovePort(port);
  }
}

uint16_t Dataplane::AddPort(uint32_t queue_pairs, uint32_t bridge) {
  assert(queue_pairs >= 1 && queue_pairs <= kQueuePairsMax && HasBridge(bridge));
  uint16_t number = 0;
  while (HasPort(number)) ++number;
  if (number == kPortsMax) return kNoPort;
  auto port = std::make_unique<Port>(queue_pairs);
  port->number = number;
  port->session = ++sessions_;
  for (uint16_t i = 0; i < 2 * queue_pairs; ++i) {
    port->queues[i].port = port.get();
    port->queues[i].index = i;
    port->queues[i].counters = &port->counters[i];
  }
  if (number == ports_.size()) ports_.emplace_back();
  auto hearers = bridges_[bridge]->ListHearers(number, kNoPort);
  const PauseAll pause(*this);
  Join(*port, *bridges_[bridge], hearers);
  ports_[number] = std::move(port);
  return number;
}

void Dataplane::Join(Port& port, Bridge& bridge, std::unique_ptr<const Hearers>& hearers) {
  port.bridge = &bridge;
  bridge.fdb.SetPortLimit(port.number, port.fdb_entries_max);
  Record(port, bridge.captures);
  bridge.members[port.number] = &port;
  ++bridge.member_count;
  bridge.hearers.swap(hearers);
}

void Dataplane::Leave(Port& port, std::unique_ptr<const Hearers>& hearers) {
  Bridge& bridge = *port.bridge;
  bridge.members[port.number] = nullptr;
  --bridge.member_count;
  bridge.hearers.swap(hearers);
  // The caller has done so before the pause: there is little that was learned since.
  bridge.fdb.FlushAll(port.number);
  for (auto& worker : workers_) {
    if (worker->wire() != nullptr) worker->wire()->held().Forget(port);
  }
}

void Dataplane::RemovePort(uint16_t port) {
  for (uint32_t i = 0; i < QueueCount(port); ++i) StopQueue(port, i);
  std::unique_ptr<Port> removed;
  PortAt(port).bridge->fdb.FlushAll(port);
  auto hearers = PortAt(port).bridge->ListHearers(kNoPort, port);
  std::vector<Impairment::FromPort::node_type> links;  // go after the pause, too
  links.reserve(ports_.size());
  {
    const PauseAll pause(*this);
    removed = std::move(ports_[port]);
    Leave(*removed, hearers);
    for (auto& worker : workers_) worker->pairs().Forget(port);
    // The number may soon be another port's.
    for (auto& other : ports_) {
      Impairment* const impairment = other == nullptr ? nullptr : other->policies.get<Impairment>();
      if (impairment == nullptr) continue;
      links.push_back(impairment->from_port.extract(port));
      if (!links.back().empty()) FindStages(*other);
    }
  }
  for (Queue& queue : removed->queues) {
    CloseFd(queue.call_fd);
    CloseFd(queue.err_fd);
  }
}

MapResult Dataplane::SetMemory(uint16_t port, const std::vector<RegionWithFile>& regions) {
  Port& at = PortAt(port);
  std::vector<std::shared_ptr<const MappedRegion>> mapped;
  MapResult result = MapResult::kOk;
  for (const RegionWithFile& region : regions) {
    if (result != MapResult::kOk) {
      CloseFd(region.fd);
      continue;
    }
    std::shared_ptr<const MappedRegion> one;
    result = MappedRegion::Map(region.description, region.fd, &at.lost, &one);
    mapped.push_back(std::move(one));
  }
  if (result != MapResult::kOk) return result;
  std::shared_ptr<const GuestMemory> memory;
  result = GuestMemory::Build(std::move(mapped), &memory);
  return result == MapResult::kOk ? Exchange(at, std::move(memory)) : result;
}

MapResult Dataplane::AddMemoryRegion(uint16_t port, const RegionWithFile& region) {
  Port& at = PortAt(port);
  std::shared_ptr<const MappedRegion> mapped;
  MapResult result = MappedRegion::Map(region.description, region.fd, &at.lost, &mapped);
  if (result != MapResult::kOk) return result;
  std::shared_ptr<const GuestMemory> memory;
  result = at.memory->With(std::move(mapped), &memory);
  return result == MapResult::kOk ? Exchange(at, std::move(memory)) : result;
}

MapResult Dataplane::RemoveMemoryRegion(uint16_t port, const RegionDescription& region) {
  Port& at = PortAt(port);
  std::shared_ptr<const GuestMemory> memory;
  const MapResult result = at.memory->Without(region, &memory);
  return result == MapResult::kOk ? Exchange(at, std::move(memory)) : result;
}

// Puts new memory in place and moves the running rings with it. A ring whose memory is gone rests
// until it is back or moved: frontends remove a region and add it again elsewhere. The old memory
// is unmapped when `memory`, which then holds it, goes out of scope: after the pause.
MapResult Dataplane::Exchange(Port& port, std::shared_ptr<const GuestMemory> memory) {
  const PauseAll pause(*this);
  port.memory.swap(memory);
  for (Queue& queue : port.queues) {
    if (!queue.started) continue;
    Virtqueue::Rings rings;
    if (TranslateRings(port, *queue.ring, queue.addresses, queue.size, &rings) == RingResult::kOk) {
      Resume(queue, rings);
    } else {
      BreakReason unbroken = BreakReason::kNone;
      queue.broken.compare_exchange_strong(unbroken, BreakReason::kRingUnmapped,
                                           std::memory_order_relaxed);
    }
  }
  return MapResult::kOk;
}

// Lets a started queue go on with its rings at another place, also if it had lost them. Under a
// pause.
void Dataplane::Resume(Queue& queue, const Virtqueue::Rings& rings) {
  queue.ring->Move(rings);
  BreakReason unmapped = BreakReason::kRingUnmapped;
  queue.broken.compare_exchange_strong(unmapped, BreakReason::kNone, std::memory_order_relaxed);
}

void Dataplane::SetFeatures(uint16_t port, uint64_t features) {
  assert(!AnyQueueStarted(port));
  PortAt(port).features = features;
  PortAt(port).controlled = {.negotiated = features};
  if (PortAt(port).mtu_bytes != kNoMtu) SetMtu(port, kNoMtu);
}

void Dataplane::SetMtu(uint16_t port, uint32_t bytes) {
  const PauseAll paused(*this);
  PortAt(port).mtu_bytes = bytes;
  FindStages(PortAt(port));
}

void Dataplane::SetDown(uint16_t port, bool down) {
  const PauseAll paused(*this);
  PortAt(port).down = down;
  FindStages(PortAt(port));
}

bool Dataplane::AnyQueueStarted(uint16_t port) {
  for (const Queue& queue : PortAt(port).queues) {
    if (queue.started) return true;
  }
  return false;
}

RingResult Dataplane::TranslateRings(const Port& port, const Virtqueue& ring,
                                     const RingAddresses& addresses, uint32_t size,
                                     Virtqueue::Rings* rings) {
  const GuestMemory& memory = *port.memory;
  const Virtqueue::Layout layout = ring.LayoutOf(size);
  rings->desc = memory.TranslateRing(addresses.desc, layout.desc_bytes);
  rings->avail = memory.TranslateRing(addresses.avail, layout.avail_bytes);
  rings->used = memory.TranslateRing(addresses.used, layout.used_bytes);
  rings->memory = &memory;
  if (rings->desc == nullptr || rings->avail == nullptr || rings->used == nullptr) {
    return RingResult::kUnmapped;
  }
  // Checked where the rings are mapped, which is what the processor sees.
  const auto misaligned = [](const uint8_t* at, uintptr_t to) {
    return reinterpret_cast<uintptr_t>(at) % to != 0;
  };
  return misaligned(rings->desc, 16) || misaligned(rings->avail, layout.avail_alignment) ||
                 misaligned(rings->used, 4)
             ? RingResult::kMisaligned
             : RingResult::kOk;
}

RingResult Dataplane::StartQueue(uint16_t port, uint32_t queue, const QueueStart& start) {
  Port& at = PortAt(port);
  Queue& started = QueueAt(port, queue);
  assert(!started.started);
  auto ring = MakeVirtqueue(at.features);
  Virtqueue::Rings rings;
  const RingResult result = ring->Accepts(start.size, start.base)
                                ? TranslateRings(at, *ring, start.rings, start.size, &rings)
                                : RingResult::kUnacceptable;
  if (result != RingResult::kOk) {
    CloseFd(start.kick_fd);
    return result;
  }
  const PauseAll pause(*this);
  started.Hold(ring);
  started.ring->Start(rings, start.size, start.base, at.features);
  started.addresses = start.rings;
  started.size = start.size;
  started.start_base = started.ring->base();
  started.kick_fd = start.kick_fd;
  started.broken.store(BreakReason::kNone, std::memory_order_relaxed);
  started.stalled = false;
  started.flooded_to = 0;
  started.batch_frames = kBatchFramesMax;
  started.known = {};  // no second of a running machine: the first frame is looked at
  started.started = true;
  started.is_control = start.control_pairs != 0;
  if (started.is_control) [[unlikely]]
    BeginControl(started, start);
  LogRing(started);  // that kicks are not wanted
  at.FindReceivers();
  if (started.is_transmitq()) Assign(started, LeastLoadedWorker());
  return RingResult::kOk;
}

RingResult Dataplane::MoveQueue(uint16_t port, uint32_t queue, const RingAddresses& addresses) {
  Queue& moved = QueueAt(port, queue);
  assert(moved.started);
  Virtqueue::Rings rings;
  const RingResult result =
      TranslateRings(PortAt(port), *moved.ring, addresses, moved.size, &rings);
  if (result != RingResult::kOk) return result;
  const PauseAll pause(*this);
  moved.addresses = addresses;
  Resume(moved, rings);
  return RingResult::kOk;
}

uint32_t Dataplane::StopQueue(uint16_t port, uint32_t queue) {
  Queue& stopped = QueueAt(port, queue);
  if (!stopped.started) return stopped.ring == nullptr ? 0 : stopped.ring->base();
  {
    const PauseAll pause(*this);
    if (stopped.is_transmitq()) workers_[WorkerOf(port, queue)]->Unpoll(stopped);
    stopped.started = false;
    stopped.port->FindReceivers();
  }
  CloseFd(std::exchange(stopped.kick_fd, -1));
  return stopped.ring == nullptr ? 0 : stopped.ring->base();
}

Dataplane::QueueState Dataplane::ReadQueue(uint16_t port, uint32_t queue) {
  Queue& read = QueueAt(port, queue);
  assert(read.started);
  const PauseAll pause(*this);
  QueueState state = {.base = read.ring->base(),
                      .offered = 0,
                      .out_of_step = false,
                      .broken = read.broken.load(std::memory_order_relaxed)};
  // A violation that shows here is left to the worker, which sees it when it takes.
  BreakReason ignored = BreakReason::kNone;
  if (state.broken != BreakReason::kNone) return state;
  state.offered = read.ring->Offered(read.size, &ignored);
  state.out_of_step = state.base == read.start_base && read.ring->OutOfStep();
  return state;
}

void Dataplane::EnableQueue(uint16_t port, uint32_t queue, bool enabled) {
  Queue& changed = QueueAt(port, queue);
  const PauseAll pause(*this);
  changed.enabled = enabled;
  changed.port->FindReceivers();
}

void Dataplane::SetCall(uint16_t port, uint32_t queue, int fd) {
  Queue& changed = QueueAt(port, queue);
  fd = Unblocking(fd);
  const bool is_socket = IsStreamSocket(fd);
  {
    const PauseAll pause(*this);
    std::swap(changed.call_fd, fd);
    changed.call_is_socket = is_socket;
  }
  CloseFd(fd);
  // Buffers handed back while there was no call fd would otherwise wait for the next call.
  if (changed.call_fd < 0 || !changed.started || Call(changed)) return;
  const PauseAll pause(*this);
  NoteBlockedEventfd(*changed.port);
  GiveUpIfLost(*changed.port, workers_.front()->events());
}

void Dataplane::SetErr(uint16_t port, uint32_t queue, int fd) {
  ReplaceFd(QueueAt(port, queue).err_fd, fd);
}

void Dataplane::ReplaceFd(int& place, int fd) {
  fd = Unblocking(fd);
  {
    const PauseAll pause(*this);
    std::swap(place, fd);
  }
  CloseFd(fd);
}

MapResult Dataplane::SetLog(uint16_t port, int fd, uint64_t bytes, uint64_t offset) {
  Port& at = PortAt(port);
  std::shared_ptr<const DirtyLog> log;
  if (fd >= 0) {
    std::shared_ptr<const MappedRegion> bitmap;
    const RegionDescription description = {
        .guest = GuestAddress{0}, .bytes = bytes, .user = UserAddress{0}, .mmap_offset = offset};
    const MapResult result = MappedRegion::Map(description, fd, &at.lost, &bitmap);
    if (result != MapResult::kOk) return result;
    log = std::make_shared<DirtyLog>(std::move(bitmap));
  }
  const PauseAll pause(*this);
  at.dirty_log.swap(log);  // the old one is unmapped after the pause
  return MapResult::kOk;
}

void Dataplane::SetLogging(uint16_t port, bool enabled) {
  Port& at = PortAt(port);
  const PauseAll pause(*this);
  at.logging = enabled;
}

void Dataplane::Announce(uint16_t port, uint64_t mac) {
  // RFC 903: Ethernet broadcast, then hardware and protocol types, operation 3, the address twice.
  constexpr uint32_t kFrameBytes = 60;
  uint8_t frame[kFrameBytes] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,    0,    0,    0, 0,
                                0,    0x80, 0x35, 0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0, 3};
  for (uint32_t i = 0; i < 6; ++i) {
    const auto byte = static_cast<uint8_t>(mac >> (40 - 8 * i));
    frame[6 + i] = frame[22 + i] = frame[32 + i] = byte;
  }
  const PauseAll pause(*this);
  workers_.front()->Inject(PortAt(port), frame, kFrameBytes, NowSeconds());
}

bool Dataplane::PopEvent(Event* event) {
  for (auto& worker : workers_) {
    // Every turn takes an event out of a bounded ring.
    while (worker->events().Pop(event)) {
      if (event->type == Event::Type::kFdbCrowded) continue;  // it is seen to below
      if (HasPort(event->port) && SessionOf(event->port) == event->session) return true;
    }
  }
  // Not all at once: the thread has other things to do. The worker tells it to go on.
  constexpr uint32_t kBucketsATime = 4096;
  GrowTables(kBucketsATime);
  return false;
}

}  // namespace tsvswitch
