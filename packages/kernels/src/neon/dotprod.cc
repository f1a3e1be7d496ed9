// sdot and udot: 16 products an instruction. Without i8mm there is no product of unsigned and signed bytes: values are
// stored as v + 128, and 128 times the sum of a row's probabilities is taken off its accumulators beforehand.

#include "kernels.h"
#include "neon/dot_pack.h"
#include "neon/dot_tile.h"
#include "neon/rows.h"
#include "neon/softmax_row.h"
#include "neon/vector.h"
#include "simd/float_tiles.h"
#include "simd/softmax_rows.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

/// Keys per pass over the accumulators: sixteen columns of V stay in L1 from one tile of rows to the next.
constexpr std::size_t key_block = 1024;

void pack_shifted_value(const std::int8_t* rows, std::size_t stride, std::size_t dim, std::size_t tile,
                        std::size_t padded_keys, void* packed) {
  pack_value(rows, stride, dim, tile, padded_keys, 128, packed);
}

void scores(const void* query, std::size_t rows, const void* packed_key, std::size_t tile_begin, std::size_t tile_end,
            std::size_t dim, std::int32_t* scores, std::size_t stride, std::int32_t* lane_max) {
  const std::size_t depth = round_up(dim, tile_depth);
  const auto* q = static_cast<const std::int8_t*>(query);
  const auto* key = static_cast<const std::int8_t*>(packed_key);
  std::int32_t not_wanted[tile_rows * max_lanes] = {};
  for (std::size_t tile = tile_begin; tile < tile_end; ++tile)
    in_steps<tile_rows>(rows, [&](std::size_t row, auto r) {
      score_rows<decltype(r)::value>(q + row * depth, key + tile * key_tile * depth, depth,
                                     scores + row * stride + tile * key_tile, stride,
                                     lane_max ? lane_max + row * max_lanes : not_wanted);
    });
}

void values(const void* probabilities, std::size_t probability_stride, std::size_t rows, const void* packed_value,
            std::size_t padded_keys, std::size_t key_begin, std::size_t key_end, std::size_t dim,
            std::int32_t* accumulators, std::size_t stride) {
  const auto* p = static_cast<const std::uint8_t*>(probabilities);
  const auto* v = static_cast<const std::uint8_t*>(packed_value);
  const std::size_t padded_dim = round_up(dim, tile_columns);
  for (std::size_t row = 0; row < rows; ++row) {
    uint32x4_t sum = vdupq_n_u32(0);
    for (std::size_t key = key_begin; key < key_end; key += 16)
      sum = add_bytes(sum, vld1q_u8(p + row * probability_stride + key));
    const int32x4_t offset = vdupq_n_s32(-128 * std::int32_t(vaddvq_u32(sum)));
    for (std::size_t column = 0; column < padded_dim; column += 4)
      vst1q_s32(accumulators + row * stride + column, offset);
  }
  for (std::size_t begin = key_begin; begin < key_end; begin += key_block) {
    const std::size_t keys = key_end - begin < key_block ? key_end - begin : key_block;
    for (std::size_t column = 0; column < dim; column += tile_columns)
      in_steps<tile_rows>(rows, [&](std::size_t row, auto r) {
        value_rows<decltype(r)::value>(p + row * probability_stride + begin, probability_stride,
                                       v + column * padded_keys + begin * tile_columns, keys,
                                       accumulators + row * stride + column, stride);
      });
  }
}

std::int32_t strip_maximum(const std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent) {
  const std::int32_t most = extent.lane_end ? vmaxvq_s32(vld1q_s32(lane_max)) : INT32_MIN;
  if (extent.visible <= extent.lane_end)
    return most;
  const std::int32_t rest = row_maximum(scores + extent.lane_end, extent.visible - extent.lane_end);
  return most > rest ? most : rest;
}

RowSums strip_softmax(const std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent,
                      const WeightTable& table, const IndexParameters& index, void* probabilities) {
  auto* out = static_cast<std::uint8_t*>(probabilities);
  __builtin_memset(out + extent.visible, 0, extent.padded - extent.visible);
  return index_softmax_row(scores, extent.visible, strip_maximum(scores, lane_max, extent), table, index, out);
}

void strip_float_softmax(std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent, float logit_scale,
                         void* probabilities) {
  auto* out = static_cast<std::uint8_t*>(probabilities);
  const int32x4_t most = vdupq_n_s32(strip_maximum(scores, lane_max, extent));
  const float32x4_t scale = vdupq_n_f32(-logit_scale);
  const std::size_t visible = extent.visible, end = round_up(visible, 16);
  const uint32x4_t lane = {0, 1, 2, 3};
  float32x4_t sum = vdupq_n_f32(0);
  for (std::size_t i = 0; i < end; i += 4) {
    const uint32x4_t distance = vreinterpretq_u32_s32(vsubq_s32(most, vld1q_s32(scores + i)));
    const uint32x4_t counts = vcltq_u32(vaddq_u32(vdupq_n_u32(std::uint32_t(i)), lane), vdupq_n_u32(extent.visible));
    const uint32x4_t e =
        vandq_u32(vreinterpretq_u32_f32(exp_non_positive<Neon>(vmulq_f32(vcvtq_f32_u32(distance), scale))), counts);
    sum = vaddq_f32(sum, vreinterpretq_f32_u32(e));
    vst1q_s32(scores + i, vreinterpretq_s32_u32(e));
  }
  const float32x4_t factor = vdupq_n_f32(127 / vaddvq_f32(sum));
  const auto rounded = [&](std::size_t i) {
    return vreinterpretq_s16_s32(vcvtnq_s32_f32(vmulq_f32(vreinterpretq_f32_s32(vld1q_s32(scores + i)), factor)));
  };
  for (std::size_t i = 0; i < end; i += 16) {
    const int16x8_t low = vuzp1q_s16(rounded(i), rounded(i + 4)), high = vuzp1q_s16(rounded(i + 8), rounded(i + 12));
    vst1q_u8(out + i, vuzp1q_u8(vreinterpretq_u8_s16(low), vreinterpretq_u8_s16(high)));
  }
  __builtin_memset(out + end, 0, extent.padded - end);
}

void copy_probabilities(const void* probabilities, std::size_t keys, std::uint8_t* out) {
  __builtin_memcpy(out, probabilities, keys);
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
    pack_shifted_value,
    scores,
    index_softmax_rows<1, strip_softmax>,
    float_softmax_rows<1, strip_float_softmax>,
    unpack_row<1, copy_probabilities>,
    softmax_row,
    values,
    FloatTiles<Neon, Float32Storage<Neon>>::kernels(),
    FloatTiles<Neon, Float16Storage<Neon>>::kernels(),
};

} // namespace

const Kernels* neon_dotprod_kernels() { return &kernels; }

} // namespace intattn
