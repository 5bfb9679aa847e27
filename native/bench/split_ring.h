// The driver's side of one split virtqueue whose descriptors each own one buffer for life.
//
// Descriptor i always points at buffer i, so sending or receiving a frame writes no descriptor, and
// an avail entry is written only when it changes: with a backend that returns buffers in order, the
// only ring line a frame ever dirties is the one of avail->idx, once per batch. That is what makes
// the client cheap; it is also what an in-order driver may do (virtio 1.2 §2.7). The further pieces
// of buffers that have some lie behind the first pieces of all, chained once and for all.
//
// The driver polls, so interrupts are suppressed for good. Kicks are given only while the device
// asks for them: Publish() leaves a note, KickWanted() is asked once per round and looks at
// used->flags. The note stays until it could be delivered, so a flag that is read too early is read
// again in the next round, and no fence is needed between avail->idx and used->flags (virtio 1.2
// §2.7.13.4).
//
// Single threaded. What the device writes is bounds-checked, because a broken backend must give a
// sentence and not a wrong number.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "buffers.h"
#include "port_memory.h"
#include "queue.h"
#include "virtio.h"

namespace tsvswitch::bench {

class SplitRing {
 public:
  static constexpr uint16_t kSizeMax = 32768;

  // How much memory the ring takes beside its buffers, rounding included.
  static size_t MemoryBytes(uint16_t size);

  SplitRing(PortMemory& memory, uint16_t size, const Buffers& buffers);

  QueueLayout layout() const { return {size_, desc_, avail_, used_}; }

  // How many used entries wait to be taken, as far as `limit`.
  uint16_t Completed(uint16_t limit) {
    const uint16_t index = __atomic_load_n(&used_->idx, __ATOMIC_ACQUIRE);  // before the entries
    const auto waiting = static_cast<uint16_t>(index - next_used_);
    if (waiting > buffers_) [[unlikely]]
      FailOnIndex(index);
    return waiting < limit ? waiting : limit;
  }

  // The used entry `ahead` of the next one; only if Completed() was greater than `ahead`.
  UsedBuffer Peek(uint16_t ahead) const {
    const auto slot = static_cast<uint16_t>(next_used_ + ahead) & mask_;
    const virtq_used_elem entry = used_->ring()[slot];
    if (entry.id >= buffers_) [[unlikely]]
      FailOnId(entry.id);
    return {entry.id, entry.len};
  }

  // Hands `count` used entries back to the caller for good.
  void Take(uint16_t count) { next_used_ = static_cast<uint16_t>(next_used_ + count); }

  // Makes buffer `id` the next avail entry; the device sees it after Publish().
  void Post(uint32_t id) {
    uint16_t& entry = avail_->ring()[next_avail_ & mask_];
    const auto wanted = static_cast<uint16_t>(id);
    if (entry != wanted) entry = wanted;
    ++next_avail_;
  }

  // Posts the next `count` used entries again, in their order, and takes them.
  void Repost(uint16_t count) {
    for (uint16_t i = 0; i < count; ++i) Post(Peek(i).id);
    Take(count);
  }

  void Publish() {
    __atomic_store_n(&avail_->idx, next_avail_, __ATOMIC_RELEASE);  // after entries and frames
    unannounced_ = true;
  }

  // Whether the device asks to be kicked for what was published since the last kick.
  bool KickWanted() {
    if (!unannounced_) return false;
    const uint16_t flags = __atomic_load_n(&used_->flags, __ATOMIC_RELAXED);
    if ((flags & VIRTQ_USED_F_NO_NOTIFY) != 0) return false;
    unannounced_ = false;
    return true;
  }

 private:
  [[noreturn]] void FailOnIndex(uint16_t index) const;
  [[noreturn]] void FailOnId(uint32_t id) const;

  virtq_desc* desc_;
  virtq_avail* avail_;
  virtq_used* used_;
  uint16_t size_;
  uint16_t mask_;
  uint16_t buffers_;
  uint16_t next_avail_ = 0;
  uint16_t next_used_ = 0;
  bool unannounced_ = false;
};

}  // namespace tsvswitch::bench
