// See guest.h. Offsets inside the rings are written out once, here.

#include "guest.h"

#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace tsvswitch {

namespace {

// The test itself went wrong (no memory, an address it never had): nothing it says counts any more.
[[noreturn]] void Impossible(const char* what) {
  std::perror(what);
  std::abort();
}

// §2.7.6 and §2.7.8: flags, idx, then the entries.
constexpr uint64_t kIndexOffset = 2;
constexpr uint64_t kEntriesOffset = 4;
constexpr uint64_t kDescriptorBytes = 16;
constexpr uint64_t kUsedEntryBytes = 8;

template <class T>
void StoreAt(uint8_t* at, T value, std::memory_order order = std::memory_order_relaxed) {
  std::atomic_ref<T>(*reinterpret_cast<T*>(at)).store(value, order);
}
template <class T>
T LoadAt(uint8_t* at, std::memory_order order = std::memory_order_relaxed) {
  return std::atomic_ref<T>(*reinterpret_cast<T*>(at)).load(order);
}

// §2.7.5: addr, len, flags, next. Byte by byte, because a table may lie across two regions.
std::vector<uint8_t> DescriptorBytes(const Buffer& buffer, uint16_t flags, uint16_t next) {
  std::vector<uint8_t> bytes(kDescriptorBytes);
  std::memcpy(&bytes[0], &buffer.guest, 8);
  std::memcpy(&bytes[8], &buffer.bytes, 4);
  std::memcpy(&bytes[12], &flags, 2);
  std::memcpy(&bytes[14], &next, 2);
  return bytes;
}

}  // namespace

size_t OpenFdCount() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) Impossible("/proc/self/fd");
  size_t count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count - 3;  // ".", ".." and the directory itself
}

SharedFile::SharedFile(uint64_t bytes) : bytes_(bytes), fd_(memfd_create("guest", MFD_CLOEXEC)) {
  if (fd_ < 0 || ftruncate(fd_, static_cast<off_t>(bytes)) != 0) Impossible("memfd");
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (at == MAP_FAILED) Impossible("mmap");
  data_ = static_cast<uint8_t*>(at);
}

SharedFile::~SharedFile() {
  munmap(data_, bytes_);
  close(fd_);
}

int SharedFile::NewFd() const {
  const int fd = dup(fd_);
  if (fd < 0) Impossible("dup");
  return fd;
}

void SharedFile::Truncate(uint64_t bytes) {
  if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) Impossible("ftruncate");
}

GuestRam::GuestRam(std::vector<Region> regions) {
  for (const Region& region : regions) {
    places_.push_back({region, std::make_unique<SharedFile>(region.mmap_offset + region.bytes), 0});
  }
}

uint8_t* GuestRam::At(uint64_t guest, uint64_t bytes) const {
  for (const Place& place : places_) {
    const uint64_t offset = guest - place.region.guest;
    if (offset < place.region.bytes && bytes <= place.region.bytes - offset) {
      return place.file->data() + place.region.mmap_offset + offset;
    }
  }
  Impossible("an address that this guest does not have");
}

void GuestRam::Write(uint64_t guest, const std::vector<uint8_t>& bytes) const {
  for (size_t i = 0; i < bytes.size(); ++i) *At(guest + i, 1) = bytes[i];
}

std::vector<uint8_t> GuestRam::Read(uint64_t guest, uint64_t bytes) const {
  std::vector<uint8_t> read(bytes);
  for (size_t i = 0; i < bytes; ++i) read[i] = *At(guest + i, 1);
  return read;
}

uint64_t GuestRam::Allocate(uint64_t bytes, uint64_t alignment) {
  for (Place& place : places_) {
    const uint64_t free = place.region.guest + place.used;
    const uint64_t begin = (free + alignment - 1) / alignment * alignment;
    if (begin + bytes > place.region.guest + place.region.bytes) continue;
    place.used = begin + bytes - place.region.guest;
    return begin;
  }
  Impossible("this guest's memory is too small for the test");
}

RegionWithFile GuestRam::ShareRegion(size_t index) const {
  const Place& place = places_[index];
  return {{.guest = GuestAddress{place.region.guest},
           .bytes = place.region.bytes,
           .user = UserOf(place.region.guest),
           .mmap_offset = place.region.mmap_offset},
          place.file->NewFd()};
}

std::vector<RegionWithFile> GuestRam::Share() const {
  std::vector<RegionWithFile> regions;
  for (size_t i = 0; i < places_.size(); ++i) regions.push_back(ShareRegion(i));
  return regions;
}

std::shared_ptr<const GuestMemory> GuestRam::Map(std::atomic<uint32_t>* lost) const {
  std::vector<std::shared_ptr<const MappedRegion>> mapped;
  for (const RegionWithFile& region : Share()) {
    mapped.emplace_back();
    if (MappedRegion::Map(region.description, region.fd, lost, &mapped.back()) != MapResult::kOk) {
      Impossible("mapping a region");
    }
  }
  std::shared_ptr<const GuestMemory> memory;
  if (GuestMemory::Build(std::move(mapped), &memory) != MapResult::kOk) Impossible("memory");
  return memory;
}

SplitDriver::SplitDriver(GuestRam& ram, uint32_t size, uint16_t index)
    : ram_(ram),
      size_(size),
      desc_(ram.Allocate(kDescriptorBytes * size, 16)),
      avail_(ram.Allocate(kEntriesOffset + 2 * size + 2, 2)),
      used_(ram.Allocate(kEntriesOffset + kUsedEntryBytes * size + 2, 4)),
      avail_index_(index) {
  Publish();
  StoreAt<uint16_t>(ram_.At(used_ + kIndexOffset, 2), index);
}

RingAddresses SplitDriver::addresses() const {
  return {GuestRam::UserOf(desc_), GuestRam::UserOf(avail_), GuestRam::UserOf(used_)};
}

SplitQueue::Rings SplitDriver::RingsIn(const GuestMemory& memory) const {
  const SplitQueue::Rings rings = {
      memory.TranslateRing(GuestRam::UserOf(desc_), kDescriptorBytes * size_),
      memory.TranslateRing(GuestRam::UserOf(avail_), kEntriesOffset + 2 * size_ + 2),
      memory.TranslateRing(GuestRam::UserOf(used_), kEntriesOffset + kUsedEntryBytes * size_ + 2)};
  if (rings.desc == nullptr || rings.avail == nullptr || rings.used == nullptr) {
    Impossible("a ring outside of the memory");
  }
  return rings;
}

void SplitDriver::WriteDescriptor(uint32_t index, const Buffer& buffer, uint16_t flags,
                                  uint16_t next) {
  WriteIndirect(desc_, index, buffer, flags, next);
}

void SplitDriver::WriteIndirect(uint64_t table, uint32_t index, const Buffer& buffer,
                                uint16_t flags, uint16_t next) {
  ram_.Write(table + kDescriptorBytes * index, DescriptorBytes(buffer, flags, next));
}

void SplitDriver::WriteChain(uint32_t first, const std::vector<Buffer>& buffers, uint16_t flags) {
  for (uint32_t i = 0; i < buffers.size(); ++i) {
    const bool last = i + 1 == buffers.size();
    WriteDescriptor(first + i, buffers[i], static_cast<uint16_t>(last ? flags : flags | kNext),
                    static_cast<uint16_t>(first + i + 1));
  }
}

void SplitDriver::Put(uint16_t head) {
  StoreAt<uint16_t>(ram_.At(avail_ + kEntriesOffset + 2 * (avail_index_ % size_), 2), head);
  ++avail_index_;
}

void SplitDriver::PublishIndex(uint16_t index) {
  // Release, §2.7.13.3: descriptors and avail entries are written before the index.
  StoreAt<uint16_t>(ram_.At(avail_ + kIndexOffset, 2), index, std::memory_order_release);
  // §2.7.13.4: the index is visible before the device's wish for a kick is read.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

uint16_t SplitDriver::used_index() const {
  // Acquire, §2.7.14: entries and buffers are read after the index.
  return LoadAt<uint16_t>(ram_.At(used_ + kIndexOffset, 2), std::memory_order_acquire);
}

UsedEntry SplitDriver::used(uint16_t position) const {
  uint8_t* at =
      ram_.At(used_ + kEntriesOffset + kUsedEntryBytes * (position % size_), kUsedEntryBytes);
  return {LoadAt<uint32_t>(at), LoadAt<uint32_t>(at + 4)};
}

uint16_t SplitDriver::used_flags() const { return LoadAt<uint16_t>(ram_.At(used_, 2)); }

uint16_t SplitDriver::avail_event() const {
  return LoadAt<uint16_t>(ram_.At(used_ + kEntriesOffset + kUsedEntryBytes * size_, 2));
}

void SplitDriver::WriteAvailFlags(uint16_t flags) { StoreAt<uint16_t>(ram_.At(avail_, 2), flags); }

void SplitDriver::WriteUsedEvent(uint16_t index) {
  StoreAt<uint16_t>(ram_.At(avail_ + kEntriesOffset + 2 * size_, 2), index);
}

}  // namespace tsvswitch
