// smmla and usmmla: 32 products an instruction, in tiles of 2 x 2 results. Scores, probabilities and packed operands
// lie as these instructions give and take them.

#include "kernels.h"
#include "neon/matrix_tile.h"
#include "neon/rows.h"
#include "neon/softmax_quads.h"
#include "neon/softmax_row.h"
#include "neon/vector.h"
#include "simd/float_tiles.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

constexpr std::size_t key_tile = quad_keys;
constexpr std::size_t tile_rows = tile_quads * quad_rows;
/// Keys per pass over the accumulators: eight columns of V and twelve rows of probabilities stay in L1.
constexpr std::size_t key_block = 2048;
/// Keys whose scores are computed for all rows of a strip before the next: K stays in L1.
constexpr std::size_t score_block_bytes = std::size_t{32} << 10;

int8x16_t low_halves(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
int8x16_t high_halves(int8x16_t a, int8x16_t b) {
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

void pack_query(const std::int8_t* rows, std::size_t stride, std::size_t count, std::size_t dim, void* packed) {
  const std::size_t depth = round_up(dim, tile_depth);
  auto* out = static_cast<std::int8_t*>(packed);
  in_steps<tile_quads>(divide_up(count, quad_rows), [&](std::size_t quad, auto quads) {
    const std::size_t row = quad * quad_rows;
    pack_pairs<2 * decltype(quads)::value>(rows + row * stride, stride, count - row, depth, out + row * depth);
  });
}

void pack_key(const std::int8_t* rows, std::size_t stride, std::size_t dim, void* packed_tile) {
  const std::size_t depth = round_up(dim, tile_depth);
  auto* out = static_cast<std::int8_t*>(packed_tile);
  for (std::size_t key = 0; key < key_tile; key += tile_columns)
    pack_pairs<4>(rows + key * stride, stride, tile_columns, depth, out + key * depth);
}

/// Panels of eight columns: for every eight keys the column pairs [keys of one column, keys of the other].
void pack_value(const std::int8_t* rows, std::size_t stride, std::size_t dim, std::size_t tile, std::size_t padded_keys,
                void* packed) {
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

void scores(const void* query, std::size_t rows, const void* packed_key, std::size_t tile_begin, std::size_t tile_end,
            std::size_t dim, std::int32_t* scores, std::size_t stride, std::int32_t* lane_max) {
  const std::size_t depth = round_up(dim, tile_depth);
  const auto* q = static_cast<const std::int8_t*>(query);
  const auto* key = static_cast<const std::int8_t*>(packed_key);
  const std::size_t block = score_block_bytes / (key_tile * depth); // 1 at least: depth is at most 1024
  std::int32_t not_wanted[8 * tile_quads] = {};
  for (std::size_t begin = tile_begin; begin < tile_end; begin += block) {
    const std::size_t tiles = tile_end - begin < block ? tile_end - begin : block;
    in_steps<tile_quads>(divide_up(rows, quad_rows), [&](std::size_t quad, auto quads) {
      constexpr int n = decltype(quads)::value;
      const std::size_t row = quad * quad_rows;
      std::int32_t* most = lane_max ? lane_max + row * max_lanes : not_wanted;
      score_rows<n>(q + row * depth, key + begin * key_tile * depth, 2 * tiles, depth,
                    scores + row * stride + begin * 2 * quad_scores, stride, most);
    });
  }
}

void values(const void* probabilities, std::size_t probability_stride, std::size_t rows, const void* packed_value,
            std::size_t padded_keys, std::size_t key_begin, std::size_t key_end, std::size_t dim,
            std::int32_t* accumulators, std::size_t stride) {
  const auto* p = static_cast<const std::uint8_t*>(probabilities);
  const auto* v = static_cast<const std::int8_t*>(packed_value);
  for (std::size_t begin = key_begin; begin < key_end; begin += key_block) {
    const std::size_t keys = key_end - begin < key_block ? key_end - begin : key_block;
    in_steps<tile_quads>(divide_up(rows, quad_rows), [&](std::size_t quad, auto quads) {
      constexpr int n = decltype(quads)::value;
      const std::size_t row = quad * quad_rows;
      for (std::size_t column = 0; column < dim; column += tile_columns)
        value_rows<n>(p + row * probability_stride + begin / 8 * n * quad_bytes, v + column * padded_keys + begin * 8,
                      keys, begin == key_begin, accumulators + row * stride + column, stride);
    });
  }
}

constexpr Kernels kernels = {
    key_tile,
    tile_depth,
    tile_columns,
    tile_rows,
    1,
    NeonRows::kernels(),
    pack_query,
    pack_key,
    pack_value,
    scores,
    index_softmax_quads,
    float_softmax_quads,
    unpack_quads,
    softmax_row,
    values,
    FloatTiles<Neon, Float32Storage<Neon>>::kernels(),
    FloatTiles<Neon, Float16Storage<Neon>>::kernels(),
};

} // namespace

const Kernels* neon_i8mm_kernels() { return &kernels; }

} // namespace intattn
