// Ports of this process: the ring of bytes at its ends, between two threads, and on a bridge with
// guests; and what a manual clock adds, since such ports are how it is mostly used.

#include "core/port/process_queue.h"

#include <cstring>
#include <thread>

#include "test/check.h"
#include "test/running_bridge.h"

namespace tsvswitch {
namespace {

constexpr uint64_t kModern = VIRTIO_F_VERSION_1;

std::unique_ptr<Dataplane> OpenManual() {
  auto plane = std::make_unique<Dataplane>(Dataplane::Options{.worker_cpus = {-1},
                                                              .idle_us = 0,
                                                              .manual = true,
                                                              .notify = [](void*) {},
                                                              .notify_context = nullptr});
  CHECK(plane->Start());
  CHECK_EQ(plane->AddBridge(300), 0u);
  return plane;
}

bool Send(Dataplane& plane, uint16_t port, const FrameBytes& frame) {
  const bool sent =
      plane.ProcessTransmitqOf(port).Send(frame.data(), static_cast<uint32_t>(frame.size()));
  plane.PublishProcessSent(port);
  return sent;
}

std::vector<FrameBytes> Receive(Dataplane& plane, uint16_t port) {
  ProcessReceiveq& queue = plane.ProcessReceiveqOf(port);
  std::vector<FrameBytes> frames;
  for (uint32_t bytes = queue.NextBytes(); bytes != 0; bytes = queue.NextBytes()) {
    const uint8_t* frame = queue.Next();
    frames.emplace_back(frame, frame + bytes);
  }
  queue.Release();
  return frames;
}

FACT("a frame ring keeps frames of every length whole and in order, over its end and when full") {
  FrameRing ring(1 << 20);
  uint32_t put = 0, taken = 0, refused = 0;
  const auto length = [](uint32_t number) { return 14 + number * 7919 % 65536; };
  while (taken < 5000) {
    for (uint32_t i = 0; i < 1 + put % 40; ++i) {
      uint8_t* place = ring.Reserve(length(put));
      if (place == nullptr) {
        ++refused;
        break;
      }
      std::memset(place, static_cast<int>(put & 0xff), length(put));
      ++put;
    }
    ring.Publish();
    for (uint32_t i = 0; i < 1 + taken % 30; ++i) {
      uint32_t bytes;
      const uint8_t* frame = ring.Take(&bytes);
      if (frame == nullptr) break;
      CHECK_EQ(bytes, length(taken));
      CHECK_EQ(frame[0], taken & 0xff);
      CHECK_EQ(frame[bytes - 1], taken & 0xff);
      ++taken;
    }
    ring.Release();
  }
  CHECK(refused != 0);
  CHECK(put >= taken);
}

FACT("a frame ring between two threads loses and reorders nothing") {
  FrameRing ring(1 << 20);
  constexpr uint32_t kFrames = 200'000;
  std::atomic<uint32_t> wrong{0};
  std::thread reader([&] {
    for (uint32_t expected = 0; expected < kFrames;) {
      uint32_t bytes;
      const uint8_t* frame = ring.Take(&bytes);
      if (frame == nullptr) {
        std::this_thread::yield();
        continue;
      }
      uint32_t number;
      std::memcpy(&number, frame, sizeof(number));
      if (number != expected || bytes != 60 + number % 1000) ++wrong;
      ++expected;
      ring.Release();
    }
  });
  for (uint32_t number = 0; number < kFrames;) {
    uint8_t* place = ring.Reserve(60 + number % 1000);
    if (place == nullptr) {
      std::this_thread::yield();
      continue;
    }
    std::memcpy(place, &number, sizeof(number));
    ring.Publish();
    ++number;
  }
  reader.join();
  CHECK_EQ(wrong.load(), 0u);
}

FACT("a host port talks with a guest both ways, while the worker polls and when it sleeps") {
  for (const uint32_t idle_us : {0u, 50u}) {
    RunningBridge bridge(2, idle_us);
    Dataplane& plane = bridge.plane();
    const uint16_t host = plane.AddProcessPort(0);
    auto member = bridge.Join(kModern);
    for (uint32_t i = 0; i < 300; ++i) {
      const FrameBytes request = MakeFrame(i == 0 ? kBroadcast : MacOf(1), MacOf(0), 60 + i, i);
      CHECK(Send(plane, host, request));
      std::vector<FrameBytes> received;
      CHECK(ComesTrue([&] {
        for (FrameBytes& frame : member->guest.Receive()) received.push_back(frame);
        return !received.empty();
      }));
      member->guest.Post();
      CHECK(received.size() == 1 && received[0] == request);
      const FrameBytes answer = MakeFrame(MacOf(0), MacOf(1), 1514 - i, i);
      CHECK(RunningBridge::Send(*member, answer));
      received.clear();
      CHECK(ComesTrue([&] {
        received = Receive(plane, host);
        return !received.empty();
      }));
      CHECK(received.size() == 1 && received[0] == answer);
      CHECK(ComesTrue([&] { return plane.ProcessTransmitqOf(host).Drained(); }));
    }
  }
}

FACT("a host port that takes nothing costs its own frames only, and they are counted") {
  auto plane = OpenManual();
  const uint16_t from = plane->AddProcessPort(0), full = plane->AddProcessPort(0),
                 other = plane->AddProcessPort(0);
  constexpr uint32_t kFrames = 2000;  // of 1514 bytes: three times the ring
  uint32_t other_received = 0;
  for (uint32_t i = 0; i < kFrames; ++i) {
    CHECK(Send(*plane, from, MakeFrame(kBroadcast, MacOf(0), 1514, i)));
    CHECK_EQ(plane->Step(1), 1u);
    other_received += static_cast<uint32_t>(Receive(*plane, other).size());
  }
  CHECK_EQ(other_received, kFrames);
  const uint64_t dropped = plane->Counters(full)[0].value[kNoBuffer];
  CHECK(dropped > kFrames / 2);
  CHECK_EQ(Receive(*plane, full).size() + dropped, kFrames);
}

FACT("a frame that finds no room in a host port takes no smaller one along") {
  auto plane = OpenManual();
  const uint16_t from = plane->AddProcessPort(0), full = plane->AddProcessPort(0);
  constexpr uint32_t kFitting = (1 << 20) / (kFrameBytesMax + 24);
  for (uint32_t i = 0; i < kFitting; ++i) {
    CHECK(Send(*plane, from, MakeFrame(kBroadcast, MacOf(0), kFrameBytesMax, i)));
  }
  while (plane->Step(1) != 0) continue;
  const FrameBytes small = MakeFrame(kBroadcast, MacOf(0), 60, 100);
  CHECK(Send(*plane, from, MakeFrame(kBroadcast, MacOf(0), kFrameBytesMax, 99)));
  CHECK(Send(*plane, from, small));
  CHECK_EQ(plane->Step(1), 2u);
  CHECK_EQ(plane->Counters(full)[0].value[kNoBuffer], 1u);
  CHECK_EQ(plane->Fates(full)->Read(Fate::kBufferTooSmall), 0u);
  const std::vector<FrameBytes> received = Receive(*plane, full);
  CHECK_EQ(received.size(), kFitting + 1u);
  CHECK(received.back() == small);
}

FACT("bridges share nothing: not frames, not addresses, not what is forgotten") {
  auto plane = OpenManual();
  const uint32_t second = plane->AddBridge(300);
  const uint16_t a = plane->AddProcessPort(0), b = plane->AddProcessPort(0);
  const uint16_t c = plane->AddProcessPort(second), d = plane->AddProcessPort(second);
  CHECK(Send(*plane, a, MakeFrame(kBroadcast, MacOf(7), 60)));
  CHECK(Send(*plane, c, MakeFrame(kBroadcast, MacOf(7), 61)));
  plane->Step(1);
  CHECK_EQ(Receive(*plane, a).size() + Receive(*plane, c).size(), 0u);
  CHECK_EQ(Receive(*plane, b)[0].size(), 60u);
  CHECK_EQ(Receive(*plane, d)[0].size(), 61u);
  CHECK_EQ(plane->ReadFdb(0)[0].port, a);
  CHECK_EQ(plane->ReadFdb(second)[0].port, c);
  plane->EndSession(a);
  CHECK(plane->ReadFdb(0).empty());
  CHECK_EQ(plane->ReadFdb(second).size(), 1u);
}

FACT("a manual clock ages addresses by Advance alone, to the second") {
  auto plane = OpenManual();
  const uint16_t port = plane->AddProcessPort(0);
  plane->AddProcessPort(0);
  CHECK(Send(*plane, port, MakeFrame(kBroadcast, MacOf(1), 60)));
  plane->Step(1);
  plane->Advance(300 * kNsPerSecond);
  CHECK_EQ(plane->ReadFdb(0).size(), 1u);
  plane->Advance(1 * kNsPerSecond);
  CHECK(plane->ReadFdb(0).empty());
}

}  // namespace
}  // namespace tsvswitch

int main() { return tsvswitch::HoldFacts(); }
