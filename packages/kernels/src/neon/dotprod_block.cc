// Version 2 on sdot. Planes of bytes are h - 128: accumulators begin with 128 times the sum of V over the block.

#include "block/block_kernels.h"
#include "neon/block_rows.h"
#include "neon/block_softmax.h"
#include "neon/dot_block_tile.h"
#include "neon/dot_pack.h"

namespace intattn {
namespace {

/// `planes`: 1 for bytes, 2 for words.
template <int planes> struct DotProducts {
  static constexpr std::size_t offset = planes == 1 ? 128 : 0;

  static std::size_t query_bytes(std::size_t dim) { return planes * round_up(dim, tile_depth); }
  static std::size_t key_block(std::size_t dim) { return block_keys * round_up(dim, tile_depth); }
  /// What accumulators begin with lies behind the values.
  static std::size_t value_block(std::size_t dim) {
    return round_up(dim, tile_columns) * (block_keys + sizeof(std::int32_t));
  }

  static void pack_rows(const void* rows, unsigned bits, std::size_t stride, std::size_t count, std::size_t dim,
                        void* packed) {
    if constexpr (planes == 1) {
      pack_query(static_cast<const std::int8_t*>(rows), stride, count, dim, packed);
    } else {
      const std::size_t depth = round_up(dim, tile_depth);
      auto* out = static_cast<std::int8_t*>(packed);
      __builtin_memset(out, 0, 2 * depth * count);
      for (std::size_t row = 0; row < count; ++row, out += 2 * depth)
        split_query(static_cast<const std::int8_t*>(rows) + row * stride * (bits == 8 ? 1 : 2), bits, dim, out,
                    out + depth);
    }
  }

  static void pack_keys(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    for (std::size_t key = 0; key < block_keys; key += key_tile)
      pack_key(rows + key * stride, stride, dim, packed + key * round_up(dim, tile_depth));
  }

  static void pack_values(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    for (std::size_t tile = 0; tile < block_keys / key_tile; ++tile)
      pack_value(rows + tile * key_tile * stride, stride, dim, tile, block_keys, 0, packed);
    const std::size_t padded = round_up(dim, tile_columns);
    for (std::size_t column = 0; column < padded; column += tile_columns) {
      int16x8_t low = vdupq_n_s16(0), high = vdupq_n_s16(0);
      for (std::size_t key = 0; key < block_keys; ++key) {
        const int8x16_t row = vld1q_s8(rows + key * stride + column);
        low = vaddw_s8(low, vget_low_s8(row));
        high = vaddw_high_s8(high, row);
      }
      auto* start = reinterpret_cast<std::int32_t*>(packed + padded * block_keys) + column;
      const auto put = [&](int i, int16x4_t x) { vst1q_s32(start + 4 * i, vmull_n_s16(x, std::int16_t(offset))); };
      put(0, vget_low_s16(low));
      put(1, vget_high_s16(low));
      put(2, vget_low_s16(high));
      put(3, vget_high_s16(high));
    }
  }

  static std::size_t key_place(std::size_t dim, std::size_t key, std::size_t channel) {
    const std::size_t tile = key / key_tile * key_tile * round_up(dim, tile_depth);
    return tile + (channel / 4 * tile_columns + key % key_tile) * 4 + channel % 4;
  }
  static std::size_t value_place(std::size_t, std::size_t key, std::size_t channel) {
    const std::size_t panel = channel / tile_columns * tile_columns;
    return panel * block_keys + (key / 4 * tile_columns + channel - panel) * 4 + key % 4;
  }

  static void value_written(const std::int8_t* before, const std::int8_t* after, std::size_t dim, std::size_t,
                            unsigned char* packed) {
    auto* start = reinterpret_cast<std::int32_t*>(packed + round_up(dim, tile_columns) * block_keys);
    for (std::size_t c = 0; c < dim; ++c)
      start[c] += std::int32_t(offset) * (after[c] - before[c]);
  }

  static void scores(const ScoreTask& task) {
    const std::size_t depth = round_up(task.dim, tile_depth);
    const auto* query = static_cast<const std::int8_t*>(task.query);
    const auto* keys = reinterpret_cast<const std::int8_t*>(task.keys);
    // All rows see sixteen keys before the next: they stay in L1.
    constexpr std::size_t row_tiles = 16;
    for (std::size_t begin = 0; begin < task.rows; begin += row_tiles * tile_rows) {
      const std::size_t rows = task.rows - begin < row_tiles * tile_rows ? task.rows - begin : row_tiles * tile_rows;
      alignas(64) float unit[row_tiles * tile_rows + 2] = {}, most[4 * row_tiles * tile_rows];
      __builtin_memcpy(unit, task.unit + begin, rows * sizeof(float));
      for (std::size_t i = 0; i < 4 * rows; ++i)
        most[i] = -std::numeric_limits<float>::infinity();
      for (std::size_t key = task.block_begin * block_keys; key < task.block_end * block_keys; key += tile_columns)
        in_steps<tile_rows>(rows, [&](std::size_t row, auto r) {
          score_rows<decltype(r)::value, planes>(
              query + (begin + row) * planes * depth, unit + row, keys + key * depth, task.key_scale + key, depth,
              task.x + (begin + row) * task.stride + key, task.stride, most + 4 * row);
        });
      for (std::size_t row = 0; task.lane_max && row < rows; ++row) {
        float* to = task.lane_max + (begin + row) * maximum_lanes;
        vst1q_f32(to, vmaxq_f32(vld1q_f32(to), vld1q_f32(most + 4 * row)));
      }
    }
  }

  static void values(const ValueTask& task) {
    const std::size_t padded = round_up(task.dim, tile_columns), block_bytes = value_block(task.dim);
    for (std::size_t row = 0; row < task.rows; ++row)
      __builtin_memset(task.sum + row * task.stride, 0, padded * sizeof(float));
    for (std::size_t block = task.block_begin; block < task.block_end; ++block) {
      const auto* planes_of_block = static_cast<const std::int8_t*>(task.planes) + block * block_keys * sizeof(float);
      const auto* values = reinterpret_cast<const std::int8_t*>(task.values) + block * block_bytes;
      const auto* start = reinterpret_cast<const std::int32_t*>(values + padded * block_keys);
      in_steps<tile_rows>(task.rows, [&](std::size_t row, auto r) {
        constexpr int R = decltype(r)::value;
        alignas(16) float factor[8] = {};
        bool any = false;
        unroll<R>([&](auto i) INTATTN_INLINE {
          factor[i] = task.factor[(row + std::size_t(i)) * task.factor_stride + block];
          any |= factor[i] != 0;
        });
        if (!any)
          return;
        for (std::size_t column = 0; column < padded; column += tile_columns)
          value_rows<R, planes>(planes_of_block + row * task.plane_stride, task.plane_stride, factor,
                                values + column * block_keys, start + column, task.sum + row * task.stride + column,
                                task.stride);
      });
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
    p.value_written = value_written;
    p.scores = scores;
    p.softmax = planes == 1 ? byte_softmax<128> : neon_block_softmax<SplitPlane>;
    p.values = values;
    p.unpack = planes == 1 ? BytePlane<8, 128>::unpack : SplitPlane::unpack;
    return p;
  }
};

constexpr BlockProducts byte_products = DotProducts<1>::table(), word_products = DotProducts<2>::table();
constexpr BlockKernels kernels = neon_block_kernels(byte_products, word_products);

} // namespace

const BlockKernels* neon_dotprod_block_kernels() { return &kernels; }

} // namespace intattn
