// Fuzz target: whole rounds, from the transmitq of one hostile guest into the receiveq of another.
//
// Both drivers write anything into rings and memory, and the rings lie in the same memory as the
// buffers, so that a delivered frame may land on a descriptor or on a used ring. So that frames get
// through the first checks, the sender also offers packets as a stack makes them, with bytes
// changed. Formats, features, the receiver's MTU, a dirty log and a rule for the sender's sources
// are the input's choice.
//
// What must hold after every round: nothing of the sender's memory is written but its rings, and
// every frame taken is counted once at the sender.

#include <atomic>
#include <iterator>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "core/forward/forward.h"
#include "core/policy/source_guard.h"
#include "core/policy/stages.h"
#include "driver/net_header.h"
#include "driver/packet.h"
#include "hostile_packed_ring.h"

namespace tsvswitch {
namespace {

constexpr uint32_t kSecond = 100;
// The rings' place in the first region of fuzzed_memory.h.
constexpr uint64_t kRingsOffset = 0x1000;
constexpr uint64_t kRingsBytes = 0x1000;
constexpr uint64_t kAvailOffset = 0x800;
constexpr uint64_t kUsedOffset = 0xc00;

constexpr uint64_t kOffloads =
    VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_HOST_ECN |
    VIRTIO_NET_F_HOST_UFO | VIRTIO_NET_F_HOST_USO | VIRTIO_NET_F_GUEST_CSUM |
    VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN |
    VIRTIO_NET_F_GUEST_UFO | VIRTIO_NET_F_GUEST_USO4 | VIRTIO_NET_F_GUEST_USO6;

uint64_t TakeFeatures(Input& input) {
  const uint8_t choice = input.Byte();
  uint64_t features = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_NET_F_MRG_RXBUF;
  if ((choice & 1) != 0) features |= VIRTIO_F_RING_PACKED;
  if ((choice & 2) != 0) features &= ~VIRTIO_NET_F_MRG_RXBUF;
  if ((choice & 4) != 0) features |= VIRTIO_F_EVENT_IDX;
  if ((choice & 8) != 0) features |= VIRTIO_F_IN_ORDER;
  if ((choice & 16) != 0) features |= kOffloads;
  if ((choice & 32) != 0) features |= kOffloads & input.Take<uint64_t>();
  if ((choice & 64) != 0) features &= ~VIRTIO_F_VERSION_1;
  return features;
}

// A port with one started queue, and the driver behind it.
class HostileGuest {
 public:
  HostileGuest(Input& input, FuzzedMemory& memory, Bridge& bridge, uint16_t index)
      : memory_(memory), queue_(port_.queues[index]) {
    memory_.Wipe();
    port_.number = index;
    port_.bridge = &bridge;
    port_.features = TakeFeatures(input);
    port_.memory = memory.memory();
    bridge.members[index] = &port_;
    ++bridge.member_count;
    bridge.hearers = bridge.ListHearers(kNoPort, kNoPort);
    queue_.port = &port_;
    queue_.index = index;
    queue_.counters = &port_.counters[index];
    if ((port_.features & VIRTIO_F_RING_PACKED) != 0)
      Start<HostilePackedRing>(input);
    else
      Start<HostileSplitRing>(input);
    if (!queue_.is_transmitq()) port_.receivers.push_back(&queue_);
  }

  Port& port() { return port_; }
  Queue& queue() { return queue_; }
  FuzzedMemory& memory() const { return memory_; }
  uint64_t Count(Counter counter) const { return queue_.counters->value[counter]; }
  uint64_t Drops(Fate fate) const { return port_.fates->Read(fate); }

  void Change(Input& input) {
    std::visit([&](auto& ring) { ring->Change(input, memory_, flag()); }, ring_);
  }
  void Offer(uint64_t address, uint32_t bytes) {
    std::visit([&](auto& ring) { ring->Offer(address, bytes, flag()); }, ring_);
  }

 private:
  uint16_t flag() const { return queue_.is_transmitq() ? uint16_t{0} : DescriptorFlags::kWrite; }

  template <class Ring>
  void Start(Input& input) {
    queue_.size = Ring::TakeSize(input);
    const uint32_t base = Ring::TakeBase(input, queue_.size);
    queue_.HoldNew<typename Ring::Queue>();
    const Virtqueue::Layout layout = queue_.ring->LayoutOf(queue_.size);
    uint8_t* const begin = memory_.data(0) + kRingsOffset;
    std::memset(begin, 0, kRingsBytes);
    const Virtqueue::Rings rings = {begin, begin + kAvailOffset, begin + kUsedOffset,
                                    memory_.memory().get()};
    MUST(layout.desc_bytes <= kAvailOffset && layout.avail_bytes <= kUsedOffset - kAvailOffset);
    MUST(layout.used_bytes <= kRingsBytes - kUsedOffset);
    ring_ = std::make_unique<Ring>(rings, queue_.size, base);
    queue_.ring->Start(rings, queue_.size, base, port_.features);
    queue_.started = queue_.enabled = true;
  }

  FuzzedMemory& memory_;
  Port port_{1};
  Queue& queue_;
  std::variant<std::unique_ptr<HostileSplitRing>, std::unique_ptr<HostilePackedRing>> ring_;
};

// A packet behind its header, somewhere among the sender's buffers, and a chain for it.
void SendPacket(Input& input, HostileGuest& sender) {
  constexpr uint8_t kTypes[] = {VIRTIO_NET_HDR_GSO_NONE, VIRTIO_NET_HDR_GSO_TCPV4,
                                VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_HDR_GSO_UDP,
                                VIRTIO_NET_HDR_GSO_UDP_L4};
  Random random(input.Byte());
  const uint32_t payload_bytes = input.Flag() ? input.Take<uint16_t>() % 8192u : input.Byte();
  const Packet packet = RandomPacket(random, payload_bytes);
  const VirtioNetHdr header =
      HeaderOf(packet, kTypes[input.Below(std::size(kTypes))], 48 + input.Byte());
  Bytes bytes = WithHeader(header, sender.port().features, packet.Frame(Checksum::kPartial));
  for (uint32_t changes = input.Below(4); changes > 0; --changes) {
    bytes[input.Byte() % bytes.size()] = input.Byte();
  }
  if (input.Flag()) bytes[0] = bytes[1] = 0;  // plain
  const uint64_t address = FuzzedMemory::kRegions[2].guest + 0x40 * uint64_t{input.Byte()};
  sender.memory().Write(address, bytes.data(), bytes.size());
  sender.Offer(address, static_cast<uint32_t>(bytes.size()));
}

// All of a guest's memory but its rings.
Bytes BuffersOf(const HostileGuest& guest) {
  Bytes bytes;
  for (size_t i = 0; i < FuzzedMemory::kRegions.size(); ++i) {
    const uint8_t* const data = guest.memory().data(i);
    bytes.insert(bytes.end(), data,
                 data + (i == 0 ? kRingsOffset : FuzzedMemory::kRegions[i].bytes));
  }
  return bytes;
}

void RunRound(Forwarder& forwarder, HostileGuest& sender) {
  constexpr Fate kMalformed[] = {Fate::kTooShort, Fate::kTooLong, Fate::kBadHeader};
  const auto counted = [&] {
    uint64_t sum = sender.Count(kFrames);
    for (const Fate fate : kMalformed) sum += sender.Drops(fate);
    return sum;
  };
  const Bytes before = BuffersOf(sender);
  const uint64_t counted_before = counted();
  forwarder.BeginRound();
  forwarder.BeginTurn();
  const uint32_t taken = forwarder.Run(sender.queue(), kSecond);
  MUST(taken <= kBatchFramesMax && counted() == counted_before + taken);
  MUST(BuffersOf(sender) == before);
}

std::shared_ptr<const DirtyLog> NewLog(std::atomic<uint32_t>* lost) {
  constexpr uint64_t kLogBytes = 8;  // too short for most of the memory
  const SharedFile file(kLogBytes);
  std::shared_ptr<const MappedRegion> bitmap;
  const RegionDescription description = {GuestAddress{0}, kLogBytes, UserAddress{0}, 0};
  MUST(MappedRegion::Map(description, file.NewFd(), lost, &bitmap) == MapResult::kOk);
  return std::make_shared<DirtyLog>(std::move(bitmap));
}

void Run(Input& input) {
  static std::atomic<uint32_t> lost{0};
  static const std::shared_ptr<const DirtyLog> log = NewLog(&lost);
  static FuzzedMemory memories[2];
  static EventRing events([](void*) {}, nullptr);
  static Forwarder forwarder(events, false, 0);
  Bridge bridge;
  HostileGuest receiver(input, memories[0], bridge, 0);
  HostileGuest sender(input, memories[1], bridge, 1);
  if (input.Flag()) receiver.port().mtu_bytes = 68 + 8 * uint32_t{input.Byte()};
  receiver.port().dirty_log = log;
  receiver.port().logging = input.Flag();
  receiver.queue().addresses.used_log = 0;
  if (input.Flag()) {
    SourceRule rule;
    rule.networks.push_back({.ipv6 = input.Flag(), .prefix_bits = 1, .address = {}});
    auto sources = std::make_unique<Sources>(std::move(rule));
    sender.port().policies.Swap(sources);
    FindStages(sender.port());
  }
  FindStages(receiver.port());

  while (!input.Done() && sender.queue().Served()) {
    switch (input.Below(8)) {
      case 0: sender.Change(input); break;
      case 1: receiver.Change(input); break;
      case 2:
      case 3: SendPacket(input, sender); break;
      case 4:
      case 5:
        receiver.Offer(FuzzedMemory::kRegions[2].guest + 0x80 * uint64_t{input.Byte()},
                       16 * (1 + uint32_t{input.Byte()}));
        break;
      default: RunRound(forwarder, sender);
    }
  }
  for (Event event; events.Pop(&event);) continue;
}

}  // namespace
}  // namespace tsvswitch

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  tsvswitch::Input input(data, bytes);
  tsvswitch::Run(input);
  return 0;
}
