// Every sender with every receiver, whatever the two have negotiated: what one socket sends the
// other receives, byte for byte, in frames that the receiver's features allow.
//
// Packets are TCP and UDP over IPv4 and IPv6, with VLAN tags, options and extension headers; each
// is of a kind that its sender may make. They go through the Forwarder into real rings.

#include <array>
#include <string>

#include "core/forward/forward.h"
#include "driver/net_header.h"
#include "driver/packet.h"
#include "test/check.h"
#include "test/net_guest.h"
#include "test/receiving_guest.h"
#include "test/receiving_stack.h"

namespace tsvswitch {
namespace {

struct FeatureSet {
  const char* name;
  uint64_t features;
};

constexpr uint64_t kTso = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6;
constexpr uint64_t kEcn = kTso | VIRTIO_NET_F_HOST_ECN;
constexpr uint64_t kUfo = kEcn | VIRTIO_NET_F_HOST_UFO;
constexpr FeatureSet kSenders[] = {
    {"nothing", 0}, {"CSUM", VIRTIO_NET_F_CSUM},           {"TSO", kTso}, {"ECN", kEcn},
    {"UFO", kUfo},  {"USO", kUfo | VIRTIO_NET_F_HOST_USO},
};

constexpr uint64_t kGuestTso4 = VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4;
constexpr uint64_t kGuestTso = kGuestTso4 | VIRTIO_NET_F_GUEST_TSO6;
constexpr uint64_t kGuestEcn = kGuestTso | VIRTIO_NET_F_GUEST_ECN;
constexpr uint64_t kGuestUfo = kGuestEcn | VIRTIO_NET_F_GUEST_UFO;
constexpr FeatureSet kReceivers[] = {
    {"nothing", 0},
    {"GUEST_CSUM", VIRTIO_NET_F_GUEST_CSUM},
    {"GUEST_TSO4", kGuestTso4},
    {"GUEST_TSO6", VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO6},
    {"GUEST_TSO", kGuestTso},
    {"GUEST_ECN", kGuestEcn},
    {"GUEST_UFO", kGuestUfo},
    {"GUEST_TSO4 without the GUEST_CSUM it needs", VIRTIO_NET_F_GUEST_TSO4},
    {"GUEST_USO", kGuestUfo | VIRTIO_NET_F_GUEST_USO4 | VIRTIO_NET_F_GUEST_USO6},
};

// A packet with what its driver says of it.
struct Sent {
  Packet packet;
  VirtioNetHdr header;
  size_t chains;  // of a receiver, at most: in segments, fragments or merged buffers
};

constexpr uint8_t kCwr = 0x80;

uint8_t GsoTypeOf(const Packet& packet) {
  return packet.ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
}

// Any packet that a driver with these features may send, of at most the MTU unless it is to be cut.
Sent RandomSent(Random& random, uint64_t features) {
  Sent sent = {RandomPacket(random, 0), {}, 1};
  Packet& packet = sent.packet;
  const size_t headers = packet.payload_at() - packet.network();
  const size_t room = ReceivingStack::kMtu - headers;
  const bool uso = !packet.tcp && (features & VIRTIO_NET_F_HOST_USO) != 0 && random.OneIn(2);
  const bool ufo = !packet.tcp && !uso && (features & VIRTIO_NET_F_HOST_UFO) != 0;
  const bool tso = packet.tcp && (features & VIRTIO_NET_F_HOST_TSO4) != 0;
  if ((!uso && !ufo && !tso) || random.OneIn(4)) {
    packet.payload =
        random.Some(random.OneIn(3) ? room : random.Below(static_cast<uint32_t>(room)));
    if ((features & VIRTIO_NET_F_CSUM) != 0 && !random.OneIn(4)) sent.header = HeaderOf(packet);
    return sent;
  }
  // The longest frame of virtio 1.2 §5.1.6.3.1, or less where IP cannot say its length.
  const size_t longest = std::min(65535 - headers, kFrameBytesMax - packet.payload_at());
  const size_t bytes = random.OneIn(3) ? longest : random.Below(20000);
  packet.payload = random.Some(bytes);
  // Fragments repeat the headers too, and have one of their own.
  const size_t gso_size = ufo               ? (room - 8) / 8 * 8
                          : random.OneIn(2) ? room
                                            : room - random.Below(400);
  uint8_t type = uso ? VIRTIO_NET_HDR_GSO_UDP_L4 : VIRTIO_NET_HDR_GSO_UDP;
  if (tso) {
    const bool ecn = (packet.flags & kCwr) != 0 && (features & VIRTIO_NET_F_HOST_ECN) != 0;
    // Without HOST_ECN a driver does not send what needs it.
    if (!ecn) packet.flags &= static_cast<uint8_t>(~kCwr);
    type = static_cast<uint8_t>(GsoTypeOf(packet) | (ecn ? VIRTIO_NET_HDR_GSO_ECN : 0));
  }
  sent.header = HeaderOf(packet, type, static_cast<uint32_t>(gso_size));
  // A fragmented datagram has up to 68 bytes of headers in its payload; merged buffers have 2 KiB.
  sent.chains = (bytes + 68) / std::min<size_t>(gso_size, 1900) + 1;
  return sent;
}

class Pair {
 public:
  Pair(uint64_t sender_features, uint64_t receiver_features)
      : sender_(VIRTIO_F_VERSION_1 | sender_features),
        receiver_(VIRTIO_F_VERSION_1 | receiver_features),
        stack_(receiver_features) {
    port_.number = 0;
    port_.features = sender_.features();
    port_.memory = sender_.ram().Map(&port_.lost);
    Queue& transmitq = port_.queues[1];
    transmitq.port = &port_;
    transmitq.index = 1;
    transmitq.counters = &counters_;
    transmitq.HoldNew<SplitQueue>();
    transmitq.ring->Start(sender_.transmitq().RingsIn(*port_.memory), sender_.transmitq().size(), 0,
                          sender_.features());
    transmitq.started = transmitq.enabled = true;
    receiver_.port.number = 1;
    bridge_.members[0] = &port_;
    bridge_.members[1] = &receiver_.port;
    bridge_.hearers = bridge_.ListHearers(kNoPort, kNoPort);
    port_.bridge = receiver_.port.bridge = &bridge_;
  }

  void Send(const Sent& sent, uint32_t pieces) {
    const bool partial = sent.header.flags != 0;
    const Bytes frame = sent.packet.Frame(partial ? Checksum::kPartial : Checksum::kComplete);
    CHECK(sender_.SendRaw(WithHeader(sent.header, sender_.features(), frame), pieces));
    under_way_.push_back(sent);
    chains_under_way_ += sent.chains;
  }
  // Whether the receiver has buffers for one more.
  bool HasRoomFor(const Sent& sent) const {
    return chains_under_way_ + sent.chains <= receiver_.chains();
  }

  // Forwards what is under way as one batch and holds the receiver to what was sent.
  void Settle() {
    CHECK_EQ(forwarder_.Run(port_.queues[1], 100), under_way_.size());
    CHECK_EQ(sender_.Sending(), 0u);
    std::vector<ReceivedFrame> frames = receiver_.Receive();
    received_frames_ += frames.size();
    size_t next = 0;
    for (const Sent& sent : under_way_) CheckReceived(sent, frames, &next);
    CHECK_EQ(next, frames.size());
    CHECK(!stack_.WaitsForFragments());
    under_way_.clear();
    chains_under_way_ = 0;
    for (auto fate = static_cast<uint8_t>(kFirstDrop); fate < kFates; ++fate) {
      const Fate drop = static_cast<Fate>(fate);
      CHECK_EQ(port_.fates->Read(drop) + receiver_.port.fates->Read(drop), 0u);
    }
    CHECK_EQ(receiver_.counters.value[kNoBuffer], 0u);
    CHECK_EQ(receiver_.counters.value[kFrames], received_frames_);
  }

  uint64_t received_frames() const { return received_frames_; }

 private:
  // Frames from *next on are `sent`, as it is or in segments.
  void CheckReceived(const Sent& sent, const std::vector<ReceivedFrame>& frames, size_t* next) {
    const Packet& packet = sent.packet;
    Bytes payload;
    for (bool first = true; first || payload.size() < packet.payload.size(); first = false) {
      std::optional<ReceivedData> data;
      while (!data) {
        CHECK(*next < frames.size());
        data = stack_.Take(frames[(*next)++]);
      }
      CHECK_EQ(data->tcp, packet.tcp);
      const bool last = payload.size() + data->payload.size() >= packet.payload.size();
      if (packet.tcp) {
        CHECK_EQ(data->sequence, static_cast<uint32_t>(packet.sequence + payload.size()));
        // FIN and PSH belong to the last byte, CWR to the first.
        const int kept = (last ? 0xff : 0xff - 9) & (first ? 0xff : 0xff - kCwr);
        CHECK_EQ(data->flags, packet.flags & kept);
      }
      if (data->gso_size != 0) {
        CHECK_EQ(data->gso_size, sent.header.gso_size);
        CHECK(last && first);
      } else if (IsCutAt(sent)) {
        CHECK(data->payload.size() == sent.header.gso_size || last);
        CHECK(data->payload.size() <= sent.header.gso_size);
      }
      Append(&payload, data->payload);
    }
    CHECK(payload == packet.payload);
  }
  // Whether segments of it carry exactly gso_size; fragments become one datagram again.
  static bool IsCutAt(const Sent& sent) {
    return sent.header.gso_type != VIRTIO_NET_HDR_GSO_NONE &&
           sent.header.gso_type != VIRTIO_NET_HDR_GSO_UDP;
  }

  NetGuest sender_;
  ReceivingGuest receiver_;
  ReceivingStack stack_;
  Port port_{1};
  QueueCounters counters_ = {};
  Bridge bridge_;
  EventRing events_{[](void*) {}, nullptr};
  Forwarder forwarder_{events_, false, 0};
  std::vector<Sent> under_way_;
  size_t chains_under_way_ = 0;
  uint64_t received_frames_ = 0;
};

// All senders to receivers of one kind of ring and buffers.
void CheckAllPairs(uint64_t ring) {
  constexpr uint32_t kPackets = 24;
  for (const FeatureSet& from : kSenders) {
    for (const FeatureSet& to : kReceivers) {
      Pair pair(from.features, to.features | ring);
      Random random(static_cast<uint32_t>(from.features ^ to.features >> 3 ^ ring));
      uint32_t number = 0;
      try {
        for (; number < kPackets; ++number) {
          const Sent sent = RandomSent(random, from.features);
          if (!pair.HasRoomFor(sent) || random.OneIn(4)) pair.Settle();
          pair.Send(sent, random.Between(1, NetGuest::kPiecesMax));
        }
        pair.Settle();
      } catch (const CheckFailed&) {
        std::printf("  from %s to %s, about packet %u\n", from.name, to.name, number);
        throw;
      }
      // Whoever takes whole what the other may send gets no more frames than were sent.
      const bool cut = pair.received_frames() > kPackets;
      const bool all = (to.features & VIRTIO_NET_F_GUEST_USO4) != 0;
      CHECK(!all || !cut);
      CHECK(cut || all || (from.features & VIRTIO_NET_F_HOST_TSO4) == 0 ||
            (to.features & VIRTIO_NET_F_GUEST_TSO6) != 0);
    }
  }
}

FACT("into split rings with mergeable buffers") { CheckAllPairs(VIRTIO_NET_F_MRG_RXBUF); }
FACT("into split rings with one chain a frame") { CheckAllPairs(0); }
FACT("into packed rings with mergeable buffers") {
  CheckAllPairs(VIRTIO_F_RING_PACKED | VIRTIO_NET_F_MRG_RXBUF);
}
FACT("into packed rings with one chain a frame") { CheckAllPairs(VIRTIO_F_RING_PACKED); }

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
