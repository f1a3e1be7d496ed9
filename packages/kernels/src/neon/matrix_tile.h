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

#include "neon/tile.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

constexpr std::size_t tile_columns = 8;
constexpr std::size_t tile_depth = 16; ///< depth is a multiple of this: two steps

// clang-format off
#define INTATTN_SCORE(sum, a, b) "smmla v" #sum ".4s, v" #b ".16b, v" #a ".16b\n"
#define INTATTN_VALUE(sum, a, b) "usmmla v" #sum ".4s, v" #a ".16b, v" #b ".16b\n"

#define INTATTN_LOAD_A "ld1 {v4.16b, v5.16b, v6.16b, v7.16b}, [%[a]], #64\n"
#define INTATTN_LOAD_B "ld1 {v0.16b, v1.16b, v2.16b, v3.16b}, [%[b]], #64\n"

/// One row pair.
#define INTATTN_PAIR(multiply, a, sum0, sum1, sum2, sum3) \
  multiply(sum0, a, 0) multiply(sum1, a, 1) multiply(sum2, a, 2) multiply(sum3, a, 3)

#define INTATTN_TWO_STEPS(multiply)            \
  INTATTN_LOAD_B                               \
  INTATTN_LOAD_A                               \
  INTATTN_PAIR(multiply, 4, 8, 9, 10, 11)      \
  INTATTN_PAIR(multiply, 5, 12, 13, 14, 15)    \
  INTATTN_PAIR(multiply, 6, 16, 17, 18, 19)    \
  INTATTN_PAIR(multiply, 7, 20, 21, 22, 23)    \
  INTATTN_LOAD_A                               \
  INTATTN_PAIR(multiply, 4, 24, 25, 26, 27)    \
  INTATTN_PAIR(multiply, 5, 28, 29, 30, 31)    \
  INTATTN_LOAD_B                               \
  INTATTN_PAIR(multiply, 6, 8, 9, 10, 11)      \
  INTATTN_PAIR(multiply, 7, 12, 13, 14, 15)    \
  INTATTN_LOAD_A                               \
  INTATTN_PAIR(multiply, 4, 16, 17, 18, 19)    \
  INTATTN_PAIR(multiply, 5, 20, 21, 22, 23)    \
  INTATTN_PAIR(multiply, 6, 24, 25, 26, 27)    \
  INTATTN_PAIR(multiply, 7, 28, 29, 30, 31)

#define INTATTN_EIGHT_STEPS(multiply) \
  INTATTN_TWO_STEPS(multiply)         \
  INTATTN_TWO_STEPS(multiply)         \
  INTATTN_TWO_STEPS(multiply)         \
  INTATTN_TWO_STEPS(multiply)
#define INTATTN_SIXTEEN_STEPS(multiply) \
  INTATTN_EIGHT_STEPS(multiply)         \
  INTATTN_EIGHT_STEPS(multiply)

/// The whole depth: `blocks` times what `steps` does and `rest` times 16 bytes.
#define INTATTN_MULTIPLY(multiply, steps) \
  "cbz %[blocks], 3f\n"            \
  "mov %[count], %[blocks]\n"      \
  "2:\n"                           \
  steps(multiply)                  \
  "subs %[count], %[count], #1\n"  \
  "b.ne 2b\n"                      \
  "3:\n"                           \
  "cbz %[rest], 5f\n"              \
  "mov %[count], %[rest]\n"        \
  "4:\n"                           \
  INTATTN_TWO_STEPS(multiply)      \
  "subs %[count], %[count], #1\n"  \
  "b.ne 4b\n"                      \
  "5:\n"

/// Zeros come from memory, four registers an instruction, which saves instructions.
#define INTATTN_ZERO_TILE                               \
  "ld1 {v8.4s, v9.4s, v10.4s, v11.4s}, [%[zeros]]\n"    \
  "ld1 {v12.4s, v13.4s, v14.4s, v15.4s}, [%[zeros]]\n"  \
  "ld1 {v16.4s, v17.4s, v18.4s, v19.4s}, [%[zeros]]\n"  \
  "ld1 {v20.4s, v21.4s, v22.4s, v23.4s}, [%[zeros]]\n"  \
  "ld1 {v24.4s, v25.4s, v26.4s, v27.4s}, [%[zeros]]\n"  \
  "ld1 {v28.4s, v29.4s, v30.4s, v31.4s}, [%[zeros]]\n"

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

alignas(64) constexpr std::int32_t zeros[16] = {};

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

#undef INTATTN_SCORE
#undef INTATTN_VALUE
#undef INTATTN_LOAD_A
#undef INTATTN_LOAD_B
#undef INTATTN_PAIR
#undef INTATTN_TWO_STEPS
#undef INTATTN_EIGHT_STEPS
#undef INTATTN_SIXTEEN_STEPS
#undef INTATTN_MULTIPLY
#undef INTATTN_SCORES
#undef INTATTN_ZERO_TILE
#undef INTATTN_MAXIMUM
#undef INTATTN_STORE_ROWS
#undef INTATTN_LOAD_ROWS
// clang-format on

inline int32x4_t multiply(int32x4_t sum, int8x16_t a, int8x16_t b) { return vmmlaq_s32(sum, b, a); }
inline int32x4_t multiply(int32x4_t sum, uint8x16_t a, int8x16_t b) { return vusmmlaq_s32(sum, a, b); }

/// sum[row pair][column pair] += A B over the whole depth.
template <int quads, class T>
INTATTN_INLINE inline void multiply_tile(const T* a, const std::int8_t* b, std::size_t depth,
                                         int32x4_t (&sum)[8 * quads]) {
  for (std::size_t k = 0; k < depth; k += 8, a += 32 * quads, b += 64) {
    const int8x16x4_t column = vld1q_s8_x4(b);
    unroll<2 * quads>([&](auto r) INTATTN_INLINE {
      const auto row = load_bytes(a + 16 * r);
      unroll<4>([&](auto c) INTATTN_INLINE { sum[4 * r + c] = multiply(sum[4 * r + c], row, column.val[c]); });
    });
  }
}

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

inline int32x4_t zip_low(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
inline int32x4_t zip_high(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
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
