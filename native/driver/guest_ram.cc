// See guest_ram.h.

#include "driver/guest_ram.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace tsvswitch {

namespace {

// Whoever plays the guest went wrong (no memory, an address it never had): nothing it says counts
// any more.
[[noreturn]] void Impossible(const char* what) {
  std::perror(what);
  std::abort();
}

}  // namespace

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

Span GuestRam::Find(uint64_t guest) const {
  for (const Place& place : places_) {
    const uint64_t offset = guest - place.region.guest;
    if (offset < place.region.bytes) {
      return {place.file->data() + place.region.mmap_offset + offset, place.region.bytes - offset};
    }
  }
  return {nullptr, 0};
}

uint8_t* GuestRam::At(uint64_t guest, uint64_t bytes) const {
  const Span found = Find(guest);
  if (found.bytes == 0 || found.bytes < bytes) {
    Impossible("an address that this guest does not have");
  }
  return found.data;
}

void GuestRam::Write(uint64_t guest, const uint8_t* from, uint64_t bytes) const {
  for (uint64_t i = 0; i < bytes; ++i) *At(guest + i, 1) = from[i];
}

std::vector<uint8_t> GuestRam::Read(uint64_t guest, uint64_t bytes) const {
  std::vector<uint8_t> read(bytes);
  for (uint64_t i = 0; i < bytes; ++i) read[i] = *At(guest + i, 1);
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

std::vector<std::shared_ptr<const MappedRegion>> GuestRam::MapRegions(
    std::atomic<uint32_t>* lost) const {
  std::vector<std::shared_ptr<const MappedRegion>> mapped;
  for (const RegionWithFile& region : Share()) {
    mapped.emplace_back();
    if (MappedRegion::Map(region.description, region.fd, lost, &mapped.back()) != MapResult::kOk) {
      Impossible("mapping a region");
    }
  }
  return mapped;
}

std::shared_ptr<const GuestMemory> GuestRam::Map(std::atomic<uint32_t>* lost) const {
  std::shared_ptr<const GuestMemory> memory;
  if (GuestMemory::Build(MapRegions(lost), &memory) != MapResult::kOk) Impossible("memory");
  return memory;
}

uint8_t* GuestRam::RingIn(const GuestMemory& memory, uint64_t guest, uint64_t bytes) {
  uint8_t* const part = memory.TranslateRing(UserOf(guest), bytes);
  if (part == nullptr) Impossible("a ring outside of the memory");
  return part;
}

}  // namespace tsvswitch
