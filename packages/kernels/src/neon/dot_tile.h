#pragma once

// Register tiles of sdot and udot: up to six rows and sixteen columns. A lies row by row; B is packed in groups of four
// bytes of depth, each group as sixteen columns of four bytes. The tile of six rows takes all 32 registers and is
// written in assembly: 24 accumulators, six registers for A, two for B; compilers do not find this allocation. Smaller
// tiles are for the last rows.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

#include "neon/dot_steps.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

// clang-format off
#define INTATTN_LOAD(sum0, sum1, sum2, sum3) \
  "ld1 {v" #sum0 ".4s, v" #sum1 ".4s, v" #sum2 ".4s, v" #sum3 ".4s}, [%[in]], %[stride]\n"

#define INTATTN_STORE(sum0, sum1, sum2, sum3) \
  "st1 {v" #sum0 ".4s, v" #sum1 ".4s, v" #sum2 ".4s, v" #sum3 ".4s}, [%[out]], %[stride]\n"

#define INTATTN_MAXIMUM(sum0, sum1, sum2, sum3)       \
  "ldr q0, [%[most]]\n"                               \
  "smax v1.4s, v" #sum0 ".4s, v" #sum1 ".4s\n"        \
  "smax v2.4s, v" #sum2 ".4s, v" #sum3 ".4s\n"        \
  "smax v1.4s, v1.4s, v2.4s\n"                        \
  "smax v0.4s, v0.4s, v1.4s\n"                        \
  "str q0, [%[most]], #64\n"

/// Scores of six rows and sixteen keys; raises the lane maxima `most`, 64 bytes a row, of which 16 are used.
inline void score_six_rows(const std::int8_t* query, const std::int8_t* key, std::size_t depth, std::int32_t* scores,
                           std::size_t stride, std::int32_t* most) {
  const std::int8_t *a0 = query, *a1 = a0 + depth, *a2 = a1 + depth, *a3 = a2 + depth, *a4 = a3 + depth,
                    *a5 = a4 + depth;
  std::size_t steps = depth / tile_depth;
  asm volatile(
      INTATTN_FOR_ROWS(INTATTN_ZERO)
      INTATTN_MULTIPLY("sdot")
      INTATTN_FOR_ROWS(INTATTN_MAXIMUM)
      INTATTN_FOR_ROWS(INTATTN_STORE)
      : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [a4] "+r"(a4), [a5] "+r"(a5), [b] "+r"(key),
        [steps] "+r"(steps), [out] "+r"(scores), [most] "+r"(most)
      : [stride] "r"(stride * 4)
      : "memory", "cc", INTATTN_ALL_VECTORS);
}

/// Adds six rows of sixteen output columns over `keys` > 0 keys to `sums`.
inline void value_six_rows(const std::uint8_t* probabilities, std::size_t probability_stride, const std::uint8_t* value,
                           std::size_t keys, std::int32_t* sums, std::size_t stride) {
  const std::uint8_t *a0 = probabilities, *a1 = a0 + probability_stride, *a2 = a1 + probability_stride,
                     *a3 = a2 + probability_stride, *a4 = a3 + probability_stride, *a5 = a4 + probability_stride;
  const std::int32_t* in = sums;
  std::size_t steps = keys / tile_depth;
  asm volatile(
      INTATTN_FOR_ROWS(INTATTN_LOAD)
      INTATTN_MULTIPLY("udot")
      INTATTN_FOR_ROWS(INTATTN_STORE)
      : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [a4] "+r"(a4), [a5] "+r"(a5), [b] "+r"(value),
        [steps] "+r"(steps), [in] "+r"(in), [out] "+r"(sums)
      : [stride] "r"(stride * 4)
      : "memory", "cc", INTATTN_ALL_VECTORS);
}

#undef INTATTN_LOAD
#undef INTATTN_STORE
#undef INTATTN_MAXIMUM
// clang-format on

/// As score_six_rows.
template <int R>
inline void score_rows(const std::int8_t* query, const std::int8_t* key, std::size_t depth, std::int32_t* scores,
                       std::size_t stride, std::int32_t* most) {
  int32x4_t sum[4 * R];
  unroll<4 * R>([&](auto i) INTATTN_INLINE { sum[i] = vdupq_n_s32(0); });
  multiply_tile<R>(query, depth, key, depth, sum);
  unroll<R>([&](auto row) INTATTN_INLINE {
    int32x4_t top = vld1q_s32(most + 16 * row);
    unroll<4>([&](auto column) INTATTN_INLINE {
      vst1q_s32(scores + std::size_t(row) * stride + 4 * column, sum[4 * row + column]);
      top = vmaxq_s32(top, sum[4 * row + column]);
    });
    vst1q_s32(most + 16 * row, top);
  });
}
template <>
inline void score_rows<tile_rows>(const std::int8_t* query, const std::int8_t* key, std::size_t depth,
                                  std::int32_t* scores, std::size_t stride, std::int32_t* most) {
  score_six_rows(query, key, depth, scores, stride, most);
}

/// As value_six_rows.
template <int R>
inline void value_rows(const std::uint8_t* probabilities, std::size_t probability_stride, const std::uint8_t* value,
                       std::size_t keys, std::int32_t* sums, std::size_t stride) {
  int32x4_t sum[4 * R];
  unroll<R, 4>([&](auto row, auto column) INTATTN_INLINE {
    sum[4 * row + column] = vld1q_s32(sums + std::size_t(row) * stride + 4 * column);
  });
  multiply_tile<R>(probabilities, probability_stride, value, keys, sum);
  unroll<R, 4>([&](auto row, auto column)
                   INTATTN_INLINE { vst1q_s32(sums + std::size_t(row) * stride + 4 * column, sum[4 * row + column]); });
}
template <>
inline void value_rows<tile_rows>(const std::uint8_t* probabilities, std::size_t probability_stride,
                                  const std::uint8_t* value, std::size_t keys, std::int32_t* sums, std::size_t stride) {
  value_six_rows(probabilities, probability_stride, value, keys, sums, stride);
}

} // namespace
} // namespace intattn
