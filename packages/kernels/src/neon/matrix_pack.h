#pragma once

// Operands as the register tiles of smmla and usmmla take them: see matrix_steps.h.

#include "kernels.h"
#include "neon/matrix_steps.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

constexpr std::size_t quad_rows = 4;
constexpr std::size_t tile_quads = 3;
constexpr std::size_t key_tile = 16; ///< packed keys and values come in tiles of so many

inline int8x16_t low_halves(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
inline int8x16_t high_halves(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

/// Rows 2 i and 2 i + 1 of up to `pairs` pairs, in steps of eight bytes; rows from `count` on are zero.
template <int pairs>
void pack_pairs(const std::int8_t* rows, std::size_t stride, std::size_t count, std::size_t depth, std::int8_t* out) {
  const auto pack = [&](auto load) INTATTN_INLINE {
    for (std::size_t k = 0; k < depth; k += tile_depth, out += 2 * 16 * pairs)
      unroll<pairs>([&](auto pair) INTATTN_INLINE {
        const int8x16_t a = load(2 * pair, k), b = load(2 * pair + 1, k);
        vst1q_s8(out + 16 * pair, low_halves(a, b));
        vst1q_s8(out + 16 * (pairs + pair), high_halves(a, b));
      });
  };
  const auto load = [&](std::size_t row, std::size_t k) INTATTN_INLINE { return vld1q_s8(rows + row * stride + k); };
  if (count >= 2 * pairs)
    pack(load);
  else
    pack([&](std::size_t row, std::size_t k) INTATTN_INLINE { return row < count ? load(row, k) : vdupq_n_s8(0); });
}

inline void pack_query(const std::int8_t* rows, std::size_t stride, std::size_t count, std::size_t dim, void* packed) {
  const std::size_t depth = round_up(dim, tile_depth);
  auto* out = static_cast<std::int8_t*>(packed);
  in_steps<tile_quads>(divide_up(count, quad_rows), [&](std::size_t quad, auto quads) {
    const std::size_t row = quad * quad_rows;
    pack_pairs<2 * decltype(quads)::value>(rows + row * stride, stride, count - row, depth, out + row * depth);
  });
}

inline void pack_key(const std::int8_t* rows, std::size_t stride, std::size_t dim, void* packed_tile) {
  const std::size_t depth = round_up(dim, tile_depth);
  auto* out = static_cast<std::int8_t*>(packed_tile);
  for (std::size_t key = 0; key < key_tile; key += tile_columns)
    pack_pairs<4>(rows + key * stride, stride, tile_columns, depth, out + key * depth);
}

/// Panels of eight columns: for every eight keys the column pairs [keys of one column, keys of the other].
inline void pack_value(const std::int8_t* rows, std::size_t stride, std::size_t dim, std::size_t tile,
                       std::size_t padded_keys, void* packed) {
  const auto zip_bytes = [](int8x16_t(&x)[8], int8x16_t(&y)[8]) {
    for (int i = 0; i < 4; ++i) {
      y[2 * i] = vzip1q_s8(x[i], x[i + 4]);
      y[2 * i + 1] = vzip2q_s8(x[i], x[i + 4]);
    }
  };
  for (std::size_t column = 0; column < dim; column += 2 * tile_columns) {
    auto* out = static_cast<std::int8_t*>(packed) + column * padded_keys + tile * key_tile * tile_columns;
    for (std::size_t key = 0; key < key_tile; key += 8, out += 8 * tile_columns) {
      int8x16_t x[8], y[8];
      for (std::size_t i = 0; i < 8; ++i)
        x[i] = vld1q_s8(rows + (key + i) * stride + column);
      zip_bytes(x, y);
      zip_bytes(y, x);
      zip_bytes(x, y);
      for (int i = 0; i < 4; ++i)
        vst1q_s8(out + 16 * i, y[i]);
      if (column + tile_columns < dim)
        for (int i = 0; i < 4; ++i)
          vst1q_s8(out + tile_columns * padded_keys + 16 * i, y[4 + i]);
    }
  }
}

} // namespace
} // namespace intattn
