// smmla and usmmla: 32 products an instruction, in tiles of 2 x 2 results. Scores, probabilities and packed operands
// lie as these instructions give and take them.

#include "kernels.h"
#include "neon/matrix_pack.h"
#include "neon/matrix_tile.h"
#include "neon/rows.h"
#include "neon/softmax_quads.h"
#include "neon/softmax_row.h"
#include "neon/vector.h"
#include "simd/float_tiles.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

constexpr std::size_t tile_rows = tile_quads * quad_rows;
/// Keys per pass over the accumulators: eight columns of V and twelve rows of probabilities stay in L1.
constexpr std::size_t key_block = 2048;
/// Keys whose scores are computed for all rows of a strip before the next: K stays in L1.
constexpr std::size_t score_block_bytes = std::size_t{32} << 10;

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
