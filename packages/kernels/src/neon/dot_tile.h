#pragma once

// Register tiles of sdot and udot: up to six rows and sixteen columns. A lies row by row; B is packed in groups of four
// bytes of depth, each group as sixteen columns of four bytes. The tile of six rows takes all 32 registers and is
// written in assembly: 24 accumulators, six registers for A, two for B; compilers do not find this allocation. Smaller
// tiles are for the last rows.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

#include "neon/tile.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

constexpr int tile_rows = 6;
constexpr std::size_t tile_columns = 16;
constexpr std::size_t tile_depth = 16; ///< depth is a multiple of this

// clang-format off
#define INTATTN_ROW(dot, row, group, sum0, sum1)                       \
  dot " v" #sum0 ".4s, v6.16b, v" #row ".4b[" #group "]\n"             \
  dot " v" #sum1 ".4s, v7.16b, v" #row ".4b[" #group "]\n"

/// Four bytes of depth.
#define INTATTN_GROUP(dot, group)         \
  "ldp q6, q7, [%[b]], #32\n"             \
  INTATTN_ROW(dot, 0, group, 8, 9)        \
  INTATTN_ROW(dot, 1, group, 12, 13)      \
  INTATTN_ROW(dot, 2, group, 16, 17)      \
  INTATTN_ROW(dot, 3, group, 20, 21)      \
  INTATTN_ROW(dot, 4, group, 24, 25)      \
  INTATTN_ROW(dot, 5, group, 28, 29)      \
  "ldp q6, q7, [%[b]], #32\n"             \
  INTATTN_ROW(dot, 0, group, 10, 11)      \
  INTATTN_ROW(dot, 1, group, 14, 15)      \
  INTATTN_ROW(dot, 2, group, 18, 19)      \
  INTATTN_ROW(dot, 3, group, 22, 23)      \
  INTATTN_ROW(dot, 4, group, 26, 27)      \
  INTATTN_ROW(dot, 5, group, 30, 31)

/// sum += A B over `steps` times 16 bytes of depth.
#define INTATTN_MULTIPLY(dot)         \
  "1:\n"                              \
  "ldr q0, [%[a0]], #16\n"            \
  "ldr q1, [%[a1]], #16\n"            \
  "ldr q2, [%[a2]], #16\n"            \
  "ldr q3, [%[a3]], #16\n"            \
  "ldr q4, [%[a4]], #16\n"            \
  "ldr q5, [%[a5]], #16\n"            \
  INTATTN_GROUP(dot, 0)               \
  INTATTN_GROUP(dot, 1)               \
  INTATTN_GROUP(dot, 2)               \
  INTATTN_GROUP(dot, 3)               \
  "subs %[steps], %[steps], #1\n"     \
  "b.ne 1b\n"

#define INTATTN_FOR_ROWS(f)  \
  f(8, 9, 10, 11)            \
  f(12, 13, 14, 15)          \
  f(16, 17, 18, 19)          \
  f(20, 21, 22, 23)          \
  f(24, 25, 26, 27)          \
  f(28, 29, 30, 31)

#define INTATTN_ZERO(sum0, sum1, sum2, sum3)   \
  "movi v" #sum0 ".2d, #0\n"                   \
  "movi v" #sum1 ".2d, #0\n"                   \
  "movi v" #sum2 ".2d, #0\n"                   \
  "movi v" #sum3 ".2d, #0\n"

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

#undef INTATTN_ROW
#undef INTATTN_GROUP
#undef INTATTN_MULTIPLY
#undef INTATTN_FOR_ROWS
#undef INTATTN_ZERO
#undef INTATTN_LOAD
#undef INTATTN_STORE
#undef INTATTN_MAXIMUM
// clang-format on

template <int lane> inline int32x4_t dot(int32x4_t sum, int8x16_t a, const std::int8_t* b) {
  return vdotq_laneq_s32(sum, vld1q_s8(b), a, lane);
}
template <int lane> inline int32x4_t dot(int32x4_t sum, uint8x16_t a, const std::uint8_t* b) {
  return vreinterpretq_s32_u32(vdotq_laneq_u32(vreinterpretq_u32_s32(sum), vld1q_u8(b), a, lane));
}

/// sum[R][four vectors of columns] += A B
template <int R, class T>
INTATTN_INLINE inline void multiply_tile(const T* a, std::size_t a_stride, const T* b, std::size_t depth,
                                         int32x4_t (&sum)[4 * R]) {
  for (std::size_t k = 0; k < depth; k += tile_depth, a += tile_depth, b += tile_depth * tile_columns)
    unroll<R>([&](auto row) INTATTN_INLINE {
      const auto x = load_bytes(a + std::size_t(row) * a_stride);
      unroll<4, 4>([&](auto group, auto column) INTATTN_INLINE {
        int32x4_t& to = sum[4 * row + column];
        to = dot<decltype(group)::value>(to, x, b + 64 * group + 16 * column);
      });
    });
}

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
