// One shared file per port, on huge pages or not. See port_memory.h.

#include "port_memory.h"

#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "failure.h"

namespace tsvswitch::bench {

namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

constexpr size_t RoundUp(size_t value, size_t power_of_two) {
  return (value + power_of_two - 1) & ~(power_of_two - 1);
}

// An mmap of a hugetlb file reserves its pages, so success here means no SIGBUS later.
struct Mapping {
  int fd;
  void* base;
};

Mapping MapFile(MemoryKind kind, size_t size_bytes) {
  const unsigned huge = kind == MemoryKind::kHugetlbfs ? MFD_HUGETLB | MFD_HUGE_2MB : 0;
  const int fd = memfd_create("flood-port", MFD_CLOEXEC | huge);
  if (fd < 0) return {-1, MAP_FAILED};
  if (ftruncate(fd, static_cast<off_t>(size_bytes)) != 0) {
    close(fd);
    return {-1, MAP_FAILED};
  }
  void* base = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  return {fd, base};
}

}  // namespace

const char* Name(MemoryKind kind) { return kind == MemoryKind::kHugetlbfs ? "hugetlbfs" : "memfd"; }

bool PortMemory::HugePagesSuffice(size_t size_bytes) {
  const size_t rounded = RoundUp(size_bytes, kHugePageBytes);
  const Mapping probe = MapFile(MemoryKind::kHugetlbfs, rounded);
  const bool suffices = probe.base != MAP_FAILED;
  if (suffices) munmap(probe.base, rounded);
  if (probe.fd >= 0) close(probe.fd);
  return suffices;
}

PortMemory::PortMemory(MemoryKind kind, size_t size_bytes)
    : size_bytes_(RoundUp(size_bytes, kHugePageBytes)) {
  const Mapping mapping = MapFile(kind, size_bytes_);
  if (mapping.base == MAP_FAILED) {
    FailErrno("%zu MiB of %s memory for a port cannot be had%s", size_bytes_ >> 20, Name(kind),
              kind == MemoryKind::kHugetlbfs ? " (see /proc/sys/vm/nr_hugepages)" : "");
  }
  fd_ = mapping.fd;
  base_ = static_cast<uint8_t*>(mapping.base);
}

PortMemory::~PortMemory() {
  munmap(base_, size_bytes_);
  close(fd_);
}

uint8_t* PortMemory::Allocate(size_t size_bytes, size_t alignment_bytes) {
  const size_t start = RoundUp(allocated_bytes_, alignment_bytes);
  if (start + size_bytes > size_bytes_) {
    Fail("a port's memory of %zu bytes is too small for its rings and buffers", size_bytes_);
  }
  allocated_bytes_ = start + size_bytes;
  return base_ + start;
}

}  // namespace tsvswitch::bench
