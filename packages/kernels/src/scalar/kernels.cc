// Portable C++: runs everywhere, and is what the vector kernels are compared with.

#include <cmath>

#include "kernels.h"
#include "numerics/scale.h"
#include "scalar/vector.h"
#include "simd/float_rows.h"
#include "simd/float_tiles.h"
#include "simd/softmax_rows.h"

namespace intattn {
namespace {

constexpr std::size_t key_tile = 8;
constexpr std::size_t tile_rows = 4;

void pack_query(const std::int8_t* rows, std::size_t stride, std::size_t count, std::size_t dim, void* packed) {
  auto* out = static_cast<std::int8_t*>(packed);
  for (std::size_t row = 0; row < count; ++row)
    for (std::size_t k = 0; k < dim; ++k)
      out[row * dim + k] = rows[row * stride + k];
}

void pack_key(const std::int8_t* rows, std::size_t stride, std::size_t dim, void* packed_tile) {
  auto* out = static_cast<std::int8_t*>(packed_tile);
  for (std::size_t k = 0; k < dim; ++k)
    for (std::size_t key = 0; key < key_tile; ++key)
      out[k * key_tile + key] = rows[key * stride + k];
}

void pack_value(const std::int8_t* rows, std::size_t stride, std::size_t dim, std::size_t tile, std::size_t,
                void* packed) {
  auto* out = static_cast<std::int8_t*>(packed) + tile * key_tile * dim;
  for (std::size_t key = 0; key < key_tile; ++key)
    for (std::size_t c = 0; c < dim; ++c)
      out[key * dim + c] = rows[key * stride + c];
}

void scores(const void* query, std::size_t rows, const void* packed_key, std::size_t tile_begin, std::size_t tile_end,
            std::size_t dim, std::int32_t* scores, std::size_t stride, std::int32_t* lane_max) {
  for (std::size_t tile = tile_begin; tile < tile_end; ++tile) {
    const auto* key = static_cast<const std::int8_t*>(packed_key) + tile * key_tile * dim;
    for (std::size_t row = 0; row < rows; ++row) {
      const auto* q = static_cast<const std::int8_t*>(query) + row * dim;
      std::int32_t sum[key_tile] = {};
      for (std::size_t k = 0; k < dim; ++k)
        for (std::size_t i = 0; i < key_tile; ++i)
          sum[i] += q[k] * key[k * key_tile + i];
      for (std::size_t i = 0; i < key_tile; ++i) {
        scores[row * stride + tile * key_tile + i] = sum[i];
        if (lane_max && sum[i] > lane_max[row * max_lanes])
          lane_max[row * max_lanes] = sum[i];
      }
    }
  }
}

std::int32_t row_maximum(const std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent) {
  std::int32_t most = extent.lane_end ? *lane_max : INT32_MIN;
  for (std::size_t i = extent.lane_end; i < extent.visible; ++i)
    most = scores[i] > most ? scores[i] : most;
  return most;
}

std::uint32_t index_of(std::uint32_t distance, const IndexParameters& index) {
  const std::uint32_t t = index.threshold;
  std::uint32_t clipped;
  if (index.shift >= 0)
    clipped = index.shift > 31 ? 0 : distance >> index.shift;
  else
    clipped = index.shift < -15 || distance > 0xffff ? (distance ? t : 0) : distance << -index.shift;
  clipped = clipped < t ? clipped : t;
  return ((clipped * index.multiplier >> 15) + (1u << (index.weight_shift - 16))) >> (index.weight_shift - 15);
}

RowSums index_softmax(const std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent,
                      const WeightTable& table, const IndexParameters& index, void* probabilities) {
  auto* out = static_cast<std::uint8_t*>(probabilities);
  const auto most = std::uint32_t(row_maximum(scores, lane_max, extent));
  RowSums sums = {0, 0};
  for (std::size_t i = 0; i < extent.visible; ++i) {
    const std::uint32_t position = index_of(most - std::uint32_t(scores[i]), index);
    sums.weight += table.weight[position];
    sums.plane += table.plane[position];
    out[i] = std::uint8_t(position);
  }
  std::uint8_t normalized[256];
  const std::uint8_t* entries = table.plane;
  if (table.normalization == Normalization::integer) {
    normalize_table(table, sums.weight, normalized);
    entries = normalized;
  }
  for (std::size_t i = 0; i < extent.visible; ++i)
    out[i] = entries[out[i]];
  for (std::size_t i = extent.visible; i < extent.padded; ++i)
    out[i] = 0;
  return sums;
}

void float_softmax(std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent, float logit_scale,
                   void* probabilities) {
  auto* out = static_cast<std::uint8_t*>(probabilities);
  const std::int32_t most = row_maximum(scores, lane_max, extent);
  float sum = 0;
  for (std::size_t i = 0; i < extent.visible; ++i) {
    const float e = exp_non_positive<Scalar>(-logit_scale * float(std::uint32_t(most) - std::uint32_t(scores[i])));
    sum += e;
    scores[i] = std::int32_t(bits_of_float(e));
  }
  const float factor = 127 / sum;
  for (std::size_t i = 0; i < extent.visible; ++i)
    out[i] = std::uint8_t(std::nearbyint(float_of_bits(std::uint32_t(scores[i])) * factor));
  for (std::size_t i = extent.visible; i < extent.padded; ++i)
    out[i] = 0;
}

void unpack_probabilities(const void* probabilities, std::size_t keys, std::uint8_t* out) {
  __builtin_memcpy(out, probabilities, keys);
}

void values(const void* probabilities, std::size_t probability_stride, std::size_t rows, const void* packed_value,
            std::size_t, std::size_t key_begin, std::size_t key_end, std::size_t dim, std::int32_t* accumulators,
            std::size_t stride) {
  for (std::size_t row = 0; row < rows; ++row) {
    const auto* p = static_cast<const std::uint8_t*>(probabilities) + row * probability_stride;
    std::int32_t* out = accumulators + row * stride;
    for (std::size_t c = 0; c < dim; ++c)
      out[c] = 0;
    for (std::size_t key = key_begin; key < key_end; ++key) {
      const auto* v = static_cast<const std::int8_t*>(packed_value) + key * dim;
      for (std::size_t c = 0; c < dim; ++c)
        out[c] += p[key] * v[c];
    }
  }
}

constexpr Kernels kernels = {
    key_tile,
    1,
    1,
    tile_rows,
    1,
    FloatRows<Scalar>::kernels(),
    pack_query,
    pack_key,
    pack_value,
    scores,
    index_softmax_rows<1, index_softmax>,
    float_softmax_rows<1, float_softmax>,
    unpack_row<1, unpack_probabilities>,
    index_softmax_row<key_tile, index_softmax, unpack_probabilities>,
    values,
    FloatTiles<Scalar, Float32Storage<Scalar>>::kernels(),
    FloatTiles<Scalar, Float16Storage<Scalar>>::kernels(),
};

} // namespace

const Kernels* scalar_kernels() { return &kernels; }

} // namespace intattn
