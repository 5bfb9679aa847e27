// What captures record while several workers write, while control comes and goes, and when memory
// is lost.

#include "core/policy/capture.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

#include "test/check.h"
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

// Calls see(record, bytes) for everything that is there; returns how many records that were.
template <class See>
uint32_t ReadAll(Capture& capture, See see) {
  std::vector<uint8_t> buffer(10'000);
  uint32_t records = 0;
  for (size_t used = capture.Read(buffer.data(), buffer.size()); used != 0;
       used = capture.Read(buffer.data(), buffer.size())) {
    for (size_t at = 0; at < used; ++records) {
      Capture::Record record;
      std::memcpy(&record, &buffer[at], sizeof(record));
      see(record, &buffer[at + sizeof(record)]);
      at += (sizeof(record) + record.captured_bytes + 7) / 8 * 8;
    }
  }
  return records;
}

void AddOne(Capture& capture, const Slice& frame) {
  Capture::Adding(capture, 0, Capture::Direction::kToGuest).Add(frame, Fate::kDelivered, 0);
}

FACT("records of two writers are read whole, once and in order, those without room are counted") {
  constexpr uint32_t kFramesEach = 60'000;
  const Clock clock(false);
  const Eventfd call;
  Capture capture(clock, 2000, call.fd);
  const auto write = [&](uint16_t port) {
    std::vector<uint8_t> bytes(3000, static_cast<uint8_t>(port));
    for (uint32_t number = 0; number < kFramesEach;) {
      // Of 1 to 7 frames each.
      Capture::Adding adding(capture, port, Capture::Direction::kToGuest);
      for (const uint32_t end = std::min(number + 1 + number % 7, kFramesEach); number < end;) {
        std::memcpy(bytes.data(), &number, sizeof(number));
        const Piece piece = {bytes.data(), 14 + number * 31 % 2900};
        adding.Add({&piece, 0, piece.bytes}, Fate::kDelivered, static_cast<Marks>(number & 15));
        ++number;
      }
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
  const auto see = [&](const Capture::Record& record, const uint8_t* bytes) {
    uint32_t number;
    std::memcpy(&number, bytes, sizeof(number));
    CHECK(number >= next[record.port]);
    next[record.port] = number + 1;
    CHECK_EQ(record.bytes, 14 + number * 31 % 2900);
    CHECK(record.fate == Fate::kDelivered && record.marks == (number & 15));
    CHECK_EQ(record.captured_bytes, std::min(record.bytes, 2000u));
    CHECK_EQ(bytes[4], record.port);
    CHECK_EQ(bytes[record.captured_bytes - 1], record.port);
    CHECK(record.time_ns >= latest_ns);
    latest_ns = record.time_ns;
    lost += record.lost;
  };
  while (writing.load() != 0) read += ReadAll(capture, see);
  for (std::thread& writer : writers) writer.join();
  read += ReadAll(capture, see);
  CHECK_EQ(read + capture.lost(), uint64_t{2 * kFramesEach});
  // What was lost behind the last record is told by the next one.
  const uint8_t last[14] = {};
  const Piece piece = {const_cast<uint8_t*>(last), sizeof(last)};
  AddOne(capture, {&piece, 0, sizeof(last)});
  ReadAll(capture, [&](const Capture::Record& record, const uint8_t*) { lost += record.lost; });
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
  const uint32_t records =
      ReadAll(capture, [](const Capture::Record& record, const uint8_t* bytes) {
        CHECK_EQ(record.captured_bytes, kSnapBytes);
        CHECK_EQ(bytes[0], 0);
      });
  CHECK_EQ(records, 1u);
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
    ReadAll(plane.CaptureAt(one),
            [&](const Capture::Record& record, const uint8_t*) { CHECK_EQ(record.port, a->port); });
    plane.RemoveCapture(one);
    there.Pass(50);
    there.Finish();
    back.Finish();
    CHECK(!plane.HasCapture(one));
    ReadAll(plane.CaptureAt(all), [&](const Capture::Record& record, const uint8_t*) {
      const bool given = record.direction == Capture::Direction::kToGuest;
      CHECK(record.fate == (given ? Fate::kDelivered : Fate::kUnderWay));
      CHECK_EQ(record.bytes, 300u);
      to_b += record.port == b->port && record.direction == Capture::Direction::kToGuest;
    });
    plane.RemoveCapture(all);
  }
  CHECK(to_b >= 40 * 100u);
  there.Pass(100);
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
