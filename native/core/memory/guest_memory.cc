// See guest_memory.h. Mapping checks all that the kernel would only notice at the first access.

#include "core/memory/guest_memory.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace tsvswitch {

namespace {

uint64_t Begin(GuestAddress address) { return static_cast<uint64_t>(address); }
uint64_t Begin(UserAddress address) { return static_cast<uint64_t>(address); }

bool EndWraps(uint64_t begin, uint64_t bytes) { return begin + bytes < begin; }

template <class Address>
bool AnyOverlap(const std::vector<std::shared_ptr<const MappedRegion>>& regions,
                Address RegionDescription::* address) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& region : regions) {
    const uint64_t begin = Begin(region->description.*address);
    ranges.emplace_back(begin, begin + region->description.bytes);
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) return true;
  }
  return false;
}

class ClosedAtEnd {
 public:
  explicit ClosedAtEnd(int fd) : fd_(fd) {}
  ClosedAtEnd(const ClosedAtEnd&) = delete;
  ClosedAtEnd& operator=(const ClosedAtEnd&) = delete;
  ~ClosedAtEnd() {
    const int saved = errno;
    if (fd_ >= 0) close(fd_);
    errno = saved;
  }

 private:
  const int fd_;
};

}  // namespace

MapResult MappedRegion::Map(const RegionDescription& description, int fd,
                            std::atomic<uint32_t>* lost,
                            std::shared_ptr<const MappedRegion>* region) {
  const ClosedAtEnd owned(fd);
  const uint64_t bytes = description.bytes;
  if (bytes == 0) return MapResult::kEmpty;
  if (EndWraps(Begin(description.guest), bytes) || EndWraps(Begin(description.user), bytes) ||
      EndWraps(description.mmap_offset, bytes)) {
    return MapResult::kWraps;
  }
  struct stat status = {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return MapResult::kNotAFile;
  if (description.mmap_offset + bytes > static_cast<uint64_t>(status.st_size)) {
    return MapResult::kFileTooSmall;
  }
  // On hugetlbfs offset and length must be multiples of the huge page, which is st_blksize there.
  const auto page = static_cast<uint64_t>(std::max<long>(status.st_blksize, sysconf(_SC_PAGESIZE)));
  const uint64_t before = description.mmap_offset % page;
  const uint64_t map_bytes = (before + bytes + page - 1) / page * page;
  void* begin = mmap(nullptr, map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
                     static_cast<off_t>(description.mmap_offset - before));
  if (begin == MAP_FAILED) return MapResult::kMmapFailed;
  // Guest memory is the guest's: it belongs in no core file of ours.
  madvise(begin, map_bytes, MADV_DONTDUMP);
  region->reset(
      new MappedRegion(description, static_cast<uint8_t*>(begin) + before, begin, map_bytes, lost));
  return MapResult::kOk;
}

MappedRegion::MappedRegion(const RegionDescription& d, uint8_t* host, void* map_begin,
                           size_t map_bytes, std::atomic<uint32_t>* lost)
    : description(d),
      data(host),
      map_begin_(map_begin),
      map_bytes_(map_bytes),
      guard_(map_begin, map_bytes, lost) {}

MappedRegion::~MappedRegion() {
  guard_ = SigbusGuard();
  munmap(map_begin_, map_bytes_);
}

MapResult GuestMemory::Build(std::vector<std::shared_ptr<const MappedRegion>> regions,
                             std::shared_ptr<const GuestMemory>* memory) {
  if (regions.size() > kMemorySlotsMax) return MapResult::kTooMany;
  if (AnyOverlap(regions, &RegionDescription::guest) ||
      AnyOverlap(regions, &RegionDescription::user)) {
    return MapResult::kOverlaps;
  }
  auto built = std::make_shared<GuestMemory>();
  for (const auto& region : regions) {
    built->table_.push_back(
        {Begin(region->description.guest), region->description.bytes, region->data});
  }
  std::sort(built->table_.begin(), built->table_.end(),
            [](const Entry& a, const Entry& b) { return a.guest < b.guest; });
  for (const Entry& entry : built->table_) {
    if (entry.bytes > built->largest_.bytes) built->largest_ = entry;
  }
  built->by_data_ = built->table_;
  std::sort(built->by_data_.begin(), built->by_data_.end(),
            [](const Entry& a, const Entry& b) { return a.data < b.data; });
  built->regions_ = std::move(regions);
  *memory = std::move(built);
  return MapResult::kOk;
}

MapResult GuestMemory::With(std::shared_ptr<const MappedRegion> region,
                            std::shared_ptr<const GuestMemory>* memory) const {
  auto regions = regions_;
  regions.push_back(std::move(region));
  return Build(std::move(regions), memory);
}

MapResult GuestMemory::Without(const RegionDescription& description,
                               std::shared_ptr<const GuestMemory>* memory) const {
  auto regions = regions_;
  const auto found = std::find_if(regions.begin(), regions.end(), [&](const auto& region) {
    return region->description.guest == description.guest &&
           region->description.user == description.user &&
           region->description.bytes == description.bytes;
  });
  if (found == regions.end()) return MapResult::kNoSuchRegion;
  regions.erase(found);
  return Build(std::move(regions), memory);
}

GuestMemory::Entry GuestMemory::Find(uint64_t address) const {
  const auto after =
      std::upper_bound(table_.begin(), table_.end(), address,
                       [](uint64_t a, const Entry& entry) { return a < entry.guest; });
  if (after == table_.begin()) return {0, 0, nullptr};
  const Entry& entry = *(after - 1);
  return address - entry.guest < entry.bytes ? entry : Entry{0, 0, nullptr};
}

uint8_t* GuestMemory::TranslateRing(UserAddress address, uint64_t bytes) const {
  for (const auto& region : regions_) {
    const uint64_t offset = Begin(address) - Begin(region->description.user);
    if (offset < region->description.bytes && bytes <= region->description.bytes - offset) {
      return region->data + offset;
    }
  }
  return nullptr;
}

uint64_t GuestMemory::GuestAddressOf(const uint8_t* data) const {
  // Each piece of a frame asks, and a guest may have 509 regions.
  const auto after =
      std::upper_bound(by_data_.begin(), by_data_.end(), data,
                       [](const uint8_t* at, const Entry& entry) { return at < entry.data; });
  if (after == by_data_.begin()) return kNoGuestAddress;
  const Entry& entry = *(after - 1);
  const auto offset = static_cast<uint64_t>(data - entry.data);
  return offset < entry.bytes ? entry.guest + offset : kNoGuestAddress;
}

bool Translator::Read(uint64_t address, void* to, uint32_t bytes) {
  auto* out = static_cast<uint8_t*>(to);
  // Every turn copies at least one byte, so `bytes` bounds the loop.
  while (bytes > 0) {
    const Span span = (*this)(address, bytes);
    if (span.bytes == 0) return false;
    std::memcpy(out, span.data, span.bytes);
    out += span.bytes;
    bytes -= static_cast<uint32_t>(span.bytes);
    // Wraps to 0 only at the very end of the address space, where nothing is mapped (kWraps).
    address += span.bytes;
  }
  return true;
}

}  // namespace tsvswitch
