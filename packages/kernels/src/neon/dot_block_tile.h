#pragma once

// Register tiles of version 2 on sdot: scores scaled to 1/1024 octaves, and the float32 sums of blocks. `planes` is 1,
// or 2 for A as 128 times the first plus the second plane.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

#include "block/block_kernels.h"
#include "neon/dot_steps.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

// clang-format off
#define INTATTN_SHIFT(sum0, sum1, sum2, sum3)  \
  "shl v" #sum0 ".4s, v" #sum0 ".4s, #7\n"     \
  "shl v" #sum1 ".4s, v" #sum1 ".4s, #7\n"     \
  "shl v" #sum2 ".4s, v" #sum2 ".4s, #7\n"     \
  "shl v" #sum3 ".4s, v" #sum3 ".4s, #7\n"

/// The rows of A go on from the first plane to the second; B begins anew.
#define INTATTN_TWICE                   \
  "mov %[first], %[b]\n"                \
  "mov %[count], %[steps]\n"            \
  INTATTN_MULTIPLY("sdot")              \
  INTATTN_FOR_ROWS(INTATTN_SHIFT)       \
  "mov %[b], %[first]\n"                \
  "mov %[steps], %[count]\n"            \
  INTATTN_MULTIPLY("sdot")

/// Four scores of one row.
#define INTATTN_SCALE(x, key_scale, unit)             \
  "scvtf v" #x ".4s, v" #x ".4s\n"                    \
  "fmul v" #x ".4s, v" #x ".4s, v" #key_scale ".4s\n" \
  "fmul v" #x ".4s, v" #x ".4s, " unit "\n"

#define INTATTN_SCORE_ROW(unit, s0, s1, s2, s3)         \
  INTATTN_SCALE(s0, 0, unit)                            \
  INTATTN_SCALE(s1, 1, unit)                            \
  INTATTN_SCALE(s2, 2, unit)                            \
  INTATTN_SCALE(s3, 3, unit)                            \
  "st1 {v" #s0 ".4s, v" #s1 ".4s, v" #s2 ".4s, v" #s3 ".4s}, [%[out]], %[stride]\n" \
  "fmax v6.4s, v" #s0 ".4s, v" #s1 ".4s\n"              \
  "fmax v7.4s, v" #s2 ".4s, v" #s3 ".4s\n"              \
  "fmax v6.4s, v6.4s, v7.4s\n"                          \
  "ldr q7, [%[most]]\n"                                 \
  "fmax v7.4s, v7.4s, v6.4s\n"                          \
  "str q7, [%[most]], #16\n"

#define INTATTN_SCORES(products)                          \
  asm volatile(                                           \
      INTATTN_FOR_ROWS(INTATTN_ZERO)                      \
      products                                            \
      "ld1 {v0.4s, v1.4s, v2.4s, v3.4s}, [%[scale]]\n"    \
      "ldp q4, q5, [%[unit]]\n"                           \
      INTATTN_SCORE_ROW("v4.s[0]", 8, 9, 10, 11)          \
      INTATTN_SCORE_ROW("v4.s[1]", 12, 13, 14, 15)        \
      INTATTN_SCORE_ROW("v4.s[2]", 16, 17, 18, 19)        \
      INTATTN_SCORE_ROW("v4.s[3]", 20, 21, 22, 23)        \
      INTATTN_SCORE_ROW("v5.s[0]", 24, 25, 26, 27)        \
      INTATTN_SCORE_ROW("v5.s[1]", 28, 29, 30, 31)        \
      : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [a4] "+r"(a4), [a5] "+r"(a5), [b] "+r"(keys), \
        [steps] "+r"(steps), [out] "+r"(x), [most] "+r"(most), [first] "=&r"(first), [count] "=&r"(count)         \
      : [stride] "r"(stride * 4), [scale] "r"(key_scale), [unit] "r"(unit)                                        \
      : "memory", "cc", INTATTN_ALL_VECTORS)

/// Scores of six rows, `planes * depth` bytes each, and sixteen keys; `unit` [8], raises `most` [row][4].
template <int planes>
inline void score_six_rows(const std::int8_t* query, const float* unit, const std::int8_t* keys, const float* key_scale,
                           std::size_t depth, float* x, std::size_t stride, float* most) {
  const std::size_t row = planes * depth;
  const std::int8_t *a0 = query, *a1 = a0 + row, *a2 = a1 + row, *a3 = a2 + row, *a4 = a3 + row, *a5 = a4 + row;
  std::size_t steps = depth / tile_depth, count;
  const void* first;
  if constexpr (planes == 2)
    INTATTN_SCORES(INTATTN_TWICE);
  else
    INTATTN_SCORES(INTATTN_MULTIPLY("sdot"));
}

#define INTATTN_START(sum0, sum1, sum2, sum3) \
  "ld1 {v" #sum0 ".4s, v" #sum1 ".4s, v" #sum2 ".4s, v" #sum3 ".4s}, [%[start]]\n"

/// Adds one row to its sums.
#define INTATTN_ADD_ROW(factor, s0, s1, s2, s3)              \
  "ld1 {v0.4s, v1.4s, v2.4s, v3.4s}, [%[sums]]\n"            \
  "scvtf v" #s0 ".4s, v" #s0 ".4s\n"                         \
  "scvtf v" #s1 ".4s, v" #s1 ".4s\n"                         \
  "scvtf v" #s2 ".4s, v" #s2 ".4s\n"                         \
  "scvtf v" #s3 ".4s, v" #s3 ".4s\n"                         \
  "fmla v0.4s, v" #s0 ".4s, " factor "\n"                    \
  "fmla v1.4s, v" #s1 ".4s, " factor "\n"                    \
  "fmla v2.4s, v" #s2 ".4s, " factor "\n"                    \
  "fmla v3.4s, v" #s3 ".4s, " factor "\n"                    \
  "st1 {v0.4s, v1.4s, v2.4s, v3.4s}, [%[sums]], %[stride]\n"

#define INTATTN_VALUES(products)                          \
  asm volatile(                                           \
      INTATTN_FOR_ROWS(INTATTN_START)                     \
      products                                            \
      "ldp q4, q5, [%[factor]]\n"                         \
      INTATTN_ADD_ROW("v4.s[0]", 8, 9, 10, 11)            \
      INTATTN_ADD_ROW("v4.s[1]", 12, 13, 14, 15)          \
      INTATTN_ADD_ROW("v4.s[2]", 16, 17, 18, 19)          \
      INTATTN_ADD_ROW("v4.s[3]", 20, 21, 22, 23)          \
      INTATTN_ADD_ROW("v5.s[0]", 24, 25, 26, 27)          \
      INTATTN_ADD_ROW("v5.s[1]", 28, 29, 30, 31)          \
      : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [a4] "+r"(a4), [a5] "+r"(a5), [b] "+r"(values), \
        [steps] "+r"(steps), [sums] "+r"(sums), [first] "=&r"(first), [count] "=&r"(count)                          \
      : [stride] "r"(stride * 4), [start] "r"(start), [factor] "r"(factor)                                          \
      : "memory", "cc", INTATTN_ALL_VECTORS)

/// One block: adds six rows of sixteen columns to `sums`; `start` [16] is what accumulators begin with, `factor` [8].
template <int planes>
inline void value_six_rows(const std::int8_t* plane, std::size_t plane_stride, const float* factor,
                           const std::int8_t* values, const std::int32_t* start, float* sums, std::size_t stride) {
  const std::int8_t *a0 = plane, *a1 = a0 + plane_stride, *a2 = a1 + plane_stride, *a3 = a2 + plane_stride,
                    *a4 = a3 + plane_stride, *a5 = a4 + plane_stride;
  std::size_t steps = block_keys / tile_depth, count;
  const void* first;
  if constexpr (planes == 2)
    INTATTN_VALUES(INTATTN_TWICE);
  else
    INTATTN_VALUES(INTATTN_MULTIPLY("sdot"));
}

#undef INTATTN_SHIFT
#undef INTATTN_TWICE
#undef INTATTN_SCALE
#undef INTATTN_SCORE_ROW
#undef INTATTN_SCORES
#undef INTATTN_START
#undef INTATTN_ADD_ROW
#undef INTATTN_VALUES
// clang-format on

/// sum += A B
template <int R, int planes>
INTATTN_INLINE inline void multiply_planes(const std::int8_t* a, std::size_t a_stride, const std::int8_t* b,
                                           std::size_t depth, int32x4_t (&sum)[4 * R]) {
  multiply_tile<R>(a, a_stride, b, depth, sum);
  if constexpr (planes == 2) {
    unroll<4 * R>([&](auto i) INTATTN_INLINE { sum[i] = vshlq_n_s32(sum[i], 7); });
    multiply_tile<R>(a + depth, a_stride, b, depth, sum);
  }
}

/// As score_six_rows.
template <int R, int planes>
inline void score_rows(const std::int8_t* query, const float* unit, const std::int8_t* keys, const float* key_scale,
                       std::size_t depth, float* x, std::size_t stride, float* most) {
  if constexpr (R == tile_rows) {
    score_six_rows<planes>(query, unit, keys, key_scale, depth, x, stride, most);
  } else {
    int32x4_t sum[4 * R];
    unroll<4 * R>([&](auto i) INTATTN_INLINE { sum[i] = vdupq_n_s32(0); });
    multiply_planes<R, planes>(query, planes * depth, keys, depth, sum);
    unroll<R>([&](auto row) INTATTN_INLINE {
      float32x4_t top = vld1q_f32(most + 4 * row);
      unroll<4>([&](auto column) INTATTN_INLINE {
        const float32x4_t y =
            vmulq_n_f32(vmulq_f32(vcvtq_f32_s32(sum[4 * row + column]), vld1q_f32(key_scale + 4 * column)), unit[row]);
        vst1q_f32(x + std::size_t(row) * stride + 4 * column, y);
        top = vmaxq_f32(top, y);
      });
      vst1q_f32(most + 4 * row, top);
    });
  }
}

/// As value_six_rows.
template <int R, int planes>
inline void value_rows(const std::int8_t* plane, std::size_t plane_stride, const float* factor,
                       const std::int8_t* values, const std::int32_t* start, float* sums, std::size_t stride) {
  if constexpr (R == tile_rows) {
    value_six_rows<planes>(plane, plane_stride, factor, values, start, sums, stride);
  } else {
    int32x4_t sum[4 * R];
    unroll<R, 4>([&](auto row, auto column) INTATTN_INLINE { sum[4 * row + column] = vld1q_s32(start + 4 * column); });
    multiply_planes<R, planes>(plane, plane_stride, values, block_keys, sum);
    unroll<R, 4>([&](auto row, auto column) INTATTN_INLINE {
      float* to = sums + std::size_t(row) * stride + 4 * column;
      vst1q_f32(to, vfmaq_n_f32(vld1q_f32(to), vcvtq_f32_s32(sum[4 * row + column]), factor[row]));
    });
  }
}

} // namespace
} // namespace intattn
