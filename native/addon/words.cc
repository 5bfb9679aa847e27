// As words.h declares them.

#include "addon/words.h"

#include <cmath>

#include "addon/fields.h"

namespace tsvswitch {

bool ReadFlag(const std::string& name, const Napi::Value& value) {
  if (value.IsBoolean()) return value.As<Napi::Boolean>();
  throw BadField(value.Env(), name, "true or false");
}

double ReadNumber(const std::string& name, const Napi::Value& value, double max) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  // Also false for what is not a number.
  if (number >= 0 && number <= max) return number;
  throw BadField(value.Env(), name, "a number from 0 to " + std::to_string(max));
}

uint64_t ReadWhole(const std::string& name, const Napi::Value& value, double max) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (number >= 0 && number <= max && std::trunc(number) == number) {
    return static_cast<uint64_t>(number);
  }
  throw BadField(value.Env(), name,
                 "an integer from 0 to " + std::to_string(static_cast<uint64_t>(max)));
}

uint64_t ReadBits(const std::string& name, const Napi::Value& value) {
  bool lossless = false;
  const uint64_t number = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (lossless) return number;
  throw BadField(value.Env(), name, "a bigint of 64 bits without sign");
}

Napi::Object ReadObject(const std::string& name, const Napi::Value& value, size_t words) {
  if (!value.IsObject()) throw BadField(value.Env(), name, "an object");
  const Napi::Object object = value.As<Napi::Object>();
  const uint32_t count = object.GetPropertyNames().Length();
  if (count == words) return object;
  throw BadField(
      value.Env(), name,
      "an object of " + std::to_string(words) + " words, not of " + std::to_string(count));
}

Napi::Array ReadList(const std::string& name, const Napi::Value& value, uint32_t count_max) {
  if (value.IsArray() && value.As<Napi::Array>().Length() <= count_max) {
    return value.As<Napi::Array>();
  }
  throw BadField(value.Env(), name, "an array of at most " + std::to_string(count_max));
}

}  // namespace tsvswitch
