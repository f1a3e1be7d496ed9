#include "arrays.h"

#include <string>

namespace intattn::addon {
namespace {

std::size_t element_size(napi_typedarray_type type) {
  switch (type) {
  case napi_int8_array:
  case napi_uint8_array:
  case napi_uint8_clamped_array:
    return 1;
  case napi_int16_array:
  case napi_uint16_array:
    return 2;
  case napi_int32_array:
  case napi_uint32_array:
  case napi_float32_array:
    return 4;
  default:
    return 8;
  }
}

} // namespace

std::size_t Elements::bytes() const { return length * element_size(type); }

void reject(Napi::Env env, const char* argument, const char* expected) {
  throw Napi::TypeError::New(env, std::string("addon: ") + argument + ": expected " + expected);
}

Elements elements_of(Napi::Value value, const char* argument) {
  const Napi::Env env = value.Env();
  bool is_array = false;
  if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array)
    reject(env, argument, "a typed array");
  Elements elements{};
  // The buffer is not asked for: it may be shared, which Node-API has no type for.
  if (napi_get_typedarray_info(env, value, &elements.type, &elements.length, &elements.data, nullptr, nullptr) !=
      napi_ok)
    reject(env, argument, "a readable typed array");
  return elements;
}

void* data_of(Napi::Value value, const char* argument, napi_typedarray_type type, std::size_t length) {
  const Elements elements = elements_of(value, argument);
  if (elements.type != type)
    reject(value.Env(), argument, "another class of typed array");
  if (elements.length != length)
    reject(value.Env(), argument, (std::to_string(length) + " elements").c_str());
  return elements.data;
}

void* optional_data_of(Napi::Value value, const char* argument, napi_typedarray_type type, std::size_t length) {
  return value.IsUndefined() ? nullptr : data_of(value, argument, type, length);
}

std::size_t integer_of(Napi::Value value, const char* argument, std::size_t min, std::size_t max) {
  if (!value.IsNumber())
    reject(value.Env(), argument, "a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  // The comparison is false for NaN.
  if (!(number >= double(min) && number <= double(max)) || number != double(std::size_t(number)))
    reject(value.Env(), argument, "an integer within bounds");
  return std::size_t(number);
}

std::size_t product(Napi::Env env, std::size_t a, std::size_t b) {
  if (b != 0 && a > PTRDIFF_MAX / b)
    reject(env, "dims", "a product that memory can hold");
  return a * b;
}

} // namespace intattn::addon
