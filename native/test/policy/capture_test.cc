// What captures record while several workers write, while control comes and goes, and when memory
// is lost.

#include "core/policy/capture.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

#include "test/check.h"
#include "test/packets.h"
#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1;
constexpr uint32_t kSnapBytes = 64;

struct Eventfd {
  const int fd = eventfd(0, EFD_NONBLOCK);
  ~Eventfd() { close(fd); }
  bool Rang() {
    uint64_t count;
    return read(fd, &count, sizeof(count)) == sizeof(count);
  }
};

constexpr size_t kRoom = 10'000;

// Mostly as most frames are.
Fate FateOf(uint32_t number) {
  if (number % 7 != 3) return Fate::kDelivered;
  const uint32_t drops = kFates - static_cast<uint32_t>(kFirstDrop);
  return static_cast<Fate>(static_cast<uint32_t>(kFirstDrop) + number % drops);
}
Marks MarksOf(uint32_t number) { return static_cast<Marks>(number % 5 == 2 ? number & 15 : 0); }

void AddOne(Capture& capture, const Slice& frame) {
  Capture::Adding(capture, 0, Direction::kToGuest).Add(frame, Fate::kDelivered, 0);
}

FACT("records of two writers are read whole, once and in order, those without room are counted") {
  constexpr uint32_t kFramesEach = 60'000;
  const Clock clock(false);
  const Eventfd call;
  Capture capture(clock, 2000, call.fd);
  const auto write = [&](uint16_t port) {
    std::vector<std::vector<uint8_t>> bytes(kBatchFramesMax);
    std::vector<Piece> pieces(kBatchFramesMax);
    std::vector<Frame> frames(kBatchFramesMax);
    for (uint32_t number = 0; number < kFramesEach;) {
      // Of 1 to 64 frames each.
      FrameList list;
      Outcomes outcomes;
      for (const uint32_t end = std::min(number + 1 + number % 64, kFramesEach); number < end;) {
        const uint32_t i = list.count;
        bytes[i].assign(14 + number * 31 % 2900, static_cast<uint8_t>(port));
        std::memcpy(bytes[i].data(), &number, sizeof(number));
        pieces[i] = {bytes[i].data(), static_cast<uint32_t>(bytes[i].size())};
        frames[i].body = {&pieces[i], 0, pieces[i].bytes};
        outcomes.fate[i] = FateOf(number);
        outcomes.marks[i] = MarksOf(number);
        list.Append(i);
        ++number;
      }
      Capture::Adding(capture, port, Direction::kToGuest).Add(frames.data(), list, outcomes);
    }
  };
  std::atomic<uint32_t> writing{2};
  std::thread writers[2];
  for (uint16_t port = 0; port < 2; ++port) {
    writers[port] = std::thread([&, port] {
      write(port);
      --writing;
    });
  }
  uint32_t next[2] = {0, 0};
  uint64_t read = 0, lost = 0, latest_ns = 0;
  const auto see = [&](const CapturedPacket& packet) {
    uint32_t number;
    std::memcpy(&number, packet.data.data(), sizeof(number));
    const uint32_t port = packet.interface;
    CHECK(port < 2 && number >= next[port]);
    next[port] = number + 1;
    CHECK_EQ(packet.bytes, 14 + number * 31 % 2900);
    CHECK(packet.fate == FateOf(number) && packet.marks == MarksOf(number));
    CHECK_EQ(packet.data.size(), std::min(packet.bytes, 2000u));
    CHECK_EQ(packet.data[4], port);
    CHECK_EQ(packet.data.back(), port);
    CHECK(packet.time_ns >= latest_ns);
    latest_ns = packet.time_ns;
    lost += packet.lost;
  };
  while (writing.load() != 0) read += ReadPackets(capture, kRoom, see);
  for (std::thread& writer : writers) writer.join();
  read += ReadPackets(capture, kRoom, see);
  CHECK_EQ(read + capture.lost(), uint64_t{2 * kFramesEach});
  // What was lost behind the last record is told by the next one.
  const uint8_t last[14] = {};
  const Piece piece = {const_cast<uint8_t*>(last), sizeof(last)};
  AddOne(capture, {&piece, 0, sizeof(last)});
  ReadPackets(capture, kRoom, [&](const CapturedPacket& packet) { lost += packet.lost; });
  CHECK_EQ(lost, capture.lost());
}

FACT("whoever asks to be called is called once, for the first record after that") {
  const Clock clock(true);
  Eventfd call;
  Capture capture(clock, kSnapBytes, call.fd);
  uint8_t bytes[14] = {};
  const Piece piece = {bytes, sizeof(bytes)};
  const auto add = [&] { AddOne(capture, {&piece, 0, sizeof(bytes)}); };
  add();
  CHECK(!call.Rang());
  capture.RequestCall();
  CHECK(!call.Rang());
  add();
  CHECK(call.Rang());
  add();
  CHECK(!call.Rang());
}

FACT("blocks are read up to one whose port has no interface, and with those that ports have then") {
  const Clock clock(true);
  const Eventfd call;
  Capture capture(clock, kSnapBytes, call.fd);
  uint8_t bytes[15] = {};
  const Piece piece = {bytes, sizeof(bytes)};
  const Slice frame = {&piece, 0, sizeof(bytes)};
  const auto add = [&](uint16_t port) {
    Capture::Adding(capture, port, Direction::kFromGuest).Add(frame, Fate::kUnderWay, 0);
  };
  for (const int port : {3, 3, 1023, 3}) add(static_cast<uint16_t>(port));
  uint8_t read[1000];
  CHECK_EQ(capture.Read(read, sizeof(read)), 0u);
  CHECK_EQ(capture.PortWithoutInterface(), 3);
  CHECK(capture.RequestCall());
  capture.SetInterface(3, 70'000);
  CHECK_EQ(capture.PortWithoutInterface(), kNoPort);
  const size_t two = capture.Read(read, sizeof(read));
  size_t used = 0;
  CHECK_EQ(ReadPacket(read, two, &used).interface, 70'000u);
  const size_t one = used;
  CHECK_EQ(ReadPacket(read + used, two - used, &used).interface, 70'000u);
  CHECK_EQ(used, two);
  CHECK_EQ(capture.PortWithoutInterface(), 1023);
  capture.SetInterface(1023, 1);
  capture.ForgetInterfaces();
  CHECK_EQ(capture.Read(read, sizeof(read)), 0u);
  capture.SetInterface(1023, 2);
  capture.SetInterface(3, 0);
  // As many as fit, and no part of one.
  CHECK_EQ(capture.Read(read, one - 1), 0u);
  CHECK_EQ(capture.Read(read, 2 * one - 1), one);
  CHECK_EQ(capture.Read(read, 2 * one - 1), one);
  CHECK(!capture.RequestCall());
}

FACT("a file gets the same blocks, and one that takes none says why") {
  const Clock clock(true);
  const Eventfd call;
  Capture capture(clock, kSnapBytes, call.fd);
  uint8_t bytes[15] = {1, 2, 3};
  const Piece piece = {bytes, sizeof(bytes)};
  const auto add = [&](uint16_t port) {
    const Slice frame = {&piece, 0, sizeof(bytes)};
    Capture::Adding(capture, port, Direction::kFromGuest).Add(frame, Fate::kUnderWay, 0);
  };
  for (const int port : {3, 3, 4}) add(static_cast<uint16_t>(port));
  const uint64_t waiting = capture.waiting();
  capture.SetInterface(3, 7);
  const int file = memfd_create("blocks", MFD_CLOEXEC);
  CHECK_EQ(capture.WriteTo(file), 0);
  uint8_t written[1000];
  const ssize_t two = pread(file, written, sizeof(written), 0);
  CHECK_EQ(static_cast<uint64_t>(two), waiting / 3 * 2);
  CHECK_EQ(capture.waiting(), waiting / 3);
  size_t used = 0;
  for (int i = 0; i < 2; ++i) {
    const auto packet = ReadPacket(written + used, static_cast<size_t>(two) - used, &used);
    CHECK_EQ(packet.interface, 7u);
    CHECK(packet.data == std::vector<uint8_t>(bytes, bytes + sizeof(bytes)));
  }
  CHECK_EQ(capture.PortWithoutInterface(), 4);
  capture.SetInterface(4, 8);
  close(file);
  CHECK_EQ(capture.WriteTo(file), EBADF);
  CHECK_EQ(capture.waiting(), waiting / 3);
}

FACT("what is no frame is recorded, with all or nothing of its bytes") {
  const Clock clock(true);
  const Eventfd call;
  Capture capture(clock, kSnapBytes, call.fd);
  uint8_t bytes[13] = {1, 2, 3};
  const Piece pieces[] = {{bytes, 2}, {bytes + 2, 11}};
  for (const uint32_t count : {0u, 1u, 2u, 3u, 13u}) {
    Capture::Adding(capture, 0, Direction::kFromGuest).Add({pieces, 0, count}, Fate::kTooShort, 0);
    const uint32_t packets = ReadPackets(capture, kRoom, [&](const CapturedPacket& packet) {
      CHECK_EQ(packet.bytes, count);
      CHECK(packet.data == std::vector<uint8_t>(bytes, bytes + count));
      CHECK(packet.fate == Fate::kTooShort);
    });
    CHECK_EQ(packets, 1u);
  }
}

FACT("a frame in memory that was truncated is recorded, and its port's flag raised") {
  GuestRam ram({{1 << 20, 4096}});
  std::atomic<uint32_t> lost{0};
  const auto memory = ram.Map(&lost);
  const Span span = Translator(*memory)(1 << 20, 100);
  ram.TruncateFile(0, 0);
  const Clock clock(true);
  const Eventfd call;
  Capture capture(clock, kSnapBytes, call.fd);
  const Piece piece = {span.data, 100};
  AddOne(capture, {&piece, 0, 100});
  CHECK_EQ(lost.load(), 1u);
  const uint32_t packets = ReadPackets(capture, kRoom, [](const CapturedPacket& packet) {
    CHECK_EQ(packet.data.size(), kSnapBytes);
    CHECK_EQ(packet.data[0], 0);
  });
  CHECK_EQ(packets, 1u);
}

FACT("captures come and go under traffic of two workers, which loses nothing") {
  RunningBridge bridge(2);
  const auto a = bridge.Join(kModern);
  const auto b = bridge.Join(kModern);
  Stream there(*a, *b), back(*b, *a);
  there.Pass(100);
  back.Pass(100);
  uint64_t to_b = 0;
  for (uint32_t i = 0; i < 40; ++i) {
    const Eventfd call;
    Dataplane& plane = bridge.plane();
    const uint32_t one = plane.CapturePort(a->port, kSnapBytes, call.fd);
    const uint32_t all = plane.CaptureBridge(0, kSnapBytes, call.fd);
    CHECK(one != all);
    there.Pass(50);
    back.Pass(50);
    ReadPackets(plane.CaptureAt(one), kRoom,
                [&](const CapturedPacket& packet) { CHECK_EQ(packet.interface, a->port); });
    plane.RemoveCapture(one);
    there.Pass(50);
    there.Finish();
    back.Finish();
    CHECK(!plane.HasCapture(one));
    ReadPackets(plane.CaptureAt(all), kRoom, [&](const CapturedPacket& packet) {
      CHECK(!IsDrop(packet.fate) && packet.marks == 0);
      CHECK_EQ(packet.bytes, 300u);
      to_b += packet.interface == b->port && packet.direction == Direction::kToGuest;
    });
    plane.RemoveCapture(all);
  }
  CHECK(to_b >= 40 * 100u);
  there.Pass(100);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
