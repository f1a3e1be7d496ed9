#pragma once

// Operands as the register tiles of sdot and udot take them: see dot_steps.h.

#include "kernels.h"
#include "neon/dot_steps.h"

namespace intattn {
namespace {

constexpr std::size_t key_tile = tile_columns;

inline void pack_query(const std::int8_t* rows, std::size_t stride, std::size_t count, std::size_t dim, void* packed) {
  const std::size_t depth = round_up(dim, tile_depth);
  auto* out = static_cast<std::int8_t*>(packed);
  for (std::size_t row = 0; row < count; ++row)
    __builtin_memcpy(out + row * depth, rows + row * stride, depth);
}

inline void pack_key(const std::int8_t* rows, std::size_t stride, std::size_t dim, void* packed_tile) {
  const std::size_t depth = round_up(dim, tile_depth);
  auto* out = static_cast<std::int32_t*>(packed_tile);
  for (std::size_t k = 0; k < depth; k += tile_depth, out += 4 * tile_columns)
    for (std::size_t key = 0; key < key_tile; key += 4) {
      const auto load = [&](std::size_t i) { return vreinterpretq_s32_s8(vld1q_s8(rows + (key + i) * stride + k)); };
      const int32x4_t x0 = load(0), x1 = load(1), x2 = load(2), x3 = load(3);
      // st4 interleaves four bytes of each row.
      const int32x4x4_t columns = {{x0, x1, x2, x3}};
      std::int32_t transposed[16];
      vst4q_s32(transposed, columns);
      for (std::size_t group = 0; group < 4; ++group)
        vst1q_s32(out + group * tile_columns + key, vld1q_s32(transposed + 4 * group));
    }
}

/// `flip` changes bits of every byte.
inline void pack_value(const std::int8_t* rows, std::size_t stride, std::size_t dim, std::size_t tile,
                       std::size_t padded_keys, std::uint8_t flip, void* packed) {
  for (std::size_t column = 0; column < dim; column += tile_columns) {
    auto* out = static_cast<std::uint8_t*>(packed) + column * padded_keys + tile * key_tile * tile_columns;
    for (std::size_t key = 0; key < key_tile; key += 4, out += 4 * tile_columns) {
      const auto load = [&](std::size_t i) {
        return veorq_u8(vreinterpretq_u8_s8(vld1q_s8(rows + (key + i) * stride + column)), vdupq_n_u8(flip));
      };
      const uint8x16_t x0 = load(0), x1 = load(1), x2 = load(2), x3 = load(3);
      const auto words = [](uint8x16_t x) { return vreinterpretq_u16_u8(x); };
      const auto put = [&](std::size_t i, uint16x8_t x) { vst1q_u8(out + 16 * i, vreinterpretq_u8_u16(x)); };
      const uint16x8_t low01 = words(vzip1q_u8(x0, x1)), high01 = words(vzip2q_u8(x0, x1));
      const uint16x8_t low23 = words(vzip1q_u8(x2, x3)), high23 = words(vzip2q_u8(x2, x3));
      put(0, vzip1q_u16(low01, low23));
      put(1, vzip2q_u16(low01, low23));
      put(2, vzip1q_u16(high01, high23));
      put(3, vzip2q_u16(high01, high23));
    }
  }
}

} // namespace
} // namespace intattn
