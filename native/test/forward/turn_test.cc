// What a turn of a port may have in it, counted in work (core/frame/work.h): chains as long as
// can be, empty descriptors, packets of a thousand segments, floods to all ports, buffers of a few
// bytes. However a guest makes its round long, everybody else has a turn after a bounded one of it,
// and everything it sent that breaks no rule arrives, once and in order.

#include <cstring>

#include "core/port/process_queue.h"
#include "core/worker/worker.h"
#include "driver/net_header.h"
#include "driver/packet.h"
#include "test/check.h"
#include "test/one_queue.h"
#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kGuest = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC;
constexpr uint32_t kRingSize = 1 << 15;
constexpr uint32_t kPairs = kQueuePairsMax;
// A chain of a split ring: as many descriptors as the ring has, an indirect table of as many, and a
// piece for every byte.
constexpr uint64_t kLongestChainWork =
    (2 * uint64_t{kRingSize} + PieceStore::kPiecesPerChainMax) * kDescriptorWork;
constexpr uint64_t kTurnBound = kTurnWork + kBatchWork + kLongestChainWork;

bool IsPacked(uint64_t features) { return (features & VIRTIO_F_RING_PACKED) != 0; }

// Ports whose rounds the test runs.
class Rounds {
 public:
  Rounds() { bridges_.push_back(std::make_unique<Bridge>()); }
  ~Rounds() {
    for (auto& port : ports_) {
      for (Queue& queue : port->queues) {
        if (queue.started && queue.is_transmitq()) worker_.Unpoll(queue);
      }
    }
  }

  Port& AddPort(uint32_t pairs, uint64_t features) {
    ports_.push_back(std::make_unique<Port>(pairs));
    Port& port = *ports_.back();
    port.number = static_cast<uint16_t>(ports_.size() - 1);
    port.bridge = bridges_[0].get();
    port.features = features;
    for (uint16_t i = 0; i < port.queues.size(); ++i) {
      port.queues[i].port = &port;
      port.queues[i].index = i;
      port.queues[i].counters = &port.counters[i];
    }
    port.bridge->members[port.number] = &port;
    ++port.bridge->member_count;
    port.bridge->hearers = port.bridge->ListHearers(kNoPort, kNoPort);
    return port;
  }
  Port& AddHost() {
    Port& port = AddPort(1, VIRTIO_F_VERSION_1);
    port.process = std::make_unique<ProcessQueues>();
    port.queues[0].Hold(port.process->receiveq);
    port.queues[1].Hold(port.process->transmitq);
    Begin(port.queues[0]);
    Begin(port.queues[1]);
    return port;
  }
  void Begin(Queue& queue) {
    queue.started = queue.enabled = true;
    if (queue.is_transmitq())
      worker_.Poll(queue);
    else
      queue.port->receivers.push_back(&queue);
  }

  void Send(Port& host, const FrameBytes& frame) {
    auto& queue = host.process->transmitq;
    CHECK(queue.Send(frame.data(), static_cast<uint32_t>(frame.size())));
    queue.PublishSent();
  }
  std::vector<FrameBytes> Take(Port& host) {
    auto& queue = host.process->receiveq;
    std::vector<FrameBytes> frames;
    for (uint32_t bytes = queue.NextBytes(); bytes != 0; bytes = queue.NextBytes()) {
      const uint8_t* frame = queue.Next();
      frames.emplace_back(frame, frame + bytes);
    }
    queue.Release();
    return frames;
  }
  Worker& worker() { return worker_; }
  uint32_t Round() { return worker_.Round(); }
  uint64_t longest_turn() const { return worker_.longest_turn(); }

 private:
  Clock clock_{true};
  Bridges bridges_;
  std::vector<std::unique_ptr<Port>> ports_;
  Worker worker_{{.cpu = -1,
                  .idle_us = 0,
                  .shared = false,
                  .sweeps = false,
                  .sandbox = false,
                  .fragment_id = 0,
                  .notify = [](void*) {},
                  .notify_context = nullptr},
                 clock_,
                 bridges_};
};

// A guest all of whose queues have the same descriptors and the same avail ring, full of one chain:
// what a hostile driver needs to keep 127 queues busy. Each has a used ring of its own.
class HostileGuest {
 public:
  HostileGuest(Rounds& rounds, uint64_t features, uint32_t pairs)
      : port(rounds.AddPort(pairs, features)),
        ram_(GuestRam::OfBytes(48 << 20)),
        memory_(ram_.Map(&port.lost)),
        rounds_(rounds) {
    port.memory = memory_;
    desc_ = ram_.Allocate(16 * kRingSize, 4096);
    avail_ = ram_.Allocate(8 + 2 * kRingSize, 4096);
    table_ = ram_.Allocate(16 * kRingSize, 4096);
    bytes_ = ram_.Allocate(1 << 17, 4096);
  }

  uint64_t bytes() const { return bytes_; }
  GuestRam& ram() { return ram_; }

  // An indirect table of these buffers, in each descriptor of the ring.
  void FillRing(const std::vector<Buffer>& buffers, uint16_t flags) {
    const bool packed = IsPacked(port.features);
    const uint32_t count = static_cast<uint32_t>(buffers.size());
    for (uint32_t i = 0; i < count; ++i) {
      const bool last = i + 1 == count;
      const auto next = static_cast<uint16_t>(last || packed ? 0 : SplitDriver::kNext);
      WriteDescriptor(table_ + 16 * uint64_t{i}, buffers[i], static_cast<uint16_t>(flags | next),
                      static_cast<uint16_t>(i + 1));
    }
    for (uint32_t i = 0; i < kRingSize; ++i) {
      const uint16_t available = packed ? PackedDriver::kAvailable : 0;
      const uint64_t at = desc_ + 16 * uint64_t{i};
      const Buffer table = {table_, 16 * count};
      const auto all = static_cast<uint16_t>(SplitDriver::kIndirect | available);
      if (packed)
        WriteDescriptor(at, table, static_cast<uint16_t>(i), all);
      else
        WriteDescriptor(at, table, all, 0);
      const auto head = static_cast<uint16_t>(i);
      std::memcpy(ram_.At(avail_ + 4 + 2 * uint64_t{i}, 2), &head, 2);
    }
    const uint16_t index = kRingSize;
    std::memcpy(ram_.At(avail_ + 2, 2), &index, 2);
  }

  void Start(uint16_t queue) {
    Queue& started = port.queues[queue];
    Virtqueue::Rings rings = {ram_in_core(desc_), ram_in_core(avail_), nullptr, port.memory.get()};
    if (IsPacked(port.features)) {
      // A ring of its own: what is used is written into it.
      const uint64_t copy = ram_.Allocate(16 * kRingSize, 4096);
      std::memcpy(ram_.At(copy, 16 * kRingSize), ram_.At(desc_, 16 * kRingSize), 16 * kRingSize);
      rings.desc = ram_in_core(copy);
      rings.used = ram_in_core(ram_.Allocate(4096, 4096));
      started.HoldNew<PackedQueue>();
      started.ring->Start(rings, kRingSize, 1u << 15 | 1u << 31, port.features);
    } else {
      rings.used = ram_in_core(ram_.Allocate(6 + 8 * kRingSize, 4096));
      started.HoldNew<SplitQueue>();
      started.ring->Start(rings, kRingSize, 0, port.features);
    }
    rounds_.Begin(started);
  }
  uint32_t Done(uint16_t queue) const { return port.queues[queue].ring->base() & 0x7fff; }

  Port& port;

 private:
  uint8_t* ram_in_core(uint64_t guest) const {
    return memory_->TranslateRing(GuestRam::UserOf(guest), 16);
  }
  void WriteDescriptor(uint64_t at, const Buffer& buffer, uint16_t third, uint16_t fourth) {
    uint8_t* const to = ram_.At(at, 16);
    std::memcpy(to, &buffer.guest, 8);
    std::memcpy(to + 8, &buffer.bytes, 4);
    // Split: flags, next. Packed: id, flags.
    const bool packed_table = IsPacked(port.features) && at >= table_;
    const uint16_t words[2] = {packed_table ? uint16_t{0} : third, packed_table ? third : fourth};
    std::memcpy(to + 12, words, 4);
  }

  GuestRam ram_;
  std::shared_ptr<const GuestMemory> memory_;
  Rounds& rounds_;
  uint64_t desc_, avail_, table_, bytes_;
};

constexpr uint64_t kFormats[] = {kGuest, kGuest | VIRTIO_F_RING_PACKED};
uint32_t TransmitqsFor(uint64_t features) { return IsPacked(features) ? 16 : kPairs - 1; }

// A frame to the sender's own address, so that nobody but the worker has anything of it.
void WriteOwnFrame(HostileGuest& guest) {
  const FrameBytes frame = MakeFrame(MacOf(0), MacOf(0), 60);
  guest.ram().Write(guest.bytes() + sizeof(VirtioNetHdr), frame);
}

// One byte in each descriptor, and empty ones or more of the frame behind them.
std::vector<Buffer> OneByteEach(uint64_t at, uint32_t frame_bytes, uint32_t descriptors) {
  std::vector<Buffer> buffers;
  for (uint32_t i = 0; i < descriptors; ++i) {
    buffers.push_back({at + std::min(i, frame_bytes - 1), i < frame_bytes ? 1u : 0u});
  }
  return buffers;
}

FACT("a port's queues have one turn, however long their chains are, and take turns in it") {
  for (const uint64_t features : kFormats) {
    for (const uint32_t bytes : {72u, kRingSize}) {
      Rounds rounds;
      HostileGuest hostile(rounds, features, kPairs);
      Port& left = rounds.AddHost();
      Port& right = rounds.AddHost();
      WriteOwnFrame(hostile);
      hostile.FillRing(OneByteEach(hostile.bytes(), bytes, kRingSize), 0);
      const uint32_t queues = TransmitqsFor(features);
      for (uint16_t i = 0; i < queues; ++i) hostile.Start(static_cast<uint16_t>(2 * i + 1));
      for (uint32_t round = 0; round < 2 * queues; ++round) {
        const FrameBytes frame = MakeFrame(kBroadcast, MacOf(1), 60, round);
        rounds.Send(left, frame);
        CHECK(rounds.Round() >= 2);
        const std::vector<FrameBytes> received = rounds.Take(right);
        CHECK_EQ(received.size(), 1u);
        CHECK(received[0] == frame);
      }
      CHECK(rounds.longest_turn() >= kTurnWork);
      CHECK(rounds.longest_turn() <= kTurnBound);
      for (uint16_t i = 0; i < queues; ++i) {
        CHECK(hostile.Done(static_cast<uint16_t>(2 * i + 1)) >= 1);
      }
    }
  }
}

FACT("packets of more than a thousand segments are cut a few at a time") {
  constexpr uint64_t kTso = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4;
  for (const uint64_t features : kFormats) {
    Rounds rounds;
    HostileGuest hostile(rounds, features | kTso, 2);
    Port& receiver = rounds.AddHost();
    Random random(1);
    Packet packet;
    packet.payload = random.Some(64000);
    const VirtioNetHdr header = HeaderOf(packet, VIRTIO_NET_HDR_GSO_TCPV4, 48);
    const Bytes bytes = WithHeader(header, features, packet.Frame(Checksum::kPartial));
    hostile.ram().Write(hostile.bytes(), bytes);
    hostile.FillRing({{hostile.bytes(), static_cast<uint32_t>(bytes.size())}}, 0);
    hostile.Start(1);
    const auto segments_of = [&] {
      return receiver.counters[0].value[kFrames] + receiver.counters[0].value[kNoBuffer];
    };
    for (uint32_t round = 0; round < 10; ++round) {
      const uint64_t before = segments_of();
      CHECK(rounds.Round() >= 1);
      CHECK(segments_of() - before >= 1000);
      rounds.Take(receiver);
    }
    CHECK(rounds.longest_turn() <= kTurnBound);
  }
}

FACT("buffers that cost too much are walked for so long in a round, whoever sends") {
  for (const uint64_t features : kFormats) {
    Rounds rounds;
    HostileGuest hostile(rounds, features | VIRTIO_NET_F_MRG_RXBUF, 2);
    std::vector<Port*> senders;
    for (uint32_t i = 0; i < 8; ++i) senders.push_back(&rounds.AddHost());
    Port& other = rounds.AddHost();
    // A header's room in a table of otherwise empty buffers.
    std::vector<Buffer> buffers(kRingSize, {hostile.bytes(), 0});
    buffers[0].bytes = 12;
    hostile.FillRing(buffers, SplitDriver::kWrite);
    hostile.Start(0);
    for (uint32_t round = 0; round < 4; ++round) {
      for (Port* sender : senders) {
        for (uint32_t i = 0; i < 64; ++i) {
          rounds.Send(*sender, MakeFrame(kBroadcast, MacOf(sender->number), 60, i));
        }
      }
      for (uint32_t more = 0; rounds.Round() != 0; ++more) CHECK(more < 64 * 8);
      CHECK_EQ(rounds.Take(other).size(), 8u * 64);
      for (Port* sender : senders) CHECK_EQ(rounds.Take(*sender).size(), 7u * 64);
    }
    CHECK(rounds.longest_turn() <= kTurnBound + 2 * kLongestChainWork);
    const QueueCounters& counters = hostile.port.counters[0];
    CHECK_EQ(counters.value[kFrames] + counters.value[kNoBuffer] +
                 hostile.port.fates->Read(Fate::kBufferTooSmall),
             4u * 8 * 64);
  }
}

constexpr uint32_t kCrowd = 400;

FACT("a long flooded frame goes to some of many ports in each turn, and others go between") {
  Rounds rounds;
  std::vector<Port*> ports;
  for (uint32_t i = 0; i < kCrowd; ++i) ports.push_back(&rounds.AddHost());
  const FrameBytes small[2] = {MakeFrame(kBroadcast, MacOf(0), 60, 1),
                               MakeFrame(kBroadcast, MacOf(0), 60, 3)};
  const FrameBytes longest = MakeFrame(kBroadcast, MacOf(0), kFrameBytesMax, 2);
  rounds.Send(*ports[0], small[0]);
  rounds.Send(*ports[0], longest);
  rounds.Send(*ports[0], longest);
  rounds.Send(*ports[0], small[1]);
  std::vector<std::vector<FrameBytes>> received(kCrowd);
  uint32_t number = 0;
  for (uint32_t round = 0; !ports[0]->process->transmitq.Drained(); ++round) {
    CHECK(round < kCrowd);
    const FrameBytes own = MakeFrame(MacOf(7), MacOf(3), 60, number++);
    rounds.Send(*ports[7], MakeFrame(MacOf(3), MacOf(7), 60, number));
    rounds.Send(*ports[3], own);
    CHECK(rounds.Round() >= 1);
    bool heard = false;
    for (uint32_t i = 0; i < kCrowd; ++i) {
      for (FrameBytes& frame : rounds.Take(*ports[i])) {
        heard = heard || frame == own;
        if (frame == longest || frame == small[0] || frame == small[1])
          received[i].push_back(std::move(frame));
      }
    }
    CHECK(heard);
  }
  CHECK(number >= 4);
  CHECK(rounds.longest_turn() <= kTurnBound);
  const std::vector<FrameBytes> all = {small[0], longest, longest, small[1]};
  CHECK(received[0].empty());
  for (uint32_t i = 1; i < kCrowd; ++i) CHECK(received[i] == all);
  CHECK_EQ(ports[0]->counters[1].value[kFrames], 4u);
  CHECK_EQ(ports[0]->counters[1].value[kFloodedFrames], 4u);
}

FACT("a flood goes on among the ports there are then: each has the frame once, or not at all") {
  const auto plane = std::make_unique<Dataplane>(Dataplane::Options{.worker_cpus = {-1},
                                                                    .idle_us = 0,
                                                                    .manual = true,
                                                                    .notify = [](void*) {},
                                                                    .notify_context = nullptr});
  CHECK(plane->Start());
  plane->AddBridge(0);
  plane->AddBridge(0);
  for (uint32_t i = 0; i < kCrowd; ++i) CHECK_EQ(plane->AddProcessPort(0), i);
  const FrameBytes longest = MakeFrame(kBroadcast, MacOf(0), kFrameBytesMax, 2);
  CHECK(plane->ProcessTransmitqOf(0).Send(longest.data(), kFrameBytesMax));
  plane->PublishProcessSent(0);
  CHECK_EQ(plane->Step(1), 1u);
  CHECK(!plane->ProcessTransmitqOf(0).Drained());
  const auto has_it = [&plane](uint16_t port) {
    return plane->ProcessReceiveqOf(port).NextBytes() != 0;
  };
  uint16_t reached = 1;
  while (has_it(reached)) ++reached;
  CHECK(reached > 3 && reached < kCrowd - 3);
  // Two that have it and two that do not leave, one of each comes again, and one moves away.
  for (const uint32_t left : {1u, 2u, uint32_t{reached}, kCrowd - 1}) {
    plane->RemovePort(static_cast<uint16_t>(left));
  }
  CHECK_EQ(plane->AddProcessPort(0), 1u);
  CHECK_EQ(plane->AddProcessPort(1), 2u);
  CHECK_EQ(plane->AddProcessPort(0), reached);
  plane->MovePort(kCrowd - 2, 1);
  for (uint32_t turn = 0; !plane->ProcessTransmitqOf(0).Drained(); ++turn) {
    CHECK(turn < kCrowd);
    plane->Step(1);
  }
  for (uint16_t port = 0; port < kCrowd - 1; ++port) {
    const bool hears = port > 2 && port != kCrowd - 2;
    CHECK_EQ(has_it(port), hears);
    if (!hears) continue;
    plane->ProcessReceiveqOf(port).Next();
    CHECK_EQ(plane->ProcessReceiveqOf(port).NextBytes(), 0u);
  }
}

FACT("a flood that a link held back is as bounded, and as complete") {
  const auto plane = std::make_unique<Dataplane>(Dataplane::Options{.worker_cpus = {-1},
                                                                    .idle_us = 0,
                                                                    .manual = true,
                                                                    .notify = [](void*) {},
                                                                    .notify_context = nullptr});
  CHECK(plane->Start());
  plane->AddBridge(0);
  for (uint32_t i = 0; i < kCrowd; ++i) CHECK_EQ(plane->AddProcessPort(0), i);
  LinkSettings settings = {};
  settings.delay_ns = kNsPerMs;
  plane->SetLink(0, kNoPort, &settings);
  const FrameBytes longest = MakeFrame(kBroadcast, MacOf(0), kFrameBytesMax, 2);
  const FrameBytes small = MakeFrame(kBroadcast, MacOf(0), 60, 3);
  for (const FrameBytes& frame : {longest, small}) {
    CHECK(plane->ProcessTransmitqOf(0).Send(frame.data(), static_cast<uint32_t>(frame.size())));
  }
  plane->PublishProcessSent(0);
  plane->Step(10);
  plane->Advance(kNsPerMs);
  for (uint16_t i = 1; i < kCrowd; ++i) {
    ProcessReceiveq& queue = plane->ProcessReceiveqOf(i);
    for (const FrameBytes& frame : {longest, small}) {
      CHECK_EQ(queue.NextBytes(), frame.size());
      CHECK(std::memcmp(queue.Next(), frame.data(), frame.size()) == 0);
    }
    CHECK_EQ(queue.NextBytes(), 0u);
  }
  CHECK_EQ(plane->Counters(0)[1].value[kFloodedFrames], 2u);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
