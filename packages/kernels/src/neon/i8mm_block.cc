// Version 2 on smmla and usmmla. Twelve rows at a time: their planes are packed by row pairs for each block, and the
// sums of a segment lie as accumulators do until its last block.

#include "block/block_kernels.h"
#include "neon/block_rows.h"
#include "neon/block_softmax.h"
#include "neon/matrix_block_tile.h"
#include "neon/matrix_pack.h"

namespace intattn {
namespace {

constexpr std::size_t tile_rows = tile_quads * quad_rows;
constexpr std::size_t most_columns = 1024;

/// `planes`: 1 for bytes, 2 for words.
template <int planes> struct MatrixProducts {
  static constexpr std::size_t plane_bytes = planes * block_keys;

  static std::size_t query_bytes(std::size_t dim) { return planes * round_up(dim, tile_depth); }
  static std::size_t key_block(std::size_t dim) { return block_keys * round_up(dim, tile_depth); }
  static std::size_t value_block(std::size_t dim) { return block_keys * round_up(dim, tile_columns); }

  static void pack_rows(const void* rows, unsigned bits, std::size_t stride, std::size_t count, std::size_t dim,
                        void* packed) {
    if constexpr (planes == 1) {
      pack_query(static_cast<const std::int8_t*>(rows), stride, count, dim, packed);
    } else {
      const std::size_t depth = round_up(dim, tile_depth);
      auto* out = static_cast<std::int8_t*>(packed);
      in_steps<tile_quads>(divide_up(count, quad_rows), [&](std::size_t quad, auto quads) {
        constexpr int pairs = 2 * decltype(quads)::value;
        alignas(16) std::int8_t high[2 * pairs * most_columns] = {}, low[2 * pairs * most_columns] = {};
        const std::size_t first = quad * quad_rows, left = count - first < 2 * pairs ? count - first : 2 * pairs;
        for (std::size_t row = 0; row < left; ++row)
          split_query(static_cast<const std::int8_t*>(rows) + (first + row) * stride * (bits == 8 ? 1 : 2), bits, dim,
                      high + row * depth, low + row * depth);
        pack_pairs<pairs>(high, depth, left, depth, out);
        pack_pairs<pairs>(low, depth, left, depth, out + 2 * pairs * depth);
        out += 4 * pairs * depth;
      });
    }
  }

  static void pack_keys(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    for (std::size_t key = 0; key < block_keys; key += key_tile)
      pack_key(rows + key * stride, stride, dim, packed + key * round_up(dim, tile_depth));
  }
  static void pack_values(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    for (std::size_t tile = 0; tile < block_keys / key_tile; ++tile)
      pack_value(rows + tile * key_tile * stride, stride, dim, tile, block_keys, packed);
  }

  static std::size_t key_place(std::size_t dim, std::size_t key, std::size_t channel) {
    const std::size_t tile = key / tile_columns * tile_columns * round_up(dim, tile_depth);
    return tile + channel / 8 * 8 * tile_columns + key % tile_columns * 8 + channel % 8;
  }
  static std::size_t value_place(std::size_t, std::size_t key, std::size_t channel) {
    const std::size_t panel = channel / tile_columns * tile_columns;
    return panel * block_keys + key / 8 * 8 * tile_columns + (channel - panel) * 8 + key % 8;
  }

  static void scores(const ScoreTask& task) {
    const std::size_t depth = round_up(task.dim, tile_depth), first = task.block_begin * block_keys;
    const auto* query = static_cast<const std::int8_t*>(task.query);
    const auto* keys = reinterpret_cast<const std::int8_t*>(task.keys);
    // All rows see a block before the next: it stays in L1.
    constexpr std::size_t row_tiles = 8;
    for (std::size_t begin = 0; begin < task.rows; begin += row_tiles * tile_rows) {
      const std::size_t rows = task.rows - begin < row_tiles * tile_rows ? task.rows - begin : row_tiles * tile_rows;
      alignas(64) float unit[row_tiles * tile_rows] = {}, most[4 * row_tiles * tile_rows];
      __builtin_memcpy(unit, task.unit + begin, rows * sizeof(float));
      for (std::size_t i = 0; i < 4 * round_up(rows, quad_rows); ++i)
        most[i] = -std::numeric_limits<float>::infinity();
      for (std::size_t key = first; key < task.block_end * block_keys; key += block_keys)
        in_steps<tile_quads>(divide_up(rows, quad_rows), [&](std::size_t quad, auto quads) {
          const std::size_t row = quad * quad_rows;
          score_rows<decltype(quads)::value, planes>(
              query + (begin + row) * planes * depth, unit + row, keys + key * depth, task.key_scale + key,
              block_keys / tile_columns, depth, task.x + (begin + row) * task.stride + key, task.stride,
              most + 4 * row);
        });
      for (std::size_t row = 0; task.lane_max && row < rows; ++row) {
        float* to = task.lane_max + (begin + row) * maximum_lanes;
        vst1q_f32(to, vmaxq_f32(vld1q_f32(to), vld1q_f32(most + 4 * row)));
      }
    }
  }

  /// Planes of one block of some rows by row pairs; rows from `count` on are zero.
  template <int quads>
  static void pack_planes(const std::uint8_t* rows, std::size_t stride, std::size_t count, std::uint8_t* out) {
    const auto pack = [&](auto load) INTATTN_INLINE {
      unroll<planes* int(block_keys) / 16>([&](auto part) INTATTN_INLINE {
        unroll<2 * quads>([&](auto pair) INTATTN_INLINE {
          const uint8x16_t a = load(2 * pair, 16 * part), b = load(2 * pair + 1, 16 * part);
          const auto halves = [](uint8x16_t x) { return vreinterpretq_u64_u8(x); };
          vst1q_u8(out + 64 * quads * part + 16 * pair, vreinterpretq_u8_u64(vzip1q_u64(halves(a), halves(b))));
          vst1q_u8(out + 64 * quads * part + 32 * quads + 16 * pair,
                   vreinterpretq_u8_u64(vzip2q_u64(halves(a), halves(b))));
        });
      });
    };
    const auto load = [&](std::size_t row, std::size_t k) INTATTN_INLINE { return vld1q_u8(rows + row * stride + k); };
    if (count >= 4 * quads)
      pack(load);
    else
      pack([&](std::size_t row, std::size_t k) INTATTN_INLINE { return row < count ? load(row, k) : vdupq_n_u8(0); });
  }

  static void values(const ValueTask& task) {
    const std::size_t tiles = divide_up(task.dim, tile_columns), block_bytes = value_block(task.dim);
    in_steps<tile_quads>(divide_up(task.rows, quad_rows), [&](std::size_t quad, auto q) {
      constexpr int quads = decltype(q)::value;
      const std::size_t row = quad * quad_rows, left = task.rows - row;
      const std::size_t count = left < 4 * quads ? left : 4 * quads;
      alignas(64) float sums[4 * quads * most_columns];
      alignas(64) std::uint8_t packed[4 * quads * plane_bytes];
      alignas(64) float factor[8 * quads] = {};
      __builtin_memset(sums, 0, 4 * quads * tiles * tile_columns * sizeof(float));
      for (std::size_t block = task.block_begin; block < task.block_end; ++block) {
        std::uint32_t any = 0; // factors are not negative
        unroll<4 * quads>([&](auto i) INTATTN_INLINE {
          if (std::size_t(i) >= count)
            return;
          std::uint32_t bits;
          __builtin_memcpy(&bits, task.factor + (row + std::size_t(i)) * task.factor_stride + block, sizeof bits);
          __builtin_memcpy(factor + 2 * i, &bits, sizeof bits);
          __builtin_memcpy(factor + 2 * i + 1, &bits, sizeof bits);
          any |= bits;
        });
        if (any == 0)
          continue;
        pack_planes<quads>(static_cast<const std::uint8_t*>(task.planes) + row * task.plane_stride +
                               block * block_keys * sizeof(float),
                           task.plane_stride, count, packed);
        value_rows<quads, planes>(packed, factor,
                                  reinterpret_cast<const std::int8_t*>(task.values) + block * block_bytes, tiles, sums);
      }
      store_sums<quads>(sums, tiles, count, task.sum + row * task.stride, task.stride);
    });
  }

  /// Rows from accumulators [tile][row pair][column pair].
  template <int quads>
  static void store_sums(const float* sums, std::size_t tiles, std::size_t count, float* out, std::size_t stride) {
    for (std::size_t pair = 0; 2 * pair < count; ++pair, out += 2 * stride) {
      const float* from = sums + 16 * pair;
      for (std::size_t tile = 0; tile < tiles; ++tile, from += 32 * quads) {
        const int32x4x4_t x = vld1q_s32_x4(reinterpret_cast<const std::int32_t*>(from));
        auto* to = reinterpret_cast<std::int32_t*>(out + tile * tile_columns);
        const int32x4x2_t even = {{zip_low(x.val[0], x.val[1]), zip_low(x.val[2], x.val[3])}};
        const int32x4x2_t odd = {{zip_high(x.val[0], x.val[1]), zip_high(x.val[2], x.val[3])}};
        vst1q_s32_x2(to, even);
        if (2 * pair + 1 < count)
          vst1q_s32_x2(to + stride, odd);
      }
    }
  }

  static constexpr BlockProducts table() {
    BlockProducts p = {};
    p.row_tile = tile_rows;
    p.column_group = tile_columns;
    p.query_bytes = query_bytes;
    p.key_block = key_block;
    p.value_block = value_block;
    p.pack_query = pack_rows;
    p.pack_key = pack_keys;
    p.pack_value = pack_values;
    p.key_place = key_place;
    p.value_place = value_place;
    p.number_bytes = 1;
    p.scores = scores;
    p.softmax = planes == 1 ? byte_softmax<0> : neon_block_softmax<SplitPlane>;
    p.values = values;
    p.unpack = planes == 1 ? BytePlane<8, 0>::unpack : SplitPlane::unpack;
    return p;
  }
};

constexpr BlockProducts byte_products = MatrixProducts<1>::table(), word_products = MatrixProducts<2>::table();
constexpr BlockKernels kernels = neon_block_kernels(byte_products, word_products);

} // namespace

const BlockKernels* neon_i8mm_block_kernels() { return &kernels; }

} // namespace intattn
