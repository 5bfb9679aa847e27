// See source_guard.h.

#include "core/policy/source_guard.h"

#include "core/policy/capture.h"

namespace tsvswitch {

void PolicyDeleter::operator()(Sources* state) const { delete state; }

uint32_t SourceGuard::Admit(Queue& from, Frame* frames, uint32_t count, EventRing& events) {
  const SourceRule& rule = from.port->sources->rule;
  used_ = 0;
  uint32_t admitted = 0;
  for (uint32_t i = 0; i < count; ++i) {
    Frame& frame = frames[i];
    Shield(frame, i);
    const auto spoofed = FindSpoofedSource(rule, heads_[i], frame.body.bytes);
    if (spoofed.has_value()) {
      Refuse(from, frame, *spoofed, events);
    } else {
      frames[admitted++] = frame;
    }
  }
  return admitted;
}

// Puts a private head in front of what follows it.
void SourceGuard::Shield(Frame& frame, uint32_t number) {
  uint8_t* const head = heads_[number];
  const uint32_t head_bytes = Gather(frame.body, head, kPacketHeaderBytesMax);
  Slice rest = frame.body;
  TakeFront(&rest, head_bytes);
  Piece* const first = &pieces_[used_];
  pieces_[used_++] = {head, head_bytes};
  ForEachPart(rest, [this](const uint8_t* data, uint32_t bytes) {
    // Pieces are of receive buffers too; those of a frame are only read.
    pieces_[used_++] = {const_cast<uint8_t*>(data), bytes};
  });
  frame.body = {first, 0, frame.body.bytes};
  frame.destination = LoadMac(head);
  frame.source = LoadMac(head + 6);
}

void SourceGuard::Refuse(Queue& from, const Frame& frame, const SpoofedSource& spoofed,
                         EventRing& events) {
  Port& port = *from.port;
  const Counter counter = spoofed.counter();
  from.counters->Add(counter, 1);
  AddTo(port.captures, frame.body, port.number, Capture::Direction::kFromGuest,
        CounterBit(counter));
  const uint32_t reported =
      port.sources->reported.fetch_or(CounterBit(counter), std::memory_order_relaxed);
  if ((reported & CounterBit(counter)) != 0) return;
  events.Push({.type = Event::Type::kSpoofed,
               .session = port.session,
               .port = port.number,
               .spoofed = spoofed});
}

}  // namespace tsvswitch
