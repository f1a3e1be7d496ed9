// Version 2 in portable C++: planes and packed operands are plain rows.

#include "block/block_kernels.h"

#include <cstring>

#include "kernels.h"
#include "scalar/vector.h"
#include "scalar/words.h"
#include "simd/block_rows.h"
#include "simd/block_softmax.h"

namespace intattn {
namespace {

/// A plane of 16-bit words in key order.
struct WordPlane {
  static void store(unsigned char* plane, const ScalarWords::words (&h)[1]) {
    std::uint16_t out[block_keys];
    for (std::size_t i = 0; i < block_keys; ++i)
      out[i] = std::uint16_t(h[0].v[i]);
    std::memcpy(plane, out, sizeof out);
  }
};

std::size_t query_bytes(std::size_t dim) { return 2 * dim; }
std::size_t block_bytes(std::size_t dim) { return block_keys * dim; }

void pack_query(const void* rows, unsigned bits, std::size_t stride, std::size_t count, std::size_t dim, void* packed) {
  auto* out = static_cast<std::int16_t*>(packed);
  for (std::size_t row = 0; row < count; ++row)
    for (std::size_t c = 0; c < dim; ++c)
      out[row * dim + c] = bits == 8 ? static_cast<const std::int8_t*>(rows)[row * stride + c]
                                     : static_cast<const std::int16_t*>(rows)[row * stride + c];
}

void pack_rows(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
  for (std::size_t key = 0; key < block_keys; ++key)
    std::memcpy(packed + key * dim, rows + key * stride, dim);
}

void scores(const ScoreTask& task) {
  const auto* query = static_cast<const std::int16_t*>(task.query);
  const auto* keys = reinterpret_cast<const std::int8_t*>(task.keys);
  for (std::size_t row = 0; row < task.rows; ++row) {
    const std::int16_t* q = query + row * task.dim;
    float* x = task.x + row * task.stride;
    for (std::size_t key = task.block_begin * block_keys; key < task.block_end * block_keys; ++key) {
      const std::int8_t* k = keys + key * task.dim;
      std::int32_t sum = 0;
      for (std::size_t c = 0; c < task.dim; ++c)
        sum += q[c] * k[c];
      x[key] = float(sum) * task.key_scale[key] * task.unit[row];
      if (task.lane_max && x[key] > task.lane_max[row * maximum_lanes])
        task.lane_max[row * maximum_lanes] = x[key];
    }
  }
}

void values(const ValueTask& task) {
  for (std::size_t row = 0; row < task.rows; ++row) {
    float* sum = task.sum + row * task.stride;
    std::memset(sum, 0, task.dim * sizeof(float));
    for (std::size_t block = task.block_begin; block < task.block_end; ++block) {
      const float factor = task.factor[row * task.factor_stride + block];
      if (factor == 0)
        continue;
      std::uint16_t plane[block_keys];
      std::memcpy(plane,
                  static_cast<const unsigned char*>(task.planes) + row * task.plane_stride +
                      block * block_keys * sizeof(float),
                  sizeof plane);
      const auto* value = reinterpret_cast<const std::int8_t*>(task.values) + block * block_keys * task.dim;
      std::int32_t accumulators[1024] = {};
      for (std::size_t key = 0; key < block_keys; ++key)
        for (std::size_t c = 0; c < task.dim; ++c)
          accumulators[c] += plane[key] * value[key * task.dim + c];
      for (std::size_t c = 0; c < task.dim; ++c)
        sum[c] += float(accumulators[c]) * factor;
    }
  }
}

void unpack(const void* plane, std::uint16_t* out) { std::memcpy(out, plane, block_keys * sizeof *out); }

std::size_t key_at(std::size_t position) { return position; }

std::size_t place(std::size_t dim, std::size_t key, std::size_t channel) { return key * dim + channel; }

constexpr BlockProducts make_products() {
  BlockProducts p = {};
  p.row_tile = 4;
  p.column_group = 1;
  p.query_bytes = query_bytes;
  p.key_block = block_bytes;
  p.value_block = block_bytes;
  p.pack_query = pack_query;
  p.pack_key = pack_rows;
  p.pack_value = pack_rows;
  p.key_place = place;
  p.value_place = place;
  p.number_bytes = 1;
  p.scores = scores;
  p.softmax = block_softmax<ScalarWords, WordPlane>;
  p.values = values;
  p.unpack = unpack;
  return p;
}

constexpr BlockProducts products = make_products();

constexpr BlockKernels table() {
  BlockKernels k = BlockRows<Scalar>::kernels();
  k.key_at = key_at;
  k.words = &products;
  return k;
}

constexpr BlockKernels kernels = table();

} // namespace

const BlockKernels* scalar_block_kernels() { return &kernels; }

} // namespace intattn
