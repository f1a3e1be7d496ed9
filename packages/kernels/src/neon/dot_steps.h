#pragma once

// Steps of sdot and udot on a register tile of six rows and sixteen columns, for assembly. A lies row by row; B is
// packed in groups of four bytes of depth, each group as sixteen columns of four bytes. All 32 registers are in use: 24
// accumulators v8 ... v31, six registers for A, two for B; compilers do not find this allocation.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

#include "neon/tile.h"
#include "simd/unroll.h"

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

// clang-format on

namespace intattn {
namespace {

constexpr int tile_rows = 6;
constexpr std::size_t tile_columns = 16;
constexpr std::size_t tile_depth = 16; ///< depth is a multiple of this

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

} // namespace
} // namespace intattn
