#pragma once

// The softmax functions of kernels.h for instruction sets that store scores and probabilities row by row: made from
// functions that do one row.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels.h"

namespace intattn {
namespace { // compiled anew for each instruction set

template <std::size_t integer_bytes, class F> inline void for_rows(const SoftmaxStrip& strip, const F& f) {
  for (std::size_t row = 0; row < strip.rows; ++row) {
    auto* probabilities =
        static_cast<unsigned char*>(strip.probabilities) + row * strip.probability_stride * integer_bytes;
    const RowExtent extent = {strip.lane_end, strip.visible[row], strip.padded};
    if (extent.visible == 0)
      std::memset(probabilities, 0, strip.padded * integer_bytes);
    f(row, strip.scores + row * strip.score_stride, strip.lane_max + row * max_lanes, extent, probabilities);
  }
}

template <std::size_t integer_bytes,
          RowSums (*row_softmax)(const std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent,
                                 const WeightTable& table, const IndexParameters& index, void* probabilities)>
void index_softmax_rows(const SoftmaxStrip& strip, const WeightTable& table, const IndexParameters* index,
                        RowSums* sums) {
  for_rows<integer_bytes>(strip, [&](std::size_t row, std::int32_t* scores, const std::int32_t* lane_max,
                                     const RowExtent& extent, void* probabilities) {
    sums[row] = extent.visible ? row_softmax(scores, lane_max, extent, table, index[row], probabilities) : RowSums{};
  });
}

template <std::size_t integer_bytes,
          void (*row_softmax)(std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent,
                              float logit_scale, void* probabilities)>
void float_softmax_rows(const SoftmaxStrip& strip, const float* logit_scale) {
  for_rows<integer_bytes>(strip, [&](std::size_t row, std::int32_t* scores, const std::int32_t* lane_max,
                                     const RowExtent& extent, void* probabilities) {
    if (extent.visible)
      row_softmax(scores, lane_max, extent, logit_scale[row], probabilities);
  });
}

template <std::size_t integer_bytes, void (*unpack)(const void* probabilities, std::size_t keys, std::uint8_t* out)>
void unpack_row(const void* probabilities, std::size_t stride, std::size_t, std::size_t row, std::size_t keys,
                std::uint8_t* out) {
  unpack(static_cast<const unsigned char*>(probabilities) + row * stride * integer_bytes, keys, out);
}

/// One row on its own; its probabilities in key order.
template <std::size_t key_tile,
          RowSums (*row_softmax)(const std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent,
                                 const WeightTable& table, const IndexParameters& index, void* probabilities),
          void (*unpack)(const void* probabilities, std::size_t keys, std::uint8_t* out)>
RowSums index_softmax_row(const std::int32_t* scores, std::size_t count, const WeightTable& table,
                          const IndexParameters& index, void* scratch, std::uint8_t* out) {
  const RowExtent extent = {0, std::uint32_t(count), std::uint32_t(round_up(count, key_tile))};
  const RowSums sums = row_softmax(scores, nullptr, extent, table, index, scratch);
  unpack(scratch, count, out);
  return sums;
}

} // namespace
} // namespace intattn
