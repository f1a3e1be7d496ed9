#pragma once

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

namespace intattn {
namespace {

/// Four floats; the vector type of simd/float_rows.h and simd/float_tiles.h. Needs no more than every arm64 core has.
struct Neon {
  using f32 = float32x4_t;
  using i32 = uint32x4_t;
  struct f64x {
    float64x2_t low, high;
  };
  static constexpr std::size_t width = 4;
  static constexpr int rows = 6, columns = 4;

  static f32 set(float x) { return vdupq_n_f32(x); }
  static f32 load(const float* p) { return vld1q_f32(p); }
  static f32 load_some(const float* p, std::size_t n) {
    if (n >= width)
      return load(p);
    f32 x = vld1q_lane_f32(p, set(0), 0);
    if (n > 1)
      x = vld1q_lane_f32(p + 1, x, 1);
    return n > 2 ? vld1q_lane_f32(p + 2, x, 2) : x;
  }
  static void store(float* p, f32 x) { vst1q_f32(p, x); }
  static void store_some(float* p, std::size_t n, f32 x) {
    if (n >= width)
      return store(p, x);
    vst1q_lane_f32(p, x, 0);
    if (n > 1)
      vst1q_lane_f32(p + 1, x, 1);
    if (n > 2)
      vst1q_lane_f32(p + 2, x, 2);
  }
  static f32 load_half(const std::uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
  static void store_half(std::uint16_t* p, f32 x) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
  static f32 round_to_half(f32 x) { return vcvt_f32_f16(vcvt_f16_f32(x)); }
  static f32 load_int8(const std::int8_t* p) {
    std::int32_t four;
    __builtin_memcpy(&four, p, 4);
    const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(four));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
  }
  static f32 load_integers(const std::int32_t* p) { return vcvtq_f32_s32(vld1q_s32(p)); }
  static void store_int8(std::int8_t* p, std::size_t n, f32 x) {
    const int16x4_t words = vqmovn_s32(vcvtnq_s32_f32(x));
    const int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
    __builtin_memcpy(p, &bytes, n >= width ? width : n);
  }

  static void store_int8(std::int8_t* p, f32 a, f32 b, f32 c, f32 d) {
    const int16x8_t words_ab = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(a)), vcvtnq_s32_f32(b));
    const int16x8_t words_cd = vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(c)), vcvtnq_s32_f32(d));
    vst1q_s8(p, vqmovn_high_s16(vqmovn_s16(words_ab), words_cd));
  }

  static f32 add(f32 a, f32 b) { return vaddq_f32(a, b); }
  static f32 sub(f32 a, f32 b) { return vsubq_f32(a, b); }
  static f32 mul(f32 a, f32 b) { return vmulq_f32(a, b); }
  static f32 fma(f32 a, f32 b, f32 c) { return vfmaq_f32(c, a, b); }
  static constexpr bool multiplies_by_lane = true;
  /// a * b[lane] + c
  template <int lane> static f32 fma_lane(f32 a, f32 b, f32 c) { return vfmaq_laneq_f32(c, a, b, lane); }
  /// Lanes exchanged with those h further.
  template <std::size_t h> static f32 swapped(f32 x) { return h == 1 ? vrev64q_f32(x) : vextq_f32(x, x, 2); }
  /// The sign of lanes with bit h changed.
  template <std::size_t h> static f32 negate_high(f32 x) {
    const uint32x4_t sign = {0, h == 1 ? 0x80000000u : 0, h == 1 ? 0 : 0x80000000u, 0x80000000u};
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), sign));
  }
  static f32 min(f32 a, f32 b) { return vminq_f32(a, b); }
  static f32 max(f32 a, f32 b) { return vmaxq_f32(a, b); }
  static f32 round(f32 x) { return vrndnq_f32(x); }
  static f32 zero_where_less(f32 a, f32 b, f32 x) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), vcltq_f32(a, b)));
  }
  static f32 times_power_of_two(f32 x, f32 n) {
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), vshlq_n_s32(vcvtnq_s32_f32(n), 23)));
  }
  static float sum(f32 x) { return vaddvq_f32(x); }
  static float maximum(f32 x) { return vmaxvq_f32(x); }

  static i32 zero_bits() { return vdupq_n_u32(0); }
  static i32 abs_bits(f32 x) { return vreinterpretq_u32_f32(vabsq_f32(x)); }
  static i32 max_bits(i32 a, i32 b) { return vmaxq_u32(a, b); }
  static std::uint32_t maximum_bits(i32 x) { return vmaxvq_u32(x); }
  static void raise_bits(std::uint32_t* p, std::size_t n, i32 x) {
    alignas(16) std::uint32_t lanes[width];
    vst1q_u32(lanes, x);
    for (std::size_t i = 0; i < width && i < n; ++i)
      p[i] = lanes[i] > p[i] ? lanes[i] : p[i];
  }

  static f64x load_wide(const double* p, std::size_t n) {
    return {load_pair(p, n), load_pair(p + 2, n > 2 ? n - 2 : 0)};
  }
  static void store_wide(double* p, std::size_t n, f64x x) {
    store_pair(p, n, x.low);
    store_pair(p + 2, n > 2 ? n - 2 : 0, x.high);
  }
  static f32 narrow(f64x x, double factor) {
    return vcvt_high_f32_f64(vcvt_f32_f64(vmulq_n_f64(x.low, factor)), vmulq_n_f64(x.high, factor));
  }
  static f64x add_wide(f64x sum, f32 x) {
    return {vaddq_f64(sum.low, vcvt_f64_f32(vget_low_f32(x))), vaddq_f64(sum.high, vcvt_high_f64_f32(x))};
  }

private:
  static float64x2_t load_pair(const double* p, std::size_t n) {
    return n >= 2 ? vld1q_f64(p) : n == 1 ? vld1q_lane_f64(p, vdupq_n_f64(0), 0) : vdupq_n_f64(0);
  }
  static void store_pair(double* p, std::size_t n, float64x2_t x) {
    if (n >= 2)
      vst1q_f64(p, x);
    else if (n == 1)
      vst1q_lane_f64(p, x, 0);
  }
};

} // namespace
} // namespace intattn
