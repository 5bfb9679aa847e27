// The stage Mtu: frames that are longer than a guest takes end in front of it.
//
// Its MTU is what its frontend said it is (Port::mtu_bytes). A frame that its sender left to be
// segmented has segments whose length counts, if it is segmented for this guest: whoever does that
// looks at them (deliver.cc).
//
// Thread: the worker whose batch it is. Source: virtio 1.2 §5.1.4.1.

#include "core/frame/packet_headers.h"
#include "core/policy/stages.h"

namespace tsvswitch {

namespace {

// A VLAN tag is no part of the MTU.
bool IsOverMtu(const Frame& frame, uint32_t mtu_bytes) {
  if (frame.body.bytes <= kEthernetHeaderBytes + mtu_bytes) [[likely]]
    return false;
  if (frame.offload.header.gso_type != VIRTIO_NET_HDR_GSO_NONE) return false;
  uint8_t start[kEthernetHeaderBytes];
  Gather(frame.body, start, sizeof(start));
  const uint32_t tag_bytes = IsVlanTag(LoadNetwork16(start + 12)) ? kVlanTagBytes : 0;
  return frame.body.bytes > kEthernetHeaderBytes + tag_bytes + mtu_bytes;
}

}  // namespace

bool HasMtu(const Port& port) { return port.mtu_bytes != kNoMtu; }

void RunMtu(StageContext&, Delivery& delivery) {
  const uint32_t mtu_bytes = delivery.to.mtu_bytes;
  FrameList& list = delivery.list;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < list.count; ++i) {
    const uint8_t number = list.frame[i];
    if (IsOverMtu(delivery.frames[number], mtu_bytes)) [[unlikely]] {
      delivery.outcomes.End(number, Fate::kOverMtu);
    } else {
      list.frame[kept++] = number;
    }
  }
  list.count = kept;
}

}  // namespace tsvswitch
