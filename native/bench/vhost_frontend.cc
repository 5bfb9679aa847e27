// Requests out, replies in, over one blocking socket with time limits. See vhost_frontend.h.

#include "vhost_frontend.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "failure.h"
#include "virtio.h"

namespace tsvswitch::bench {

namespace {

enum Request : uint32_t {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kSetMemTable = 5,
  kSetVringNum = 8,
  kSetVringAddr = 9,
  kSetVringBase = 10,
  kSetVringKick = 12,
  kSetVringCall = 13,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kSetVringEnable = 18,
};

constexpr uint32_t kFlagVersion = 0x1;
constexpr uint32_t kFlagReply = 0x4;
constexpr uint32_t kFlagNeedReply = 0x8;

constexpr uint64_t VHOST_USER_F_PROTOCOL_FEATURES = uint64_t{1} << 30;
constexpr uint64_t VHOST_USER_PROTOCOL_F_REPLY_ACK = uint64_t{1} << 3;

constexpr time_t kReplyTimeoutS = 10;  // A DPDK backend may be busy mapping and pinning memory.
constexpr useconds_t kConnectRetryUs = 20'000;
constexpr size_t kFdsMax = 1;
// Index 0 in both halves; the wrap counters (bits 15 and 31) begin at 1.
constexpr uint32_t kPackedStart = 0x80008000;

struct VringState {
  uint32_t queue;
  uint32_t number;
};

struct VringAddresses {
  uint32_t queue;
  uint32_t flags;
  uint64_t desc;
  uint64_t used;
  uint64_t avail;
  uint64_t log;
};

// A SET_MEM_TABLE of exactly one region.
struct MemTable {
  uint32_t region_count;
  uint32_t padding;
  uint64_t guest_address;
  uint64_t size_bytes;
  uint64_t user_address;
  uint64_t mmap_offset;
};

uint64_t NeededFeatures(const FrontendWishes& wishes) {
  uint64_t features = VIRTIO_F_VERSION_1;
  if (wishes.packed) features |= VIRTIO_F_RING_PACKED;
  if (wishes.segmentation) {
    features |= VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_GUEST_CSUM |
                VIRTIO_NET_F_GUEST_TSO4;
  }
  return features;
}

double MonotonicSeconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

struct VhostFrontend::Message {
  uint32_t request;
  uint32_t flags;
  uint32_t size_bytes;
  union {
    uint64_t u64;
    VringState state;
    VringAddresses addresses;
    MemTable mem_table;
  } __attribute__((packed)) payload;

  explicit Message(uint32_t request_number, uint32_t payload_bytes = 0)
      : request(request_number), flags(kFlagVersion), size_bytes(payload_bytes), payload{} {}
} __attribute__((packed));

VhostFrontend::~VhostFrontend() {
  for (const Eventfds& pair : eventfds_) {
    close(pair.kick);
    close(pair.call);
  }
  if (fd_ >= 0) close(fd_);
}

void VhostFrontend::Connect(double timeout_s) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.size() >= sizeof(address.sun_path)) {
    Fail("socket path %s has %zu bytes; at most %zu are possible", path_.c_str(), path_.size(),
         sizeof(address.sun_path) - 1);
  }
  memcpy(address.sun_path, path_.c_str(), path_.size() + 1);

  fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) FailErrno("no socket can be made");
  const timeval limit{kReplyTimeoutS, 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));

  const double deadline = MonotonicSeconds() + timeout_s;
  while (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    const bool may_come = errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN;
    if (!may_come || MonotonicSeconds() > deadline) {
      FailErrno("no backend listens on %s after %.1f s", path_.c_str(), timeout_s);
    }
    usleep(kConnectRetryUs);
  }

  const uint64_t needed = NeededFeatures(wishes_);
  const uint64_t offered = Ask(kGetFeatures);
  if ((offered & needed) != needed) {
    Fail("%s: the backend offers features 0x%llx, without 0x%llx that this needs", path_.c_str(),
         static_cast<unsigned long long>(offered),
         static_cast<unsigned long long>(needed & ~offered));
  }
  features_ = needed | (offered & (VIRTIO_NET_F_MRG_RXBUF | VHOST_USER_F_PROTOCOL_FEATURES));
  if ((features_ & VHOST_USER_F_PROTOCOL_FEATURES) != 0) {
    protocol_features_ = Ask(kGetProtocolFeatures) & VHOST_USER_PROTOCOL_F_REPLY_ACK;
    Message message(kSetProtocolFeatures, sizeof(uint64_t));
    message.payload.u64 = protocol_features_;
    Send(message, nullptr, 0);
  }
  Message owner(kSetOwner);
  Tell(owner);
  Message features(kSetFeatures, sizeof(uint64_t));
  features.payload.u64 = features_;
  Tell(features);
}

void VhostFrontend::Start(const PortMemory& memory, const std::vector<QueueLayout>& layouts) {
  Message table(kSetMemTable, sizeof(MemTable));
  table.payload.mem_table = {
      .region_count = 1,
      .padding = 0,
      .guest_address = PortMemory::kGuestBase,
      .size_bytes = memory.size_bytes(),
      .user_address = memory.user_base(),
      .mmap_offset = 0,
  };
  const int memory_fd = memory.fd();
  Tell(table, &memory_fd, 1);

  for (uint32_t queue = 0; queue < layouts.size(); ++queue) StartQueue(queue, layouts[queue]);
  if ((features_ & VHOST_USER_F_PROTOCOL_FEATURES) != 0) {
    for (uint32_t queue = 0; queue < layouts.size(); ++queue) {
      Message enable(kSetVringEnable, sizeof(VringState));
      enable.payload.state = {queue, 1};
      Tell(enable);
    }
  }
  Ask(kGetFeatures);
  // VPP takes a port into service only after one kick on each ring.
  for (uint32_t queue = 0; queue < layouts.size(); ++queue) Kick(queue);
}

void VhostFrontend::StartQueue(uint32_t queue, const QueueLayout& layout) {
  const Eventfds pair{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
                      eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
  if (pair.kick < 0 || pair.call < 0) FailErrno("%s: no eventfd can be made", path_.c_str());
  eventfds_.push_back(pair);

  Message number(kSetVringNum, sizeof(VringState));
  number.payload.state = {queue, layout.size};
  Tell(number);
  Message base(kSetVringBase, sizeof(VringState));
  base.payload.state = {queue, wishes_.packed ? kPackedStart : 0};
  Tell(base);
  Message addresses(kSetVringAddr, sizeof(VringAddresses));
  addresses.payload.addresses = {
      .queue = queue,
      .flags = 0,
      .desc = PortMemory::UserAddress(layout.desc),
      .used = PortMemory::UserAddress(layout.used),
      .avail = PortMemory::UserAddress(layout.avail),
      .log = 0,
  };
  Tell(addresses);
  // The call eventfd goes first: some backends look at a ring as soon as its kick eventfd is there.
  Message call(kSetVringCall, sizeof(uint64_t));
  call.payload.u64 = queue;
  Tell(call, &pair.call, 1);
  Message kick(kSetVringKick, sizeof(uint64_t));
  kick.payload.u64 = queue;
  Tell(kick, &pair.kick, 1);
}

void VhostFrontend::Kick(size_t queue) const {
  const uint64_t one = 1;
  // A full counter (EAGAIN) means that the backend has a kick waiting already.
  if (write(eventfds_[queue].kick, &one, sizeof(one)) < 0 && errno != EAGAIN) {
    FailErrno("%s: queue %zu cannot be kicked", path_.c_str(), queue);
  }
}

bool VhostFrontend::Alive() const {
  char byte;
  const ssize_t got = recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

void VhostFrontend::Send(Message& message, const int* fds, size_t fd_count) {
  iovec bytes{&message, offsetof(Message, payload) + message.size_bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(kFdsMax * sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  if (fd_count > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
  }
  const ssize_t sent = sendmsg(fd_, &header, MSG_NOSIGNAL);
  if (sent < 0) FailErrno("%s: request %u cannot be sent", path_.c_str(), message.request);
  if (static_cast<size_t>(sent) != bytes.iov_len) {
    Fail("%s: request %u was sent in part: %zd of %zu bytes", path_.c_str(), message.request, sent,
         bytes.iov_len);
  }
}

void VhostFrontend::Tell(Message& message, const int* fds, size_t fd_count) {
  const bool acknowledged = (protocol_features_ & VHOST_USER_PROTOCOL_F_REPLY_ACK) != 0;
  if (acknowledged) message.flags |= kFlagNeedReply;
  Send(message, fds, fd_count);
  if (!acknowledged) return;
  const uint64_t status = ReceiveU64(message.request);
  if (status != 0) {
    Fail("%s: the backend refused request %u with status %llu", path_.c_str(), message.request,
         static_cast<unsigned long long>(status));
  }
}

uint64_t VhostFrontend::Ask(uint32_t request) {
  Message message(request);
  Send(message, nullptr, 0);
  return ReceiveU64(request);
}

uint64_t VhostFrontend::ReceiveU64(uint32_t request) {
  Message reply(0);
  constexpr size_t kReplyBytes = offsetof(Message, payload) + sizeof(uint64_t);
  const ssize_t got = recv(fd_, &reply, kReplyBytes, MSG_WAITALL);
  if (got == 0) {
    Fail("%s: the backend closed the connection instead of answering request %u", path_.c_str(),
         request);
  }
  if (got < 0) {
    FailErrno("%s: no answer to request %u within %ld s", path_.c_str(), request, kReplyTimeoutS);
  }
  if (static_cast<size_t>(got) != kReplyBytes || reply.request != request ||
      (reply.flags & kFlagReply) == 0 || reply.size_bytes != sizeof(uint64_t)) {
    Fail("%s: the answer to request %u is malformed: %zd bytes, request %u, flags 0x%x, size %u",
         path_.c_str(), request, got, reply.request, reply.flags, reply.size_bytes);
  }
  return reply.payload.u64;
}

}  // namespace tsvswitch::bench
