// See net_guest.h.

#include "net_guest.h"

#include <algorithm>

#include "check.h"
#include "driver/net_header.h"

namespace tsvswitch {

namespace {

uint64_t RamBytes(const ReceiveShape& shape) {
  const uint64_t receive = uint64_t{shape.chains} * shape.buffers_per_chain * shape.buffer_bytes;
  return receive + 64 * 65600 + (1 << 16);
}

void AppendMac(FrameBytes& frame, uint64_t mac) {
  for (int shift = 40; shift >= 0; shift -= 8) frame.push_back(static_cast<uint8_t>(mac >> shift));
}

}  // namespace

FrameBytes MakeFrame(uint64_t destination, uint64_t source, uint32_t bytes, uint32_t number) {
  FrameBytes frame;
  AppendMac(frame, destination);
  AppendMac(frame, source);
  frame.push_back(0x88);  // IEEE 802 local experimental EtherType 1
  frame.push_back(0xb5);
  // The number comes first where there is room, then bytes that no shift by a little leaves equal.
  for (int shift = 24; shift >= 0; shift -= 8)
    frame.push_back(static_cast<uint8_t>(number >> shift));
  uint32_t state = number * 2654435761u + bytes;
  while (frame.size() < bytes) {
    state = state * 1664525u + 1013904223u;
    frame.push_back(static_cast<uint8_t>(state >> 24));
  }
  frame.resize(bytes);
  return frame;
}

NetGuest::NetGuest(uint64_t features, const ReceiveShape& shape)
    : features_(features),
      shape_(shape),
      ram_(GuestRam::OfBytes(RamBytes(shape))),
      receiveq_(ram_, kQueueSize),
      transmitq_(ram_, kQueueSize),
      slots_(ram_.Allocate(uint64_t{kSlots} * kSlotBytes, 64)),
      chains_(shape.chains) {
  CHECK(shape.chains * shape.buffers_per_chain <= kQueueSize);
  for (uint32_t i = 0; i < shape.chains; ++i) {
    for (uint32_t j = 0; j < shape.buffers_per_chain; ++j) {
      chains_[i].buffers.push_back({ram_.Allocate(shape.buffer_bytes), shape.buffer_bytes});
    }
    receiveq_.WriteChain(i * shape.buffers_per_chain, chains_[i].buffers, SplitDriver::kWrite);
  }
}

void NetGuest::SetHeader(uint8_t flags, uint8_t gso_type) {
  header_.flags = flags;
  header_.gso_type = gso_type;
}

bool NetGuest::Send(const FrameBytes& frame, uint32_t pieces) {
  return SendRaw(WithHeader(header_, features_, frame), pieces);
}

bool NetGuest::SendRaw(const std::vector<uint8_t>& bytes, uint32_t pieces) {
  CHECK(pieces <= kPiecesMax && bytes.size() <= kSlotBytes);
  if (Sending() == kSlots) return false;
  const uint32_t slot = sent_++ % kSlots;
  const uint64_t at = slots_ + uint64_t{slot} * kSlotBytes;
  std::copy(bytes.begin(), bytes.end(), ram_.At(at, kSlotBytes));
  // The first pieces are short, so that headers are cut too; the last one takes the rest.
  std::vector<Buffer> buffers;
  const auto size = static_cast<uint32_t>(bytes.size());
  uint32_t begin = 0;
  for (uint32_t i = 0; i < pieces; ++i) {
    const uint32_t left = size - begin;
    const uint32_t part = i + 1 == pieces ? left : std::min(left, 7u);
    buffers.push_back({at + begin, part});
    begin += part;
  }
  transmitq_.WriteChain(slot * kPiecesMax, buffers, 0);
  transmitq_.Offer(static_cast<uint16_t>(slot * kPiecesMax));
  return true;
}

uint32_t NetGuest::Sending() {
  const uint16_t used = transmitq_.used_index();
  while (static_cast<uint16_t>(returned_) != used) {
    CHECK(returned_ != sent_);
    // This device returns transmit chains in order.
    const UsedEntry entry = transmitq_.used(static_cast<uint16_t>(returned_));
    CHECK_EQ(entry.id, returned_ % kSlots * kPiecesMax);
    CHECK_EQ(entry.bytes, 0u);
    ++returned_;
  }
  return sent_ - returned_;
}

uint32_t NetGuest::Post(uint32_t count) {
  uint32_t posted = 0;
  for (uint32_t looked = 0; looked < shape_.chains && posted < count; ++looked) {
    ReceiveChain& chain = chains_[next_post_ % shape_.chains];
    if (chain.posted) break;
    chain.posted = true;
    for (const Buffer& buffer : chain.buffers) {
      std::fill_n(ram_.At(buffer.guest, buffer.bytes), buffer.bytes, uint8_t{0xee});
    }
    receiveq_.Put(static_cast<uint16_t>(next_post_ % shape_.chains * shape_.buffers_per_chain));
    ++next_post_;
    ++posted;
  }
  receiveq_.Publish();
  return posted;
}

// The used bytes of one chain.
std::vector<uint8_t> NetGuest::TakeChain(const UsedEntry& used) {
  CHECK_EQ(used.id % shape_.buffers_per_chain, 0u);
  const uint32_t number = used.id / shape_.buffers_per_chain;
  CHECK(number < shape_.chains);
  ReceiveChain& chain = chains_[number];
  CHECK(chain.posted);
  chain.posted = false;
  std::vector<uint8_t> bytes;
  uint32_t left = used.bytes;
  for (const Buffer& buffer : chain.buffers) {
    const uint8_t* at = ram_.At(buffer.guest, buffer.bytes);
    const uint32_t part = std::min(left, buffer.bytes);
    bytes.insert(bytes.end(), at, at + part);
    left -= part;
    // What lies behind the frame in its buffers was not touched.
    CHECK(std::all_of(at + part, at + buffer.bytes, [](uint8_t byte) { return byte == 0xee; }));
  }
  CHECK_EQ(left, 0u);
  return bytes;
}

std::vector<FrameBytes> NetGuest::Receive() {
  std::vector<FrameBytes> frames;
  const uint32_t header_bytes = HeaderBytes(features_);
  const uint16_t used = receiveq_.used_index();
  while (taken_ != used) {
    std::vector<uint8_t> bytes = TakeChain(receiveq_.used(taken_++));
    CHECK(bytes.size() >= header_bytes);
    CHECK(std::all_of(bytes.begin(), bytes.begin() + 10, [](uint8_t byte) { return byte == 0; }));
    // §5.1.6.4: num_buffers is 1 where nothing was merged.
    const uint32_t num_buffers = header_bytes == 12 ? bytes[10] + 256u * bytes[11] : 1;
    CHECK(num_buffers >= 1);
    CHECK(num_buffers == 1 || (features_ & VIRTIO_NET_F_MRG_RXBUF) != 0);
    for (uint32_t i = 1; i < num_buffers; ++i) {
      CHECK(taken_ != used);  // all buffers of a frame become visible at once
      const std::vector<uint8_t> more = TakeChain(receiveq_.used(taken_++));
      bytes.insert(bytes.end(), more.begin(), more.end());
    }
    frames.emplace_back(bytes.begin() + header_bytes, bytes.end());
  }
  return frames;
}

}  // namespace tsvswitch
