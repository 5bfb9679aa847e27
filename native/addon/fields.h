// Fields of the objects that cross into the addon: numbers, addresses, fds, regions and rings.
//
// Each throws BAD_OPTION, naming the field, if the value does not fit.

#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/control/dataplane.h"

namespace tsvswitch {

Napi::Error BadField(Napi::Env env, const std::string& name, const std::string& expected);
Napi::Object ObjectArgument(const Napi::CallbackInfo& info, size_t index, const char* name);
uint32_t IntegerField(const Napi::Object& object, const char* name, int64_t min, int64_t max);
// A bigint of 64 bits without sign.
uint64_t AddressField(const Napi::Object& object, const char* name);
RegionDescription ToRegion(const Napi::Object& object);
RingAddresses ToRings(const Napi::Object& object);

// Throws BAD_EVENTFD unless `fd` is an eventfd or -1.
void RequireEventfd(Napi::Env env, int fd);
// The same for what may be a stream socket of the UNIX family too.
void RequireEventfdOrSocket(Napi::Env env, int fd);

// Fds that were passed in and are not yet handed to core; closed when this goes.
class AdoptedFds {
 public:
  AdoptedFds() = default;
  explicit AdoptedFds(int fd) : fds_{fd} {}
  AdoptedFds(const AdoptedFds&) = delete;
  AdoptedFds& operator=(const AdoptedFds&) = delete;
  ~AdoptedFds();

  // The fd in field `name`, or -1 where there is none; adopted before anything else is looked at.
  void Adopt(const Napi::Value& object, const char* name);
  int Release(size_t index);
  int Get(size_t index) const { return fds_[index]; }
  size_t count() const { return fds_.size(); }

 private:
  std::vector<int> fds_;
};

}  // namespace tsvswitch
