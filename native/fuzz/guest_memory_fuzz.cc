// Fuzz target: the regions that a frontend describes, and the addresses that its guest and it then
// use.
//
// An input is a sequence of regions added and removed, with any numbers, over files of a few pages;
// after each change addresses of both kinds are translated. The model is a list of the regions that
// were accepted, searched from end to end, and the rules for one region with numbers that do not
// wrap. Every fd handed over must be closed, accepted or not.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/memory/guest_memory.h"
#include "input.h"

namespace tsvswitch {
namespace {

__extension__ typedef unsigned __int128 Wide;

constexpr uint64_t kFileBytes = 0x6000;
constexpr uint32_t kRegionsMax = 12;

uint64_t Guest(const RegionDescription& region) { return static_cast<uint64_t>(region.guest); }
uint64_t User(const RegionDescription& region) { return static_cast<uint64_t>(region.user); }

// What the file holds.
uint8_t ContentAt(uint64_t offset) { return static_cast<uint8_t>(offset * 7 + offset / 251); }

bool Meet(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) {
  return a < Wide{b} + b_bytes && b < Wide{a} + a_bytes;
}

MapResult ExpectedMap(const RegionDescription& region) {
  constexpr Wide kEnd = Wide{1} << 64;
  if (region.bytes == 0) return MapResult::kEmpty;
  for (const uint64_t begin : {Guest(region), User(region), region.mmap_offset}) {
    if (Wide{begin} + region.bytes >= kEnd) return MapResult::kWraps;
  }
  return region.mmap_offset + region.bytes > kFileBytes ? MapResult::kFileTooSmall : MapResult::kOk;
}

// Near to others, or anywhere.
uint64_t TakeNumber(Input& input) {
  const uint8_t choice = input.Byte();
  if (choice >= 0xf0) return input.Take<uint64_t>();
  if (choice >= 0xe0) return uint64_t{0} - input.Take<uint16_t>();
  return uint64_t{0x800} * (choice % 32) + (choice >= 0xc0 ? input.Byte() : 0);
}

class MemoryRun {
 public:
  MemoryRun(Input& input, int file) : input_(input), file_(file) {}

  void Run() {
    while (!input_.Done()) {
      input_.Below(3) != 0 ? Add() : Remove();
      MUST(memory_->region_count() == model_.size());
      Translate(TakeNumber(input_), TakeNumber(input_));
    }
    for (const auto& region : model_) {
      const RegionDescription& at = region->description;
      Translate(Guest(at), at.bytes + 1);
      Translate(Guest(at) + at.bytes - 1, 2);
      Translate(Guest(at) + at.bytes, 1);
    }
  }

 private:
  void Add() {
    const RegionDescription wanted = {GuestAddress{TakeNumber(input_)}, TakeNumber(input_),
                                      UserAddress{TakeNumber(input_)}, TakeNumber(input_)};
    const int fd = fcntl(file_, F_DUPFD_CLOEXEC, 0);
    std::shared_ptr<const MappedRegion> region;
    const MapResult mapped = MappedRegion::Map(wanted, fd, &lost_, &region);
    MUST(fcntl(fd, F_GETFD) == -1);
    MUST(mapped == ExpectedMap(wanted));
    if (mapped != MapResult::kOk) return;
    MUST(region->data[0] == ContentAt(wanted.mmap_offset));
    MUST(region->data[wanted.bytes - 1] == ContentAt(wanted.mmap_offset + wanted.bytes - 1));
    bool meets = false;
    for (const auto& other : model_) {
      const RegionDescription& at = other->description;
      meets |= Meet(Guest(at), at.bytes, Guest(wanted), wanted.bytes);
      meets |= Meet(User(at), at.bytes, User(wanted), wanted.bytes);
    }
    const std::shared_ptr<const GuestMemory> before = memory_;
    const MapResult added = before->With(region, &memory_);
    MUST(added == (meets ? MapResult::kOverlaps : MapResult::kOk));
    if (meets)
      MUST(memory_ == before);
    else
      model_.push_back(region);
    if (model_.size() > kRegionsMax) Remove();
  }

  void Remove() {
    if (model_.empty()) return;
    const uint32_t index = input_.Below(static_cast<uint32_t>(model_.size()));
    RegionDescription named = model_[index]->description;
    named.mmap_offset ^= input_.Byte();  // does not count
    const bool wrong = input_.Byte() == 0xff;
    if (wrong) ++named.bytes;
    const MapResult removed = memory_->Without(named, &memory_);
    MUST(removed == (wrong ? MapResult::kNoSuchRegion : MapResult::kOk));
    if (!wrong) model_.erase(model_.begin() + index);
  }

  void Translate(uint64_t address, uint64_t bytes) const {
    Span expected = {nullptr, 0};
    uint8_t* ring = nullptr;
    for (const auto& region : model_) {
      const RegionDescription& at = region->description;
      if (Meet(Guest(at), at.bytes, address, 1)) {
        const uint64_t offset = address - Guest(at);
        expected = {region->data + offset, std::min(bytes, at.bytes - offset)};
      }
      if (address >= User(at) && Wide{address} + bytes <= Wide{User(at)} + at.bytes &&
          address - User(at) < at.bytes) {
        ring = region->data + (address - User(at));
      }
    }
    const Span found = Translator(*memory_)(address, bytes);
    MUST(found.bytes == expected.bytes && (found.bytes == 0 || found.data == expected.data));
    MUST(memory_->TranslateRing(UserAddress{address}, bytes) == ring);
    if (expected.bytes != 0) MUST(memory_->GuestAddressOf(expected.data) == address);
    uint8_t read[64];
    const auto some = static_cast<uint32_t>(bytes % (sizeof(read) + 1));
    MUST(Translator(*memory_).Read(address, read, some) == IsMapped(address, some));
  }

  // Whether every one of these bytes is in some region.
  bool IsMapped(uint64_t address, uint32_t bytes) const {
    for (uint32_t i = 0; i < bytes; ++i) {
      const uint64_t byte = address + i;
      if (std::none_of(model_.begin(), model_.end(), [byte](const auto& region) {
            return Meet(Guest(region->description), region->description.bytes, byte, 1);
          })) {
        return false;
      }
    }
    return true;
  }

  Input& input_;
  const int file_;
  std::atomic<uint32_t> lost_{0};
  std::shared_ptr<const GuestMemory> memory_ = std::make_shared<GuestMemory>();
  std::vector<std::shared_ptr<const MappedRegion>> model_;
};

int NewFile() {
  const int file = memfd_create("fuzzed", MFD_CLOEXEC);
  std::vector<uint8_t> content(kFileBytes);
  for (uint64_t i = 0; i < kFileBytes; ++i) content[i] = ContentAt(i);
  MUST(write(file, content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  return file;
}

}  // namespace
}  // namespace tsvswitch

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  static const int file = tsvswitch::NewFile();
  tsvswitch::Input input(data, bytes);
  tsvswitch::MemoryRun(input, file).Run();
  return 0;
}
