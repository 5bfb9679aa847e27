// Where the frames of a batch go: learns the source, classifies the destination, and lists the
// frame for its port, or for every other port of the bridge.
//
// Free functions over plain arguments. Thread: the worker whose batch it is.

#pragma once

#include <cstdint>

#include "core/bridge/destination.h"
#include "core/forward/dispatch.h"
#include "core/frame/batch.h"
#include "core/frame/work.h"
#include "core/port/port.h"

namespace tsvswitch {

// All that is under way.
void Route(Queue& from, Batch& batch, Dispatcher& to, uint32_t now_s);
// Frame 0 of the batch, wherever its destination is.
void RouteToAll(Queue& from, Batch& batch, Dispatcher& to, uint32_t now_s);
// Lists a frame for those who hear its kind, from the port of this number on; to how many.
uint32_t PostToHearers(const Port& from, uint32_t frame, Destination::Kind kind, uint16_t first,
                       Dispatcher& to);

// Whether a frame may be sent by anybody: its source is an address of one station.
bool CanBeSource(uint64_t mac);

// Whether a batch would cost more than `work_max` if all of it were flooded. `bytes` are all of its
// frames', `work` is what else they cost each receiver.
inline bool MayBeWide(const Bridge& bridge, const Batch& batch, uint64_t bytes, uint64_t work,
                      uint64_t work_max) {
  const uint64_t each_way = batch.count * kFrameWork + BytesWork(bytes);
  return (each_way + work) * bridge.member_count > work_max;
}
// How many of its frames may be forwarded together; 0 if the first is flooded and too much alone.
uint32_t CutFlood(const Port& from, const Batch& batch, uint32_t now_s, uint64_t work_max);

}  // namespace tsvswitch
