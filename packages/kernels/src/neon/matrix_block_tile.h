#pragma once

// Register tiles of version 2 on smmla and usmmla: scores scaled to 1/1024 octaves, and the float32 sums of blocks.
// `planes` is 1, or 2 for A as 128 times the first plus the second plane.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

#include "block/block_kernels.h"
#include "neon/matrix_steps.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

// clang-format off
#define INTATTN_SHIFT(sum0, sum1, sum2, sum3)  \
  "shl v" #sum0 ".4s, v" #sum0 ".4s, #7\n"     \
  "shl v" #sum1 ".4s, v" #sum1 ".4s, #7\n"     \
  "shl v" #sum2 ".4s, v" #sum2 ".4s, #7\n"     \
  "shl v" #sum3 ".4s, v" #sum3 ".4s, #7\n"

#define INTATTN_SHIFT_TILE         \
  INTATTN_SHIFT(8, 9, 10, 11)      \
  INTATTN_SHIFT(12, 13, 14, 15)    \
  INTATTN_SHIFT(16, 17, 18, 19)    \
  INTATTN_SHIFT(20, 21, 22, 23)    \
  INTATTN_SHIFT(24, 25, 26, 27)    \
  INTATTN_SHIFT(28, 29, 30, 31)

#define INTATTN_TWICE(steps)       \
  "mov %[first], %[b]\n"           \
  steps                            \
  INTATTN_SHIFT_TILE               \
  "mov %[b], %[first]\n"           \
  steps

/// Four scores of one row: v2 has the units of four rows.
#define INTATTN_SCALE(x, key_scale, row)              \
  "scvtf v" #x ".4s, v" #x ".4s\n"                    \
  "fmul v" #x ".4s, v" #x ".4s, v" #key_scale ".4s\n" \
  "fmul v" #x ".4s, v" #x ".4s, v2.s[" #row "]\n"

/// Rows of the accumulators of two row pairs: scaled, stored, and their maxima raised.
#define INTATTN_SCORE_ROWS(unit, s0, s1, s2, s3, s4, s5, s6, s7) \
  "ldr q2, [%[unit], #" #unit "]\n"                 \
  "uzp1 v4.4s, v" #s0 ".4s, v" #s1 ".4s\n"          \
  "uzp2 v" #s0 ".4s, v" #s0 ".4s, v" #s1 ".4s\n"    \
  "uzp1 v5.4s, v" #s2 ".4s, v" #s3 ".4s\n"          \
  "uzp2 v" #s1 ".4s, v" #s2 ".4s, v" #s3 ".4s\n"    \
  INTATTN_SCALE(4, 0, 0)                            \
  INTATTN_SCALE(5, 1, 0)                            \
  INTATTN_SCALE(s0, 0, 1)                           \
  INTATTN_SCALE(s1, 1, 1)                           \
  "st1 {v4.4s, v5.4s}, [%[out]], %[stride]\n"       \
  "st1 {v" #s0 ".4s, v" #s1 ".4s}, [%[out]], %[stride]\n" \
  "fmax v" #s2 ".4s, v4.4s, v5.4s\n"                \
  "fmax v" #s3 ".4s, v" #s0 ".4s, v" #s1 ".4s\n"    \
  "uzp1 v4.4s, v" #s4 ".4s, v" #s5 ".4s\n"          \
  "uzp2 v" #s4 ".4s, v" #s4 ".4s, v" #s5 ".4s\n"    \
  "uzp1 v5.4s, v" #s6 ".4s, v" #s7 ".4s\n"          \
  "uzp2 v" #s5 ".4s, v" #s6 ".4s, v" #s7 ".4s\n"    \
  INTATTN_SCALE(4, 0, 2)                            \
  INTATTN_SCALE(5, 1, 2)                            \
  INTATTN_SCALE(s4, 0, 3)                           \
  INTATTN_SCALE(s5, 1, 3)                           \
  "st1 {v4.4s, v5.4s}, [%[out]], %[stride]\n"       \
  "st1 {v" #s4 ".4s, v" #s5 ".4s}, [%[out]], %[stride]\n" \
  "fmax v" #s6 ".4s, v4.4s, v5.4s\n"                \
  "fmax v" #s7 ".4s, v" #s4 ".4s, v" #s5 ".4s\n"    \
  "ld1 {v4.4s, v5.4s, v6.4s, v7.4s}, [%[most]]\n"   \
  "fmax v4.4s, v4.4s, v" #s2 ".4s\n"                \
  "fmax v5.4s, v5.4s, v" #s3 ".4s\n"                \
  "fmax v6.4s, v6.4s, v" #s6 ".4s\n"                \
  "fmax v7.4s, v7.4s, v" #s7 ".4s\n"                \
  "st1 {v4.4s, v5.4s, v6.4s, v7.4s}, [%[most]], #64\n"

#define INTATTN_SCORES(depth_steps)                                   \
  asm volatile(                                                       \
      "1:\n"                                                          \
      INTATTN_ZERO_TILE                                               \
      "mov %[a], %[query]\n"                                          \
      depth_steps                                                     \
      "ldp q0, q1, [%[scale]], #32\n"                                 \
      INTATTN_SCORE_ROWS(0, 8, 9, 10, 11, 12, 13, 14, 15)             \
      INTATTN_SCORE_ROWS(16, 16, 17, 18, 19, 20, 21, 22, 23)          \
      INTATTN_SCORE_ROWS(32, 24, 25, 26, 27, 28, 29, 30, 31)          \
      "sub %[most], %[most], #192\n"                                  \
      "add %[out], %[out], %[next]\n"                                 \
      "subs %[tiles], %[tiles], #1\n"                                 \
      "b.ne 1b\n"                                                     \
      : [b] "+r"(keys), [out] "+r"(x), [scale] "+r"(key_scale), [tiles] "+r"(tiles), [most] "+r"(most), \
        [a] "=&r"(a), [first] "=&r"(first), [count] "=&r"(count)      \
      : [zeros] "r"(zeros), [query] "r"(query), [unit] "r"(unit), [stride] "r"(stride * 4), \
        [next] "r"(32 - 48 * std::ptrdiff_t(stride)), [blocks] "r"(depth / 64), [rest] "r"(depth % 64 / tile_depth) \
      : "memory", "cc", INTATTN_ALL_VECTORS)

/// Scores of twelve rows and `tiles` tiles of eight keys; raises `most` [row][4]. The usual depths run without an inner
/// loop.
template <int planes>
inline void score_twelve_rows(const std::int8_t* query, const float* unit, const std::int8_t* keys,
                              const float* key_scale, std::size_t tiles, std::size_t depth, float* x,
                              std::size_t stride, float* most) {
  const void *a, *first;
  std::size_t count;
  if constexpr (planes == 2)
    INTATTN_SCORES(INTATTN_TWICE(INTATTN_MULTIPLY(INTATTN_SCORE, INTATTN_EIGHT_STEPS)));
  else if (depth == 128)
    INTATTN_SCORES(INTATTN_SIXTEEN_STEPS(INTATTN_SCORE));
  else if (depth == 64)
    INTATTN_SCORES(INTATTN_EIGHT_STEPS(INTATTN_SCORE));
  else
    INTATTN_SCORES(INTATTN_MULTIPLY(INTATTN_SCORE, INTATTN_EIGHT_STEPS));
}

/// Adds one row pair to its sums: `factor` has [f0 f0 f1 f1].
#define INTATTN_ADD_PAIR(factor, s0, s1, s2, s3)                          \
  "ld1 {v0.4s, v1.4s, v2.4s, v3.4s}, [%[sums]]\n"                         \
  "scvtf v" #s0 ".4s, v" #s0 ".4s\n"                                      \
  "scvtf v" #s1 ".4s, v" #s1 ".4s\n"                                      \
  "scvtf v" #s2 ".4s, v" #s2 ".4s\n"                                      \
  "scvtf v" #s3 ".4s, v" #s3 ".4s\n"                                      \
  "fmla v0.4s, v" #s0 ".4s, v" #factor ".4s\n"                            \
  "fmla v1.4s, v" #s1 ".4s, v" #factor ".4s\n"                            \
  "fmla v2.4s, v" #s2 ".4s, v" #factor ".4s\n"                            \
  "fmla v3.4s, v" #s3 ".4s, v" #factor ".4s\n"                            \
  "st1 {v0.4s, v1.4s, v2.4s, v3.4s}, [%[sums]], #64\n"

#define INTATTN_VALUES(block_steps)                   \
  asm volatile(                                       \
      "1:\n"                                          \
      INTATTN_ZERO_TILE                               \
      "mov %[a], %[packed]\n"                         \
      block_steps                                     \
      "ldp q4, q5, [%[factor]]\n"                     \
      INTATTN_ADD_PAIR(4, 8, 9, 10, 11)               \
      INTATTN_ADD_PAIR(5, 12, 13, 14, 15)             \
      "ldp q4, q5, [%[factor], #32]\n"                \
      INTATTN_ADD_PAIR(4, 16, 17, 18, 19)             \
      INTATTN_ADD_PAIR(5, 20, 21, 22, 23)             \
      "ldp q4, q5, [%[factor], #64]\n"                \
      INTATTN_ADD_PAIR(4, 24, 25, 26, 27)             \
      INTATTN_ADD_PAIR(5, 28, 29, 30, 31)             \
      "subs %[tiles], %[tiles], #1\n"                 \
      "b.ne 1b\n"                                     \
      : [b] "+r"(values), [sums] "+r"(sums), [tiles] "+r"(tiles), [a] "=&r"(a), [first] "=&r"(first) \
      : [zeros] "r"(zeros), [packed] "r"(packed), [factor] "r"(factor)                             \
      : "memory", "cc", INTATTN_ALL_VECTORS)

/// One block: adds twelve rows times `tiles` tiles of eight columns to `sums` [tile][row pair][column pair].
template <int planes>
inline void value_twelve_rows(const std::uint8_t* packed, const float* factor, const std::int8_t* values,
                              std::size_t tiles, float* sums) {
  const void *a, *first;
  if constexpr (planes == 2)
    INTATTN_VALUES(INTATTN_TWICE(INTATTN_EIGHT_STEPS(INTATTN_VALUE)));
  else
    INTATTN_VALUES(INTATTN_EIGHT_STEPS(INTATTN_VALUE));
}

#undef INTATTN_SHIFT
#undef INTATTN_SHIFT_TILE
#undef INTATTN_TWICE
#undef INTATTN_SCALE
#undef INTATTN_SCORE_ROWS
#undef INTATTN_SCORES
#undef INTATTN_ADD_PAIR
#undef INTATTN_VALUES
// clang-format on

/// sum[row pair][column pair] = A B
template <int quads, int planes, class T>
INTATTN_INLINE inline void multiply_planes(const T* a, const std::int8_t* b, std::size_t depth,
                                           int32x4_t (&sum)[8 * quads]) {
  unroll<8 * quads>([&](auto i) INTATTN_INLINE { sum[i] = vdupq_n_s32(0); });
  multiply_tile<quads>(a, b, depth, sum);
  if constexpr (planes == 2) {
    unroll<8 * quads>([&](auto i) INTATTN_INLINE { sum[i] = vshlq_n_s32(sum[i], 7); });
    multiply_tile<quads>(a + 4 * quads * depth, b, depth, sum);
  }
}

/// As score_twelve_rows.
template <int quads, int planes>
inline void score_rows(const std::int8_t* query, const float* unit, const std::int8_t* keys, const float* key_scale,
                       std::size_t tiles, std::size_t depth, float* x, std::size_t stride, float* most) {
  if constexpr (quads == 3) {
    score_twelve_rows<planes>(query, unit, keys, key_scale, tiles, depth, x, stride, most);
  } else {
    for (; tiles > 0; --tiles, keys += tile_columns * depth, x += tile_columns, key_scale += tile_columns) {
      int32x4_t sum[8 * quads];
      multiply_planes<quads, planes>(query, keys, depth, sum);
      const float32x4_t scale0 = vld1q_f32(key_scale), scale1 = vld1q_f32(key_scale + 4);
      unroll<4 * quads>([&](auto row) INTATTN_INLINE {
        constexpr int pair = decltype(row)::value / 2, odd = decltype(row)::value % 2;
        const auto lanes = [&](int i) INTATTN_INLINE {
          const int32x4_t a = sum[4 * pair + i], b = sum[4 * pair + i + 1];
          return vcvtq_f32_s32(odd ? vuzp2q_s32(a, b) : vuzp1q_s32(a, b));
        };
        const float32x4_t x0 = vmulq_n_f32(vmulq_f32(lanes(0), scale0), unit[row]);
        const float32x4_t x1 = vmulq_n_f32(vmulq_f32(lanes(2), scale1), unit[row]);
        vst1q_f32(x + std::size_t(row) * stride, x0);
        vst1q_f32(x + std::size_t(row) * stride + 4, x1);
        vst1q_f32(most + 4 * row, vmaxq_f32(vld1q_f32(most + 4 * row), vmaxq_f32(x0, x1)));
      });
    }
  }
}

/// As value_twelve_rows.
template <int quads, int planes>
inline void value_rows(const std::uint8_t* packed, const float* factor, const std::int8_t* values, std::size_t tiles,
                       float* sums) {
  if constexpr (quads == 3) {
    value_twelve_rows<planes>(packed, factor, values, tiles, sums);
  } else {
    for (; tiles > 0; --tiles, values += tile_columns * block_keys) {
      int32x4_t sum[8 * quads];
      multiply_planes<quads, planes>(packed, values, block_keys, sum);
      unroll<8 * quads>([&](auto i) INTATTN_INLINE {
        vst1q_f32(sums, vfmaq_f32(vld1q_f32(sums), vcvtq_f32_s32(sum[i]), vld1q_f32(factor + i / 4 * 4)));
        sums += 4;
      });
    }
  }
}

} // namespace
} // namespace intattn
