#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "numerics/scale.h"

namespace intattn {
namespace {

/// One float; the vector type of simd/float_rows.h and simd/float_tiles.h.
struct Scalar {
  using f32 = float;
  using i32 = std::uint32_t;
  using f64x = double;
  static constexpr std::size_t width = 1;
  static constexpr int rows = 4, columns = 8;

  static f32 set(float x) { return x; }
  static f32 load(const float* p) { return *p; }
  static f32 load_some(const float* p, std::size_t) { return *p; }
  static void store(float* p, f32 x) { *p = x; }
  static void store_some(float* p, std::size_t, f32 x) { *p = x; }

  static f32 load_half(const std::uint16_t* p) {
    const std::uint32_t sign = std::uint32_t(*p & 0x8000) << 16, exponent = *p >> 10 & 31, fraction = *p & 0x3ff;
    if (exponent == 0)
      return float_of_bits(sign | bits_of_float(float(fraction) * 0x1p-24f));
    return float_of_bits(sign | (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | fraction << 13);
  }
  /// Nearest, ties to even.
  static void store_half(std::uint16_t* p, f32 x) {
    const std::uint32_t bits = bits_of_float(x), magnitude = bits & 0x7fffffff;
    const std::uint32_t sign = bits >> 16 & 0x8000;
    std::uint32_t half;
    if (magnitude > infinity_bits)
      half = 0x7e00;
    else if (magnitude >= 0x477ff000) // 65520 and above
      half = 0x7c00;
    else if (magnitude < 0x38800000) // below 2^-14: adding 0.5 leaves multiples of 2^-24 in the low bits
      half = bits_of_float(float_of_bits(magnitude) + 0.5f) - bits_of_float(0.5f);
    else
      half = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    *p = std::uint16_t(sign | half);
  }
  static f32 round_to_half(f32 x) {
    std::uint16_t half;
    store_half(&half, x);
    return load_half(&half);
  }
  static f32 load_int8(const std::int8_t* p) { return float(*p); }
  static f32 load_integers(const std::int32_t* p) { return float(*p); }
  static void store_int8(std::int8_t* p, std::size_t, f32 x) {
    const float rounded = std::nearbyint(x);
    *p = std::int8_t(rounded >= 127 ? 127 : rounded > -127 ? rounded : -127); // NaN ends in an error elsewhere
  }

  static void store_int8(std::int8_t* p, f32 a, f32 b, f32 c, f32 d) {
    store_int8(p, 1, a), store_int8(p + 1, 1, b), store_int8(p + 2, 1, c), store_int8(p + 3, 1, d);
  }

  static f32 add(f32 a, f32 b) { return a + b; }
  static f32 sub(f32 a, f32 b) { return a - b; }
  static f32 mul(f32 a, f32 b) { return a * b; }
  static f32 fma(f32 a, f32 b, f32 c) { return a * b + c; }
  static constexpr bool multiplies_by_lane = false;
  static f32 min(f32 a, f32 b) { return a < b ? a : b; }
  static f32 max(f32 a, f32 b) { return a > b ? a : b; }
  static f32 round(f32 x) { return std::nearbyint(x); }
  static f32 zero_where_less(f32 a, f32 b, f32 x) { return a < b ? 0 : x; }
  static f32 times_power_of_two(f32 x, f32 n) {
    return x == x ? float_of_bits(bits_of_float(x) + (std::uint32_t(std::int32_t(n)) << 23)) : x;
  }
  static float sum(f32 x) { return x; }
  static float maximum(f32 x) { return x; }

  static i32 zero_bits() { return 0; }
  static i32 abs_bits(f32 x) { return bits_of_float(x) & 0x7fffffff; }
  static i32 max_bits(i32 a, i32 b) { return a > b ? a : b; }
  static std::uint32_t maximum_bits(i32 x) { return x; }
  static void raise_bits(std::uint32_t* p, std::size_t, i32 x) { *p = max_bits(*p, x); }

  static f64x load_wide(const double* p, std::size_t) { return *p; }
  static void store_wide(double* p, std::size_t, f64x x) { *p = x; }
  static f32 narrow(f64x x, double factor) { return float(x * factor); }
  static f64x add_wide(f64x sum, f32 x) { return sum + double(x); }
};

} // namespace
} // namespace intattn
