// As fields.h declares them.

#include "addon/fields.h"

#include <unistd.h>

#include <utility>

#include "addon/addon.h"
#include "core/platform/eventfd.h"

namespace tsvswitch {

Napi::Error BadField(Napi::Env env, const std::string& name, const std::string& expected) {
  return FaultError(env, "field-not", {{"name", name}, {"expected", expected}});
}

uint32_t IntegerField(const Napi::Object& object, const char* name, int64_t min, int64_t max) {
  const Napi::Value value = object.Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!value.IsNumber() || number != static_cast<double>(static_cast<int64_t>(number)) ||
      number < static_cast<double>(min) || number > static_cast<double>(max)) {
    throw BadField(object.Env(), name,
                   "an integer from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return static_cast<uint32_t>(static_cast<int64_t>(number));
}

uint64_t AddressField(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  bool lossless = false;
  const uint64_t number = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (!lossless) throw BadField(object.Env(), name, "a bigint of 64 bits without sign");
  return number;
}

Napi::Object ObjectArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsObject()) throw BadField(info.Env(), name, "an object");
  return info[index].As<Napi::Object>();
}

void RequireEventfd(Napi::Env env, int fd) {
  if (fd >= 0 && !IsEventfd(fd)) throw FaultError(env, "no-eventfd");
}

void RequireEventfdOrSocket(Napi::Env env, int fd) {
  if (fd < 0 || IsEventfd(fd) || IsStreamSocket(fd)) return;
  throw FaultError(env, "no-eventfd-or-socket");
}

AdoptedFds::~AdoptedFds() {
  for (const int fd : fds_) {
    if (fd >= 0) close(fd);
  }
}

void AdoptedFds::Adopt(const Napi::Value& object, const char* name) {
  int fd = -1;
  if (object.IsObject()) {
    const Napi::Value value = object.As<Napi::Object>().Get(name);
    if (value.IsNumber()) fd = value.As<Napi::Number>().Int32Value();
  }
  fds_.push_back(fd);
}

int AdoptedFds::Release(size_t index) { return std::exchange(fds_[index], -1); }

RegionDescription ToRegion(const Napi::Object& object) {
  return {.guest = GuestAddress{AddressField(object, "guestAddress")},
          .bytes = AddressField(object, "sizeBytes"),
          .user = UserAddress{AddressField(object, "userAddress")},
          .mmap_offset = AddressField(object, "mmapOffset")};
}

RingAddresses ToRings(const Napi::Object& object) {
  RingAddresses rings = {.desc = UserAddress{AddressField(object, "desc")},
                         .avail = UserAddress{AddressField(object, "avail")},
                         .used = UserAddress{AddressField(object, "used")}};
  if (!object.Get("usedLogAddress").IsUndefined()) {
    rings.used_log = AddressField(object, "usedLogAddress");
  }
  return rings;
}

}  // namespace tsvswitch
