// What joins the ports of a data plane, or keeps them apart: bridges, impaired links and
// partitions; ports of this process; and the manual clock.

#include <cstring>
#include <string>

#include "addon/addon.h"
#include "addon/dataplane.h"
#include "addon/fields.h"

namespace tsvswitch {

namespace {

// Frames and their lengths as they cross: one after the other in `bytes`.
struct FrameBatch {
  Bytes bytes;
  uint32_t* lengths;
  uint32_t count;  // entries of `lengths`
};

FrameBatch FrameBatchArguments(const Napi::CallbackInfo& info) {
  const Bytes bytes = BytesArgument(info, 1, "bytes");
  const Napi::Value lengths = info[2];
  if (!lengths.IsTypedArray() ||
      lengths.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
    throw BadField(info.Env(), "lengths", "a Uint32Array");
  }
  Napi::Uint32Array array = lengths.As<Napi::Uint32Array>();
  return {bytes, array.Data(), static_cast<uint32_t>(array.ElementLength())};
}

double NumberField(const Napi::Object& object, const char* name, double max) {
  const Napi::Value value = object.Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  // Also false for what is not a number.
  if (number >= 0 && number <= max) return number;
  throw BadField(object.Env(), name, "a number from 0 to " + std::to_string(max));
}

uint64_t WholeField(const Napi::Object& object, const char* name) {
  constexpr double kWholeMax = 0x1p53;
  return static_cast<uint64_t>(NumberField(object, name, kWholeMax));
}

LinkSettings ToLinkSettings(const Napi::Object& object) {
  const auto chance = [&object](const char* name) { return NumberField(object, name, 1); };
  LinkSettings settings = {.seed = AddressField(object, "seed"),
                           .blackhole = object.Get("blackhole").ToBoolean(),
                           .frame_bytes_max = IntegerField(object, "frameBytesMax", 0, UINT32_MAX),
                           .bits_per_second = WholeField(object, "bitsPerSecond"),
                           .queue_bytes = IntegerField(object, "queueBytes", 0, UINT32_MAX),
                           .turns_bad = chance("turnsBad"),
                           .turns_good = chance("turnsGood"),
                           .loss_good = chance("lossGood"),
                           .loss_bad = chance("lossBad"),
                           .delay_ns = WholeField(object, "delayNs"),
                           .jitter_ns = WholeField(object, "jitterNs"),
                           .duplicate = chance("duplicate"),
                           .corrupt = chance("corrupt"),
                           .reorder = chance("reorder"),
                           .reorder_ns = WholeField(object, "reorderNs")};
  if (settings.jitter_ns > settings.delay_ns) {
    throw BadField(object.Env(), "jitterNs", "at most delayNs");
  }
  return settings;
}

}  // namespace

uint16_t DataplaneObject::ProcessPortArgument(const Napi::CallbackInfo& info) {
  const uint16_t port = PortArgument(info);
  if (!dataplane_->IsProcessPort(port)) {
    throw CodedError(info.Env(), "BAD_OPTION",
                     "port " + std::to_string(port) + " is not a port of this process");
  }
  return port;
}

Napi::Value DataplaneObject::AddBridge(const Napi::CallbackInfo& info) {
  Dataplane& dataplane = Open(info.Env());
  const int64_t ageing_s = IntegerArgument(info, 0, "ageingSeconds", 0, INT32_MAX);
  const uint32_t bridge = dataplane.AddBridge(static_cast<uint32_t>(ageing_s));
  if (bridge == Dataplane::kNoBridge) {
    throw CodedError(info.Env(), "TOO_MANY_PORTS",
                     "a switch has at most " + std::to_string(Dataplane::kBridgesMax) + " bridges");
  }
  return Napi::Number::New(info.Env(), bridge);
}

Napi::Value DataplaneObject::ReadFdb(const Napi::CallbackInfo& info) {
  const std::vector<FdbRecord> records = dataplane_->ReadFdb(BridgeArgument(info, 0));
  const uint32_t now_s = dataplane_->NowSeconds();
  Napi::Array list = Napi::Array::New(info.Env(), records.size());
  uint32_t at = 0;
  for (const FdbRecord& record : records) {
    const Napi::Object entry = Napi::Object::New(info.Env());
    entry.Set("mac", static_cast<double>(record.mac));
    entry.Set("vlan", record.vlan);
    entry.Set("port", record.port);
    entry.Set("ageSeconds", now_s - record.seen_s);
    list.Set(at++, entry);
  }
  return list;
}

void DataplaneObject::FlushFdb(const Napi::CallbackInfo& info) {
  dataplane_->FlushFdb(BridgeArgument(info, 0), kNoPort);
}

Napi::Value DataplaneObject::EndSession(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), dataplane_->EndSession(PortArgument(info)));
}

Napi::Value DataplaneObject::SessionOf(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), dataplane_->SessionOf(PortArgument(info)));
}

Napi::Value DataplaneObject::AddProcessPort(const Napi::CallbackInfo& info) {
  const uint32_t bridge = BridgeArgument(info, 0);
  return PortNumber(info.Env(), dataplane_->AddProcessPort(bridge));
}

// Returns how many of the frames found room; the caller keeps the others.
Napi::Value DataplaneObject::ProcessSend(const Napi::CallbackInfo& info) {
  const uint16_t port = ProcessPortArgument(info);
  const FrameBatch batch = FrameBatchArguments(info);
  const auto count = static_cast<uint32_t>(IntegerArgument(info, 3, "count", 0, batch.count));
  ProcessTransmitq& queue = dataplane_->ProcessTransmitqOf(port);
  uint32_t sent = 0;
  for (size_t at = 0; sent < count; ++sent) {
    const uint32_t bytes = batch.lengths[sent];
    if (bytes < kFrameBytesMin || bytes > kFrameBytesMax || bytes > batch.bytes.size - at) {
      dataplane_->PublishProcessSent(port);
      throw CodedError(info.Env(), "BAD_FRAME", "a frame of " + std::to_string(bytes) + " bytes");
    }
    if (!queue.Send(batch.bytes.data + at, bytes)) break;
    at += bytes;
  }
  dataplane_->PublishProcessSent(port);
  return Napi::Number::New(info.Env(), sent);
}

// Returns how many frames were put into `bytes`, none that does not fit, and their lengths.
Napi::Value DataplaneObject::ProcessReceive(const Napi::CallbackInfo& info) {
  ProcessReceiveq& queue = dataplane_->ProcessReceiveqOf(ProcessPortArgument(info));
  const FrameBatch batch = FrameBatchArguments(info);
  uint32_t received = 0;
  for (size_t at = 0; received < batch.count; ++received) {
    const uint32_t bytes = queue.NextBytes();
    if (bytes == 0 || bytes > batch.bytes.size - at) break;
    std::memcpy(batch.bytes.data + at, queue.Next(), bytes);
    batch.lengths[received] = bytes;
    at += bytes;
  }
  queue.Release();
  return Napi::Number::New(info.Env(), received);
}

Napi::Value DataplaneObject::ProcessDrained(const Napi::CallbackInfo& info) {
  const uint16_t port = ProcessPortArgument(info);
  return Napi::Boolean::New(info.Env(), dataplane_->ProcessTransmitqOf(port).Drained());
}

void DataplaneObject::ProcessRequestCall(const Napi::CallbackInfo& info) {
  const uint16_t port = ProcessPortArgument(info);
  if (QueueArgument(info, port) == 0) {
    dataplane_->ProcessReceiveqOf(port).RequestCall();
  } else {
    dataplane_->ProcessTransmitqOf(port).RequestCall();
  }
}

// Throws BAD_OPTION unless there is such a port; -1 stands for any.
uint16_t DataplaneObject::LinkEndArgument(const Napi::CallbackInfo& info, size_t index) {
  const int64_t port = IntegerArgument(info, index, "port", -1, kPortsMax - 1);
  if (port == -1) return kNoPort;
  if (!Open(info.Env()).HasPort(static_cast<uint16_t>(port))) {
    throw CodedError(info.Env(), "BAD_OPTION", "there is no port " + std::to_string(port));
  }
  return static_cast<uint16_t>(port);
}

void DataplaneObject::SetLink(const Napi::CallbackInfo& info) {
  Dataplane& dataplane = Open(info.Env());
  const uint16_t from = LinkEndArgument(info, 0);
  const uint16_t to = LinkEndArgument(info, 1);
  if (from == to) throw CodedError(info.Env(), "BAD_OPTION", "a link has two ends");
  if (info[2].IsUndefined()) {
    dataplane.SetLink(from, to, nullptr);
    return;
  }
  const LinkSettings settings = ToLinkSettings(ObjectArgument(info, 2, "settings"));
  dataplane.SetLink(from, to, &settings);
}

void DataplaneObject::SetPartition(const Napi::CallbackInfo& info) {
  Dataplane& dataplane = Open(info.Env());
  if (!info[0].IsArray()) throw BadField(info.Env(), "sides", "an array of arrays of ports");
  const Napi::Array list = info[0].As<Napi::Array>();
  std::vector<std::vector<uint16_t>> sides;
  for (uint32_t i = 0; i < list.Length() && i < kPortsMax; ++i) {
    const Napi::Value side = list[i];
    if (!side.IsArray()) throw BadField(info.Env(), "sides", "an array of arrays of ports");
    const Napi::Array members = side.As<Napi::Array>();
    sides.emplace_back();
    for (uint32_t k = 0; k < members.Length(); ++k) {
      const Napi::Value member = members[k];
      const int64_t port = member.IsNumber() ? member.As<Napi::Number>().Int64Value() : -1;
      if (port < 0 || port >= kPortsMax || !dataplane.HasPort(static_cast<uint16_t>(port))) {
        throw BadField(info.Env(), "sides", "an array of arrays of ports");
      }
      sides.back().push_back(static_cast<uint16_t>(port));
    }
  }
  dataplane.SetPartition(sides);
}

Dataplane& DataplaneObject::Manual(Napi::Env env) {
  Dataplane& dataplane = Open(env);
  if (!dataplane.manual()) {
    throw CodedError(env, "BAD_OPTION", "a switch whose clock is the machine's runs by itself");
  }
  return dataplane;
}

Napi::Value DataplaneObject::Step(const Napi::CallbackInfo& info) {
  Dataplane& dataplane = Manual(info.Env());
  const int64_t rounds = IntegerArgument(info, 0, "rounds", 1, INT32_MAX);
  return Napi::Number::New(info.Env(),
                           static_cast<double>(dataplane.Step(static_cast<uint32_t>(rounds))));
}

void DataplaneObject::Advance(const Napi::CallbackInfo& info) {
  Dataplane& dataplane = Manual(info.Env());
  dataplane.Advance(static_cast<uint64_t>(IntegerArgument(info, 0, "ns", 0, int64_t{1} << 53)));
}

void DataplaneObject::DrainEventsNow(const Napi::CallbackInfo& info) {
  DrainEvents(info.Env(), FunctionArgument(info, 0, "onEvent"));
}

}  // namespace tsvswitch
