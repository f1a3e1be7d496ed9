#pragma once

// Steps of smmla and usmmla on a register tile of twelve rows and eight columns, for assembly. Operands are packed in
// steps of eight bytes of depth: the row pairs of A, then the column pairs of B, each pair as 16 bytes [row 0, row 1].
// All 32 registers are in use: 24 accumulators v8 ... v31, [row pair][column pair], four registers for B, four for A,
// loaded four at a time; compilers do not find this allocation.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

#include "neon/tile.h"
#include "simd/unroll.h"

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

// clang-format on

namespace intattn {
namespace {

constexpr std::size_t tile_columns = 8;
constexpr std::size_t tile_depth = 16; ///< depth is a multiple of this: two steps

alignas(64) constexpr std::int32_t zeros[16] = {};

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

inline int32x4_t zip_low(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
inline int32x4_t zip_high(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}

} // namespace
} // namespace intattn
