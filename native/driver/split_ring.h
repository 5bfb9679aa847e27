// A split virtqueue as its driver sees it, wherever the three parts lie: every word by the byte
// offsets of the specification, and where the driver is in its avail ring.
//
// It shares no code and no structure with core but Virtqueue::Rings, which are the three pointers,
// so that a mistake in one of the two shows. It does what it is told, also what no honest driver
// does: split_driver.h has the rings of a guest that shares its memory.
//
// Thread: one; the device may run on another. Sources: virtio 1.2 §2.7.5 (descriptors), §2.7.6
// (avail), §2.7.8 (used), §2.7.7 and §2.7.10 (notifications).

#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/ring/virtqueue.h"
#include "driver/descriptor.h"

namespace tsvswitch {

struct UsedEntry {
  uint32_t id;
  uint32_t bytes;
};

class SplitRing : public DescriptorFlags {
 public:
  static constexpr uint16_t kNoNotify = 1;

  static constexpr uint64_t DescBytes(uint32_t size) { return uint64_t{kDescriptorBytes} * size; }
  // Both end with a word: used_event, avail_event.
  static constexpr uint64_t AvailBytes(uint32_t size) { return kEntries + uint64_t{2} * size + 2; }
  static constexpr uint64_t UsedBytes(uint32_t size) {
    return kEntries + kUsedEntryBytes * size + 2;
  }

  // The driver is at `index`; nothing is written yet.
  SplitRing(const Virtqueue::Rings& parts, uint32_t size, uint16_t index)
      : parts_(parts), size_(size), avail_index_(index) {}

  uint32_t size() const { return size_; }
  // The same ring at another place.
  void MoveTo(const Virtqueue::Rings& parts) { parts_ = parts; }

  void WriteDescriptor(uint32_t index, const SplitDescriptor& descriptor) {
    std::memcpy(parts_.desc + DescBytes(index), BytesOf(descriptor), kDescriptorBytes);
  }
  void WriteDescriptor(uint32_t index, const Buffer& buffer, uint16_t flags, uint16_t next = 0) {
    WriteDescriptor(index, {buffer.guest, buffer.bytes, flags, next});
  }
  SplitDescriptor ReadDescriptor(uint32_t index) const {
    return ReadDescriptorAt<SplitDescriptor>(parts_.desc + DescBytes(index));
  }
  // A chain in descriptors first, first + 1 and so on; `flags` is kWrite or 0.
  void WriteChain(uint32_t first, const std::vector<Buffer>& buffers, uint16_t flags) {
    for (uint32_t i = 0; i < buffers.size(); ++i) {
      const bool last = i + 1 == buffers.size();
      WriteDescriptor(first + i, buffers[i], static_cast<uint16_t>(last ? flags : flags | kNext),
                      static_cast<uint16_t>(first + i + 1));
    }
  }

  // Puts `head` into the avail ring; Publish() lets the device see all that were put.
  void Put(uint16_t head) {
    Avail(HeadOffset(avail_index_)).store(head, std::memory_order_relaxed);
    ++avail_index_;
  }
  void Publish() { PublishIndex(avail_index_); }
  void PublishIndex(uint16_t index) {
    // Release, §2.7.13.3: descriptors and avail entries are written before the index.
    Avail(kIndex).store(index, std::memory_order_release);
    // §2.7.13.4: the index is visible before the device's wish for a kick is read.
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  void Offer(uint16_t head) {
    Put(head);
    Publish();
  }
  // Where the driver is, published or not.
  uint16_t avail_index() const { return avail_index_; }
  // Takes back what was offered from `index` on; the device must be stopped there.
  void ResumeAt(uint16_t index) {
    avail_index_ = index;
    Publish();
  }

  // What the avail ring says, whoever wrote it last.
  uint16_t published_index() const { return Avail(kIndex).load(std::memory_order_relaxed); }
  uint16_t head(uint16_t position) const {
    return Avail(HeadOffset(position)).load(std::memory_order_relaxed);
  }

  void WriteAvailFlags(uint16_t flags) { WriteAvailWord(0, flags); }
  void WriteUsedEvent(uint16_t index) { WriteAvailWord(AvailWords(size_) - 1, index); }
  // Any word of the avail ring: flags, idx, heads, used_event.
  static constexpr uint32_t AvailWords(uint32_t size) { return 3 + size; }
  void WriteAvailWord(uint32_t word, uint16_t value) {
    Avail(uint64_t{2} * word).store(value, std::memory_order_relaxed);
  }

  uint16_t used_index() const {
    // Acquire, §2.7.14: entries and buffers are read after the index.
    return Used<uint16_t>(kIndex).load(std::memory_order_acquire);
  }
  void WriteUsedIndex(uint16_t index) {
    Used<uint16_t>(kIndex).store(index, std::memory_order_relaxed);
  }
  UsedEntry used(uint16_t position) const {
    const uint64_t at = kEntries + kUsedEntryBytes * (position % size_);
    return {Used<uint32_t>(at).load(std::memory_order_relaxed),
            Used<uint32_t>(at + 4).load(std::memory_order_relaxed)};
  }
  uint16_t used_flags() const { return Used<uint16_t>(0).load(std::memory_order_relaxed); }
  uint16_t avail_event() const {
    return Used<uint16_t>(kEntries + kUsedEntryBytes * size_).load(std::memory_order_relaxed);
  }

  // Whether a driver that was at `before` kicks now, §2.7.10: unless the device said NO_NOTIFY, or,
  // with EVENT_IDX, if its avail index has passed avail_event.
  bool WantsKick(uint16_t before, bool event_idx) const {
    if (!event_idx) return (used_flags() & kNoNotify) == 0;
    return static_cast<uint16_t>(avail_index_ - avail_event() - 1) <
           static_cast<uint16_t>(avail_index_ - before);
  }

 private:
  // Avail and used ring alike: flags, idx, then the entries.
  static constexpr uint64_t kIndex = 2;
  static constexpr uint64_t kEntries = 4;
  static constexpr uint64_t kUsedEntryBytes = 8;

  uint64_t HeadOffset(uint16_t position) const {
    return kEntries + uint64_t{2} * (position % size_);
  }
  std::atomic_ref<uint16_t> Avail(uint64_t offset) const {
    return WordAt<uint16_t>(parts_.avail + offset);
  }
  template <class Word>
  std::atomic_ref<Word> Used(uint64_t offset) const {
    return WordAt<Word>(parts_.used + offset);
  }

  Virtqueue::Rings parts_;
  const uint32_t size_;
  uint16_t avail_index_;
};

}  // namespace tsvswitch
