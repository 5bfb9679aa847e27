// Errors and argument checks of the addon, as addon.h declares them.

#include <cmath>
#include <cstring>

#include "addon/addon.h"

namespace tsvswitch {

namespace {

bool IsInteger(const Napi::Value& value, int64_t min, int64_t max) {
  if (!value.IsNumber()) return false;
  const double number = value.As<Napi::Number>().DoubleValue();
  return std::trunc(number) == number && number >= static_cast<double>(min) &&
         number <= static_cast<double>(max);
}

}  // namespace

Napi::Error WrongArgument(const Napi::CallbackInfo& info, const char* name,
                          const std::string& expected) {
  const char* const function = static_cast<const char*>(info.Data());
  return FaultError(
      info.Env(), "argument-not",
      {{"call", function != nullptr ? function : "addon"}, {"name", name}, {"expected", expected}});
}

Napi::Error FaultError(Napi::Env env, const char* fault, std::initializer_list<Detail> details) {
  const Instance& instance = Instance::Of(env);
  if (instance.failure.IsEmpty()) return Napi::Error::New(env, fault);
  const Napi::Object parameters = Napi::Object::New(env);
  for (const Detail& detail : details) {
    if (detail.is_number)
      parameters.Set(detail.name, detail.number);
    else
      parameters.Set(detail.name, detail.text);
  }
  const Napi::Value error = instance.failure.Call({Napi::String::New(env, fault), parameters});
  return Napi::Error(env, error);
}

Napi::Error SystemError(Napi::Env env, const char* call, const std::string& action,
                        int error_number) {
  const std::string reason = std::strerror(error_number);
  const Napi::Error cause = Napi::Error::New(env, std::string(call) + ": " + reason);
  cause.Set("errno", Napi::Number::New(env, -error_number));
  cause.Set("syscall", call);
  Napi::Error error =
      FaultError(env, "call-failed", {{"action", action}, {"call", call}, {"reason", reason}});
  error.Set("cause", cause.Value());
  return error;
}

void RequireCount(const Napi::CallbackInfo& info, uint32_t min, uint32_t max) {
  if (info.Length() >= min && info.Length() <= max) return;
  const std::string least = std::to_string(min);
  throw FaultError(info.Env(), "arguments-wrong",
                   {{"call", static_cast<const char*>(info.Data())},
                    {"wanted", min == max ? least : least + " to " + std::to_string(max)},
                    {"noun", max == 1 ? "argument" : "arguments"},
                    {"given", info.Length()}});
}

void SetLength(const Napi::Object& function, uint32_t length) {
  Napi::Object counted = function;
  counted.DefineProperty(Napi::PropertyDescriptor::Value(
      "length", Napi::Number::New(function.Env(), length), napi_configurable));
}

int FdArgument(const Napi::CallbackInfo& info, size_t index, bool or_none) {
  if (!IsInteger(info[index], or_none ? -1 : 0, INT32_MAX)) {
    throw WrongArgument(info, "fd", or_none ? "a file descriptor or -1" : "a file descriptor");
  }
  return info[index].As<Napi::Number>().Int32Value();
}

int64_t IntegerArgument(const Napi::CallbackInfo& info, size_t index, const char* name, int64_t min,
                        int64_t max) {
  if (!IsInteger(info[index], min, max)) {
    throw WrongArgument(info, name,
                        "an integer from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return info[index].As<Napi::Number>().Int64Value();
}

bool BooleanArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsBoolean()) throw WrongArgument(info, name, "true or false");
  return info[index].As<Napi::Boolean>();
}

std::string StringArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsString()) throw WrongArgument(info, name, "a string");
  std::string text = info[index].As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos) throw WrongArgument(info, name, "a string without NUL");
  return text;
}

Napi::Function FunctionArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsFunction()) throw WrongArgument(info, name, "a function");
  return info[index].As<Napi::Function>();
}

Bytes BytesArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Napi::Value value = info[index];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw WrongArgument(info, name, "a Uint8Array");
  }
  Napi::Uint8Array array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

std::vector<int> FdListArgument(const Napi::CallbackInfo& info, size_t index, size_t count_max) {
  const std::string expected =
      "an array of at most " + std::to_string(count_max) + " file descriptors";
  if (!info[index].IsArray()) throw WrongArgument(info, "fds", expected);
  const Napi::Array array = info[index].As<Napi::Array>();
  const uint32_t count = array.Length();
  if (count > count_max) throw WrongArgument(info, "fds", expected);
  std::vector<int> fds;
  fds.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const Napi::Value value = array[i];
    if (!IsInteger(value, 0, INT32_MAX)) throw WrongArgument(info, "fds", expected);
    fds.push_back(value.As<Napi::Number>().Int32Value());
  }
  return fds;
}

}  // namespace tsvswitch
