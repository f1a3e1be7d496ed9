#pragma once

// Register tiles of smmla and usmmla: 2 x 2 results of two rows of eight bytes each. Operands are packed in steps of
// eight bytes of depth: the row pairs of A, then the column pairs of B, each pair as 16 bytes [row 0, row 1]. A tile
// has 4 * quads rows and eight columns; its accumulators are [row pair][column pair] of 32-bit lanes [a0 b0, a0 b1,
// a1 b0, a1 b1] in values and [a0 b0, a1 b0, a0 b1, a1 b1] in scores.
//
// The tile of twelve rows takes all 32 registers and is written in assembly: 24 accumulators, four registers for B,
// four for A, loaded four at a time; compilers do not find this allocation. Smaller tiles are for the last rows.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

#include "neon/matrix_steps.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

// clang-format off
#define INTATTN_MAXIMUM(most, sum0, sum1, sum2, sum3)       \
  "smax v" #most ".4s, v" #most ".4s, v" #sum0 ".4s\n"      \
  "smax v" #most ".4s, v" #most ".4s, v" #sum1 ".4s\n"      \
  "smax v" #most ".4s, v" #most ".4s, v" #sum2 ".4s\n"      \
  "smax v" #most ".4s, v" #most ".4s, v" #sum3 ".4s\n"

/// Two rows from the accumulators of a row pair.
#define INTATTN_STORE_ROWS(sum0, sum1, sum2, sum3)        \
  "zip1 v0.2d, v" #sum0 ".2d, v" #sum1 ".2d\n"            \
  "zip1 v1.2d, v" #sum2 ".2d, v" #sum3 ".2d\n"            \
  "zip2 v2.2d, v" #sum0 ".2d, v" #sum1 ".2d\n"            \
  "zip2 v3.2d, v" #sum2 ".2d, v" #sum3 ".2d\n"            \
  "st1 {v0.4s, v1.4s}, [%[out]], %[stride]\n"             \
  "st1 {v2.4s, v3.4s}, [%[out]], %[stride]\n"

#define INTATTN_LOAD_ROWS(sum0, sum1, sum2, sum3)         \
  "ld1 {v0.4s, v1.4s}, [%[a]], %[stride]\n"               \
  "ld1 {v2.4s, v3.4s}, [%[a]], %[stride]\n"               \
  "zip1 v" #sum0 ".2d, v0.2d, v2.2d\n"                    \
  "zip2 v" #sum1 ".2d, v0.2d, v2.2d\n"                    \
  "zip1 v" #sum2 ".2d, v1.2d, v3.2d\n"                    \
  "zip2 v" #sum3 ".2d, v1.2d, v3.2d\n"

#define INTATTN_SCORES(depth_steps)                                   \
  asm volatile(                                                       \
      "1:\n"                                                          \
      INTATTN_ZERO_TILE                                               \
      "mov %[a], %[query]\n"                                          \
      depth_steps                                                     \
      "ld1 {v0.4s, v1.4s, v2.4s, v3.4s}, [%[most]]\n"                 \
      "ldp q4, q5, [%[most], #64]\n"                                  \
      INTATTN_MAXIMUM(0, 8, 9, 10, 11)                                \
      INTATTN_MAXIMUM(1, 12, 13, 14, 15)                              \
      INTATTN_MAXIMUM(2, 16, 17, 18, 19)                              \
      INTATTN_MAXIMUM(3, 20, 21, 22, 23)                              \
      INTATTN_MAXIMUM(4, 24, 25, 26, 27)                              \
      INTATTN_MAXIMUM(5, 28, 29, 30, 31)                              \
      "st1 {v0.4s, v1.4s, v2.4s, v3.4s}, [%[most]]\n"                 \
      "stp q4, q5, [%[most], #64]\n"                                  \
      "st1 {v8.4s, v9.4s, v10.4s, v11.4s}, [%[scores]], #64\n"        \
      "st1 {v12.4s, v13.4s, v14.4s, v15.4s}, [%[scores]], #64\n"      \
      "st1 {v16.4s, v17.4s, v18.4s, v19.4s}, [%[scores1]], #64\n"     \
      "st1 {v20.4s, v21.4s, v22.4s, v23.4s}, [%[scores1]], #64\n"     \
      "st1 {v24.4s, v25.4s, v26.4s, v27.4s}, [%[scores2]], #64\n"     \
      "st1 {v28.4s, v29.4s, v30.4s, v31.4s}, [%[scores2]], #64\n"     \
      "subs %[tiles], %[tiles], #1\n"                                 \
      "b.ne 1b\n"                                                     \
      : [b] "+r"(key), [scores] "+r"(scores), [scores1] "+r"(scores1), [scores2] "+r"(scores2), [tiles] "+r"(tiles), \
        [a] "=&r"(a), [count] "=&r"(count)                            \
      : [zeros] "r"(zeros), [query] "r"(query), [most] "r"(most), [blocks] "r"(depth / 64), \
        [rest] "r"(depth % 64 / tile_depth)                           \
      : "memory", "cc", INTATTN_ALL_VECTORS)

/// Scores of twelve rows and `tiles` tiles of eight keys, stored as [quad][tile][row pair][key pair] accumulators, quads
/// 4 * stride apart; raises `most` [row pair][4]. The usual depths run without an inner loop.
inline void score_twelve_rows(const std::int8_t* query, const std::int8_t* key, std::size_t tiles, std::size_t depth,
                              std::int32_t* scores, std::size_t stride, std::int32_t* most) {
  std::int32_t *scores1 = scores + 4 * stride, *scores2 = scores1 + 4 * stride;
  const std::int8_t* a;
  std::size_t count;
  if (depth == 128)
    INTATTN_SCORES(INTATTN_SIXTEEN_STEPS(INTATTN_SCORE));
  else if (depth == 64)
    INTATTN_SCORES(INTATTN_EIGHT_STEPS(INTATTN_SCORE));
  else
    INTATTN_SCORES(INTATTN_MULTIPLY(INTATTN_SCORE, INTATTN_EIGHT_STEPS));
}

/// Twelve rows of eight output columns over `keys` keys, added to `out` or, when this is the first part, stored there.
inline void value_twelve_rows(const std::uint8_t* probabilities, const std::int8_t* value, std::size_t keys, bool first,
                              std::int32_t* out, std::size_t stride) {
  const void* a;
  std::size_t count;
  asm volatile(
      "cbnz %w[first], 1f\n"
      "mov %[a], %[out]\n"
      INTATTN_LOAD_ROWS(8, 9, 10, 11)
      INTATTN_LOAD_ROWS(12, 13, 14, 15)
      INTATTN_LOAD_ROWS(16, 17, 18, 19)
      INTATTN_LOAD_ROWS(20, 21, 22, 23)
      INTATTN_LOAD_ROWS(24, 25, 26, 27)
      INTATTN_LOAD_ROWS(28, 29, 30, 31)
      "b 6f\n"
      "1:\n"
      INTATTN_ZERO_TILE
      "6:\n"
      "mov %[a], %[probabilities]\n"
      INTATTN_MULTIPLY(INTATTN_VALUE, INTATTN_SIXTEEN_STEPS)
      INTATTN_STORE_ROWS(8, 9, 10, 11)
      INTATTN_STORE_ROWS(12, 13, 14, 15)
      INTATTN_STORE_ROWS(16, 17, 18, 19)
      INTATTN_STORE_ROWS(20, 21, 22, 23)
      INTATTN_STORE_ROWS(24, 25, 26, 27)
      INTATTN_STORE_ROWS(28, 29, 30, 31)
      : [b] "+r"(value), [out] "+r"(out), [a] "=&r"(a), [count] "=&r"(count)
      : [zeros] "r"(zeros), [probabilities] "r"(probabilities), [first] "r"(int(first)), [stride] "r"(stride * 4),
        [blocks] "r"(keys / 128), [rest] "r"(keys % 128 / tile_depth)
      : "memory", "cc", INTATTN_ALL_VECTORS);
}

#undef INTATTN_MAXIMUM
#undef INTATTN_STORE_ROWS
#undef INTATTN_LOAD_ROWS
#undef INTATTN_SCORES
// clang-format on

/// As score_twelve_rows.
template <int quads>
inline void score_rows(const std::int8_t* query, const std::int8_t* key, std::size_t tiles, std::size_t depth,
                       std::int32_t* scores, std::size_t stride, std::int32_t* most) {
  for (; tiles > 0; --tiles, key += tile_columns * depth, scores += 4 * tile_columns) {
    int32x4_t sum[8 * quads];
    unroll<8 * quads>([&](auto i) INTATTN_INLINE { sum[i] = vdupq_n_s32(0); });
    multiply_tile<quads>(query, key, depth, sum);
    unroll<2 * quads>([&](auto r) INTATTN_INLINE {
      std::int32_t* to = scores + r / 2 * 4 * stride + r % 2 * 16;
      unroll<4>([&](auto c) INTATTN_INLINE { vst1q_s32(to + 4 * c, sum[4 * r + c]); });
      const int32x4_t tile_most =
          vmaxq_s32(vmaxq_s32(sum[4 * r], sum[4 * r + 1]), vmaxq_s32(sum[4 * r + 2], sum[4 * r + 3]));
      vst1q_s32(most + 4 * r, vmaxq_s32(vld1q_s32(most + 4 * r), tile_most));
    });
  }
}
template <>
inline void score_rows<3>(const std::int8_t* query, const std::int8_t* key, std::size_t tiles, std::size_t depth,
                          std::int32_t* scores, std::size_t stride, std::int32_t* most) {
  score_twelve_rows(query, key, tiles, depth, scores, stride, most);
}

/// As value_twelve_rows.
template <int quads>
inline void value_rows(const std::uint8_t* probabilities, const std::int8_t* value, std::size_t keys, bool first,
                       std::int32_t* out, std::size_t stride) {
  int32x4_t sum[8 * quads];
  unroll<8 * quads>([&](auto i) INTATTN_INLINE { sum[i] = vdupq_n_s32(0); });
  multiply_tile<quads>(probabilities, value, keys, sum);
  unroll<quads>([&](auto quad) INTATTN_INLINE {
    unroll<4>([&](auto row) INTATTN_INLINE {
      constexpr int pair = 2 * decltype(quad)::value + decltype(row)::value / 2;
      std::int32_t* to = out + (4 * quad + row) * stride;
      unroll<2>([&](auto half) INTATTN_INLINE {
        const int32x4_t x = sum[4 * pair + 2 * half], y = sum[4 * pair + 2 * half + 1];
        const int32x4_t result = row % 2 ? zip_high(x, y) : zip_low(x, y);
        vst1q_s32(to + 4 * half, first ? result : vaddq_s32(vld1q_s32(to + 4 * half), result));
      });
    });
  });
}
template <>
inline void value_rows<3>(const std::uint8_t* probabilities, const std::int8_t* value, std::size_t keys, bool first,
                          std::int32_t* out, std::size_t stride) {
  value_twelve_rows(probabilities, value, keys, first, out, stride);
}

} // namespace
} // namespace intattn
