// The device's side of two rings, as bare as it gets. See reflector.h.

#include "reflector.h"

#include <string.h>

#include "cpu.h"
#include "prefetch.h"
#include "virtio.h"

namespace tsvswitch::bench {

namespace {

constexpr uint16_t kBatchMax = 64;

// The device's view of one ring: guest addresses become pointers by one subtraction.
class DeviceRing {
 public:
  DeviceRing(const PortMemory& memory, const QueueLayout& layout)
      : desc_(static_cast<const virtq_desc*>(layout.desc)),
        avail_(static_cast<const virtq_avail*>(layout.avail)),
        used_(static_cast<virtq_used*>(const_cast<void*>(layout.used))),
        offset_(memory.user_base() - PortMemory::kGuestBase),
        mask_(static_cast<uint16_t>(layout.size - 1)) {}

  uint16_t Available() const {
    return static_cast<uint16_t>(__atomic_load_n(&avail_->idx, __ATOMIC_ACQUIRE) - next_);
  }
  uint16_t Head(uint16_t ahead) const { return avail_->ring()[(next_ + ahead) & mask_]; }
  uint8_t* Buffer(uint16_t head) const {
    return reinterpret_cast<uint8_t*>(desc_[head].addr + offset_);
  }
  uint32_t Length(uint16_t head) const { return desc_[head].len; }
  // As the driver does with avail entries: one that is right already is left alone.
  void Return(uint16_t ahead, uint16_t head, uint32_t bytes) {
    virtq_used_elem& entry = used_->ring()[(next_ + ahead) & mask_];
    if (entry.id != head || entry.len != bytes) entry = {.id = head, .len = bytes};
  }
  void Publish(uint16_t count) {
    next_ = static_cast<uint16_t>(next_ + count);
    __atomic_store_n(&used_->idx, next_, __ATOMIC_RELEASE);  // after entries and frames
  }

 private:
  const virtq_desc* desc_;
  const virtq_avail* avail_;
  virtq_used* used_;
  uint64_t offset_;
  uint16_t mask_;
  uint16_t next_ = 0;
};

struct Path {
  DeviceRing from;
  DeviceRing to;
};

void Move(Path& path) {
  uint16_t count = path.from.Available();
  if (count > kBatchMax) count = kBatchMax;
  const uint16_t room = path.to.Available();
  if (count > room) count = room;
  if (count == 0) return;
  uint16_t heads[kBatchMax];
  for (uint16_t i = 0; i < count; ++i) {
    heads[i] = path.from.Head(i);
    PrefetchForRead(path.from.Buffer(heads[i]));
    PrefetchForWrite(path.to.Buffer(path.to.Head(i)));
  }
  for (uint16_t i = 0; i < count; ++i) {
    const uint16_t receive_head = path.to.Head(i);
    const uint32_t bytes = path.from.Length(heads[i]);
    uint8_t* buffer = path.to.Buffer(receive_head);
    memcpy(buffer, path.from.Buffer(heads[i]), bytes);
    buffer[offsetof(virtio_net_hdr, num_buffers)] = 1;
    path.to.Return(i, receive_head, bytes);
    path.from.Return(i, heads[i], 0);
  }
  path.to.Publish(count);
  path.from.Publish(count);
}

}  // namespace

Reflector::Reflector(const std::vector<RingPort*>& ports, int cpu) {
  std::vector<Path> paths;
  for (size_t i = 0; i < ports.size(); ++i) {
    const RingPort& from = *ports[i];
    const RingPort& to = *ports[i ^ 1];
    paths.push_back({DeviceRing(from.memory(), from.transmitq_layout()),
                     DeviceRing(to.memory(), to.receiveq_layout())});
  }
  thread_ = std::thread([this, cpu, paths = std::move(paths)]() mutable {
    PinThread(cpu);
    while (!stop_.load(std::memory_order_relaxed)) {
      for (Path& path : paths) Move(path);
    }
  });
}

Reflector::~Reflector() {
  stop_.store(true, std::memory_order_relaxed);
  thread_.join();
}

}  // namespace tsvswitch::bench
