// Guest memory: what is mapped, what is refused, and how addresses become pointers.
//
// Sources: vhost-user "Memory region description", "Maximum number of memory slots".

#include "core/memory/guest_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <numeric>

#include "driver/guest_ram.h"
#include "test/check.h"
#include "test/open_fds.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kRegionBytes = 4 * kPage;
constexpr uint64_t kBase = 1 << 20;
std::atomic<uint32_t> lost{0};

std::vector<uint8_t> Counting(size_t bytes) {
  std::vector<uint8_t> counting(bytes);
  std::iota(counting.begin(), counting.end(), uint8_t{1});
  return counting;
}

RegionDescription Describe(uint64_t guest, uint64_t bytes, uint64_t user, uint64_t offset = 0) {
  return {GuestAddress{guest}, bytes, UserAddress{user}, offset};
}

// What Map() says of a region of a file of kRegionBytes; the region lives in *mapped.
MapResult MapOfFile(const RegionDescription& region,
                    std::shared_ptr<const MappedRegion>* mapped = nullptr) {
  const SharedFile file(kRegionBytes);
  std::shared_ptr<const MappedRegion> unused;
  return MappedRegion::Map(region, file.NewFd(), &lost, mapped != nullptr ? mapped : &unused);
}

std::shared_ptr<const MappedRegion> Mapped(uint64_t guest, uint64_t bytes, uint64_t user) {
  std::shared_ptr<const MappedRegion> mapped;
  CHECK_EQ(MapOfFile(Describe(guest, bytes, user), &mapped), MapResult::kOk);
  return mapped;
}

Span Translate(const GuestMemory& memory, uint64_t guest, uint64_t bytes) {
  return Translator(memory)(guest, bytes);
}

// The pieces of a buffer, as a queue collects them; empty if part of it is unmapped.
std::vector<Span> Pieces(const GuestMemory& memory, uint64_t guest, uint64_t bytes) {
  std::vector<Span> pieces;
  Translator translate(memory);
  while (bytes > 0) {
    const Span span = translate(guest, bytes);
    if (span.bytes == 0) return {};
    pieces.push_back(span);
    guest += span.bytes;
    bytes -= span.bytes;
  }
  return pieces;
}

FACT("an address inside a region becomes a pointer to the same bytes") {
  const GuestRam ram({{kBase, kRegionBytes}});
  const auto memory = ram.Map(&lost);
  *ram.At(kBase + 100, 1) = 0x5a;
  const Span span = Translate(*memory, kBase + 100, 50);
  CHECK_EQ(span.bytes, 50u);
  CHECK_EQ(*span.data, 0x5a);
  *span.data = 0xa5;
  CHECK_EQ(*ram.At(kBase + 100, 1), 0xa5);
}

FACT("an address just outside a region is in none, whatever was translated before") {
  const GuestRam ram({{kBase, kRegionBytes}, {8 * kBase, kRegionBytes}});
  const auto memory = ram.Map(&lost);
  for (const uint64_t outside : {uint64_t{0}, kBase - 1, kBase + kRegionBytes, 8 * kBase - 1,
                                 8 * kBase + kRegionBytes, ~uint64_t{0}}) {
    CHECK_EQ(Translate(*memory, outside, 1).bytes, 0u);
    for (const uint64_t before : {kBase, 8 * kBase}) {
      Translator translate(*memory);
      CHECK_EQ(translate(before, 1).bytes, 1u);
      CHECK_EQ(translate(outside, 1).bytes, 0u);
      CHECK_EQ(translate(before, 1).bytes, 1u);
    }
  }
}

FACT("memory without regions maps nothing") {
  const GuestMemory memory;
  CHECK_EQ(Translate(memory, 0, 1).bytes, 0u);
  CHECK(memory.TranslateRing(UserAddress{0}, 1) == nullptr);
  CHECK_EQ(memory.region_count(), 0u);
}

FACT("a buffer that starts inside and ends outside is cut at the region's end") {
  const GuestRam ram({{kBase, kRegionBytes}});
  const auto memory = ram.Map(&lost);
  const Span span = Translate(*memory, kBase + kRegionBytes - 3, 10);
  CHECK_EQ(span.bytes, 3u);
  CHECK(Pieces(*memory, kBase + kRegionBytes - 3, 10).empty());
}

FACT("a buffer may span two regions that are adjacent for the guest only") {
  const GuestRam ram({{kBase + kRegionBytes, kRegionBytes}, {kBase, kRegionBytes}});
  const auto memory = ram.Map(&lost);
  const std::vector<uint8_t> bytes = Counting(10);
  ram.Write(kBase + kRegionBytes - 4, bytes);
  const std::vector<Span> pieces = Pieces(*memory, kBase + kRegionBytes - 4, 10);
  CHECK_EQ(pieces.size(), 2u);
  CHECK_EQ(pieces[0].bytes, 4u);
  CHECK_EQ(pieces[1].bytes, 6u);
  CHECK_EQ(pieces[0].data[3], bytes[3]);
  CHECK_EQ(pieces[1].data[0], bytes[4]);
}

FACT("a buffer may not span a gap of one byte") {
  const GuestRam ram({{kBase, kRegionBytes}, {kBase + kRegionBytes + 1, kRegionBytes}});
  const auto memory = ram.Map(&lost);
  CHECK(Pieces(*memory, kBase + kRegionBytes - 4, 10).empty());
  CHECK_EQ(Pieces(*memory, kBase + kRegionBytes - 4, 4).size(), 1u);
  CHECK_EQ(Pieces(*memory, kBase + kRegionBytes + 1, 4).size(), 1u);
}

FACT("Read copies across borders and copies nothing that is unmapped") {
  const GuestRam ram({{kBase, kPage}, {kBase + kPage, kPage}, {kBase + 3 * kPage, kPage}});
  const auto memory = ram.Map(&lost);
  const std::vector<uint8_t> bytes = Counting(16);
  ram.Write(kBase + kPage - 7, bytes);
  std::vector<uint8_t> read(16);
  Translator translate(*memory);
  CHECK(translate.Read(kBase + kPage - 7, read.data(), 16));
  CHECK(read == bytes);
  CHECK(!translate.Read(kBase + 2 * kPage - 15, read.data(), 16));
  CHECK(!translate.Read(kBase + 3 * kPage - 1, read.data(), 1));
}

FACT("a ring is translated by user address, as a whole or not at all") {
  const GuestRam ram({{kBase, kRegionBytes}, {kBase + kRegionBytes, kRegionBytes}});
  const auto memory = ram.Map(&lost);
  *ram.At(kBase + 64, 1) = 0x77;
  const uint8_t* ring = memory->TranslateRing(GuestRam::UserOf(kBase + 64), kRegionBytes - 64);
  CHECK(ring != nullptr);
  CHECK_EQ(*ring, 0x77);
  CHECK(memory->TranslateRing(GuestRam::UserOf(kBase + 64), kRegionBytes - 63) == nullptr);
  CHECK(memory->TranslateRing(GuestRam::UserOf(kBase - 1), 2) == nullptr);
  CHECK(memory->TranslateRing(GuestRam::UserOf(kBase + 64), ~uint64_t{0}) == nullptr);
}

FACT("guest addresses and user addresses are not taken for each other") {
  const GuestRam ram({{kBase, kRegionBytes}});
  const auto memory = ram.Map(&lost);
  CHECK(memory->TranslateRing(UserAddress{kBase}, 1) == nullptr);
  CHECK_EQ(Translate(*memory, kBase + GuestRam::kUserOffset, 1).bytes, 0u);
}

FACT("a region whose mmap offset is not page aligned begins at that offset") {
  const GuestRam ram({{kBase, kPage, 5000}});
  const auto memory = ram.Map(&lost);
  const std::vector<uint8_t> bytes = Counting(kPage);
  ram.Write(kBase, bytes);
  std::vector<uint8_t> read(kPage);
  Translator translate(*memory);
  CHECK(translate.Read(kBase, read.data(), kPage));
  CHECK(read == bytes);
}

FACT("a region of zero bytes is refused") {
  CHECK_EQ(MapOfFile(Describe(kBase, 0, kBase)), MapResult::kEmpty);
}

FACT("a region that wraps is refused: guest address, user address, file offset") {
  const uint64_t high = ~uint64_t{0} - kPage + 1;  // + kPage is 2^64
  CHECK_EQ(MapOfFile(Describe(high, kPage, kBase)), MapResult::kWraps);
  CHECK_EQ(MapOfFile(Describe(kBase, kPage, high)), MapResult::kWraps);
  CHECK_EQ(MapOfFile(Describe(kBase, kPage, kBase, high)), MapResult::kWraps);
  CHECK_EQ(MapOfFile(Describe(high - 1, kPage, kBase)), MapResult::kOk);
}

FACT("a region that passes the end of its file is refused") {
  CHECK_EQ(MapOfFile(Describe(kBase, kRegionBytes + 1, kBase)), MapResult::kFileTooSmall);
  CHECK_EQ(MapOfFile(Describe(kBase, kRegionBytes, kBase, 1)), MapResult::kFileTooSmall);
  CHECK_EQ(MapOfFile(Describe(kBase, kPage, kBase, kRegionBytes - kPage)), MapResult::kOk);
}

FACT("regions that overlap for the guest are refused, in any order") {
  const auto first = Mapped(kBase, kPage, kBase);
  const auto second = Mapped(kBase + kPage - 1, kPage, 8 * kBase);
  std::shared_ptr<const GuestMemory> memory;
  CHECK_EQ(GuestMemory::Build({first, second}, &memory), MapResult::kOverlaps);
  CHECK_EQ(GuestMemory::Build({second, first}, &memory), MapResult::kOverlaps);
  CHECK(memory == nullptr);
}

FACT("regions that overlap for the frontend are refused") {
  const auto first = Mapped(kBase, kPage, kBase);
  const auto second = Mapped(8 * kBase, kPage, kBase + kPage - 1);
  std::shared_ptr<const GuestMemory> memory;
  CHECK_EQ(GuestMemory::Build({first, second}, &memory), MapResult::kOverlaps);
}

FACT("509 regions are accepted and found, a 510th is refused") {
  std::vector<std::shared_ptr<const MappedRegion>> regions;
  for (uint64_t i = 0; i < kMemorySlotsMax; ++i) {
    regions.push_back(Mapped(kBase + 2 * i * kPage, kPage, 2 * i * kPage));
  }
  std::shared_ptr<const GuestMemory> memory;
  CHECK_EQ(GuestMemory::Build(regions, &memory), MapResult::kOk);
  CHECK_EQ(memory->region_count(), 509u);
  for (uint64_t i = 0; i < kMemorySlotsMax; ++i) {
    CHECK(Translate(*memory, kBase + 2 * i * kPage, 1).data == regions[i]->data);
  }
  std::shared_ptr<const GuestMemory> more;
  CHECK_EQ(memory->With(Mapped(0, kPage, 8 * kBase), &more), MapResult::kTooMany);
  CHECK(more == nullptr);
}

FACT("a region is removed by guest address, user address and size") {
  const auto first = Mapped(kBase, kPage, kBase);
  const auto second = Mapped(8 * kBase, kPage, 8 * kBase);
  std::shared_ptr<const GuestMemory> memory;
  CHECK_EQ(GuestMemory::Build({first, second}, &memory), MapResult::kOk);
  std::shared_ptr<const GuestMemory> less;
  CHECK_EQ(memory->Without(Describe(kBase, kPage, 8 * kBase), &less), MapResult::kNoSuchRegion);
  CHECK_EQ(memory->Without(Describe(kBase, 2 * kPage, kBase), &less), MapResult::kNoSuchRegion);
  CHECK_EQ(memory->Without(Describe(kBase, kPage, kBase, 123), &less), MapResult::kOk);
  CHECK_EQ(Translate(*less, kBase, 1).bytes, 0u);
  CHECK_EQ(Translate(*less, 8 * kBase, 1).bytes, 1u);
  CHECK_EQ(Translate(*memory, kBase, 1).bytes, 1u);
}

FACT("what is not a file is refused: a pipe, a socket, a directory, no fd at all") {
  const RegionDescription region = Describe(kBase, kPage, kBase);
  std::shared_ptr<const MappedRegion> mapped;
  int pipes[2];
  int sockets[2];
  CHECK_EQ(pipe(pipes), 0);
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  const int directory = open("/", O_RDONLY | O_DIRECTORY);
  for (const int fd : {pipes[0], sockets[0], directory, -1}) {
    CHECK_EQ(MappedRegion::Map(region, fd, &lost, &mapped), MapResult::kNotAFile);
  }
  close(pipes[1]);
  close(sockets[1]);
}

FACT("a file that may only be read is refused, with errno") {
  char path[] = "/tmp/tsvswitch-guest-memory-XXXXXX";
  const int writable = mkstemp(path);
  const int readable = open(path, O_RDONLY);
  unlink(path);
  CHECK_EQ(ftruncate(writable, kPage), 0);
  std::shared_ptr<const MappedRegion> mapped;
  errno = 0;
  CHECK_EQ(MappedRegion::Map(Describe(kBase, kPage, kBase), readable, &lost, &mapped),
           MapResult::kMmapFailed);
  CHECK_EQ(errno, EACCES);
  close(writable);
}

FACT("a passed fd is closed on every path, and mapping keeps none open") {
  const size_t before = OpenFdCount();
  {
    const uint64_t high = ~uint64_t{0} - kPage + 1;
    std::shared_ptr<const MappedRegion> mapped;
    for (const RegionDescription& region :
         {Describe(kBase, 0, kBase), Describe(high, kPage, kBase),
          Describe(kBase, kRegionBytes + 1, kBase), Describe(kBase, kPage, kBase)}) {
      MapOfFile(region, &mapped);
      CHECK_EQ(OpenFdCount(), before);
    }
    CHECK(mapped != nullptr);
  }
  int pipes[2];
  CHECK_EQ(pipe(pipes), 0);
  std::shared_ptr<const MappedRegion> mapped;
  MappedRegion::Map(Describe(kBase, kPage, kBase), pipes[0], &lost, &mapped);
  CHECK_EQ(fcntl(pipes[0], F_GETFD), -1);
  close(pipes[1]);
  CHECK_EQ(OpenFdCount(), before);
}

FACT("the mapping lives as long as the last memory that holds it") {
  const GuestRam ram({{kBase, kPage}});
  *ram.At(kBase, 1) = 0x42;
  auto memory = ram.Map(&lost);
  std::shared_ptr<const GuestMemory> more;
  CHECK_EQ(memory->With(Mapped(8 * kBase, kPage, 8 * kBase), &more), MapResult::kOk);
  memory.reset();
  CHECK_EQ(*Translate(*more, kBase, 1).data, 0x42);
  uint8_t* const data = Translate(*more, kBase, 1).data;
  more.reset();
  unsigned char resident;
  CHECK_EQ(mincore(data, kPage, &resident), -1);
  CHECK_EQ(errno, ENOMEM);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
