// Reading and writing a tap device. See tap_port.h.

#include "tap_port.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "clock.h"
#include "failure.h"

namespace tsvswitch::bench {

namespace {

// A few are enough for a mix of frames: the kernel copies each within the system call.
constexpr uint32_t kBuffers = 12;

class TapDevice {
 public:
  TapDevice(const std::string& name, Transport transport) : fd_(open(kPath, O_RDWR | O_NONBLOCK)) {
    if (fd_ < 0) FailErrno("%s cannot be opened", kPath);
    ifreq request{};
    if (name.size() >= sizeof(request.ifr_name)) {
      Fail("--tap %s: a name has at most %zu bytes", name.c_str(), sizeof(request.ifr_name) - 1);
    }
    memcpy(request.ifr_name, name.c_str(), name.size() + 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (ioctl(fd_, TUNSETIFF, &request) != 0) FailErrno("tap device %s", name.c_str());
    const int header_bytes = kVirtioHeaderBytes;
    if (ioctl(fd_, TUNSETVNETHDRSZ, &header_bytes) != 0) FailErrno("header of %s", name.c_str());
    const unsigned offloads = transport == Transport::kTcpSegments ? TUN_F_CSUM | TUN_F_TSO4 : 0;
    if (ioctl(fd_, TUNSETOFFLOAD, offloads) != 0) FailErrno("offloads of %s", name.c_str());
  }
  TapDevice(const TapDevice&) = delete;
  TapDevice& operator=(const TapDevice&) = delete;
  ~TapDevice() { close(fd_); }

  // Both false or 0 where the call would have to wait.
  bool Write(const uint8_t* buffer, size_t bytes) {
    if (write(fd_, buffer, bytes) == static_cast<ssize_t>(bytes)) return true;
    if (errno != EAGAIN && errno != ENOBUFS) FailErrno("a frame cannot be written to a tap device");
    return false;
  }
  size_t Read(uint8_t* buffer, size_t bytes) {
    const ssize_t got = read(fd_, buffer, bytes);
    if (got < 0 && errno != EAGAIN) FailErrno("a tap device cannot be read");
    return got > 0 ? static_cast<size_t>(got) : 0;
  }

 private:
  static constexpr char kPath[] = "/dev/net/tun";

  int fd_;
};

template <Touch touch>
class TapPort final : public Port {
 public:
  TapPort(size_t index, const FrameShape& shape, const std::string& device)
      : Port(index, shape),
        shape_(shape),
        name_("port " + std::to_string(index) + " (" + device + ")"),
        device_(device, shape.transport),
        buffer_bytes_(kVirtioHeaderBytes + std::max(shape.frame_bytes, kImixFrameBytesMax)),
        transmit_(kBuffers * buffer_bytes_),
        received_(buffer_bytes_) {
    for (uint32_t id = 0; id < kBuffers; ++id) outgoing_.Prepare(Buffer(id), id);
  }

  bool Alive() const override { return true; }
  std::string Name() const override { return name_; }

  bool SendHello() override {
    std::vector<uint8_t> hello(Buffer(0), Buffer(0) + Bytes(0));
    OutgoingFlow::MakeHello(hello.data(), shape_);
    return device_.Write(hello.data(), hello.size());
  }

  // The kernel gives no room in advance; a frame that it would not take stays the next one.
  bool SendOne() override {
    if (!is_written_) outgoing_.Write<touch>(Buffer(next_), next_);
    is_written_ = !device_.Write(Buffer(next_), Bytes(next_));
    if (is_written_) return false;
    next_ = (next_ + 1) % kBuffers;
    ++counters_.sent;
    return true;
  }

  uint16_t SendBatch(uint16_t limit) override {
    uint16_t sent = 0;
    while (sent < std::min(limit, kBatchMax) && SendOne()) ++sent;
    return sent;
  }

  uint16_t ReceiveBatch() override {
    uint16_t taken = 0;
    for (; taken < kReceiveBatchMax; ++taken) {
      const size_t bytes = device_.Read(received_.data(), received_.size());
      if (bytes <= kVirtioHeaderBytes) break;
      const uint64_t now = incoming_.RecordsLatencies() ? Clock::Ticks() : 0;
      incoming_.Check<touch>(received_.data(), bytes - kVirtioHeaderBytes, now, counters_);
    }
    return taken;
  }

  void KickIfWanted() override {}

 private:
  // Between two looks at the other ports, or their queues in the kernel overflow.
  static constexpr uint16_t kBatchMax = 32;

  uint8_t* Buffer(uint32_t id) { return transmit_.data() + id * buffer_bytes_; }
  size_t Bytes(uint32_t id) const { return kVirtioHeaderBytes + shape_.BytesOf(id); }

  const FrameShape shape_;
  const std::string name_;
  TapDevice device_;
  const size_t buffer_bytes_;
  std::vector<uint8_t> transmit_;
  std::vector<uint8_t> received_;
  uint32_t next_ = 0;
  bool is_written_ = false;  // The frame in the next buffer has its number already.
};

}  // namespace

std::unique_ptr<Port> MakeTapPort(size_t index, const FrameShape& shape, Touch touch,
                                  const std::string& device) {
  if (touch == Touch::kBytes) return std::make_unique<TapPort<Touch::kBytes>>(index, shape, device);
  return std::make_unique<TapPort<Touch::kHeaders>>(index, shape, device);
}

}  // namespace tsvswitch::bench
