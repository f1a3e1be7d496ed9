#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>

/// What JavaScript hands over, seen as memory. TypeScript has checked every argument; the checks here repeat what
/// memory safety rests on.
namespace intattn::addon {

/// A typed array's elements. The memory is the array's own and lives as long as its buffer.
struct Elements {
  napi_typedarray_type type;
  std::size_t length;
  void* data;

  std::size_t bytes() const;
};

/// Throws a Napi::TypeError that names the argument.
[[noreturn]] void reject(Napi::Env env, const char* argument, const char* expected);

/// Throws unless `value` is a typed array.
Elements elements_of(Napi::Value value, const char* argument);

/// The data of a typed array of exactly this type and length; throws otherwise.
void* data_of(Napi::Value value, const char* argument, napi_typedarray_type type, std::size_t length);

/// As `data_of`; null when `value` is undefined.
void* optional_data_of(Napi::Value value, const char* argument, napi_typedarray_type type, std::size_t length);

/// An integer between the bounds; throws otherwise.
std::size_t integer_of(Napi::Value value, const char* argument, std::size_t min, std::size_t max);

/// a * b; throws when it does not fit.
std::size_t product(Napi::Env env, std::size_t a, std::size_t b);

} // namespace intattn::addon
