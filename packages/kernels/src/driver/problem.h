#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "block/visibility.h"
#include "intattn/attention.h"
#include "kernels.h"

namespace intattn {

/// Bytes left unused between the working memories of two threads. Prefetchers follow the stride of a strip's rows
/// beyond its end; without the gap two threads took each other's cache lines and together were 1.3 times as fast as
/// one, not 1.9 times.
constexpr std::size_t thread_gap = std::size_t{64} << 10;

enum TensorIndex : std::size_t { key_tensor, value_tensor };

/// The shapes of one run. A unit is one (batch, kvHead) with the query heads that share it.
struct Problem {
  Problem(const AttentionOptions& options, const AttentionArguments& arguments)
      : batch(arguments.batch), heads(options.heads), kv_heads(options.kv_heads), dim(options.head_dim),
        value_dim(options.value_dim ? options.value_dim : options.head_dim), query_length(arguments.query_length),
        key_length(arguments.key_length), causal(options.causal), key_lengths(arguments.key_lengths),
        query_starts(arguments.query_starts),
        visibility{options.causal, std::int64_t(std::min<std::uint64_t>(options.window, std::uint64_t{1} << 53)),
                   std::size_t(std::min<std::uint64_t>(options.keep_first, arguments.key_length))},
        softmax_scale(options.softmax_scale > 0 ? options.softmax_scale : 1 / std::sqrt(double(options.head_dim))) {}

  std::size_t batch, heads, kv_heads, dim, value_dim, query_length, key_length;
  bool causal;
  const std::uint32_t* key_lengths;
  const std::int64_t* query_starts;
  Visibility visibility;
  double softmax_scale;

  std::size_t dim_of(TensorIndex tensor) const { return tensor == key_tensor ? dim : value_dim; }
  std::size_t most_dim() const { return std::max(dim, value_dim); }
  std::size_t units() const { return batch * kv_heads; }
  std::size_t group() const { return heads / kv_heads; }
  std::size_t keys_of_unit(std::size_t unit) const { return key_lengths ? key_lengths[unit / kv_heads] : key_length; }

  std::int64_t position(std::size_t unit, std::size_t query) const {
    const std::int64_t start =
        query_starts ? query_starts[unit / kv_heads] : std::int64_t(key_length) - std::int64_t(query_length);
    return start + std::int64_t(query);
  }
  /// Keys that a query sees but for windows, masks and biases: the first so many, section 7.
  std::size_t visible(std::size_t unit, std::size_t query) const {
    return visibility.of(position(unit, query), keys_of_unit(unit)).near.end;
  }
};

/// Rows of an input as float32: read in place, or converted into `scratch`. int8 become their integers, without the
/// scale.
inline const float* float_rows(const Kernels& kernels, const Input& input, std::size_t first_element, std::size_t count,
                               float* scratch) {
  switch (input.type) {
  case ElementType::float32:
    return static_cast<const float*>(input.data) + first_element;
  case ElementType::float16:
    kernels.rows.half_to_float(static_cast<const std::uint16_t*>(input.data) + first_element, count, scratch);
    break;
  case ElementType::int8:
    kernels.rows.int8_to_float(static_cast<const std::int8_t*>(input.data) + first_element, count, scratch);
    break;
  case ElementType::bfloat16:
    break; // version 2 only
  }
  return scratch;
}

/// Units that are packed and attended to together: few enough that what is packed stays in cache and in bounds, enough
/// for all threads.
inline std::size_t wave_units(const Problem& problem, std::size_t packed_bytes_per_unit, unsigned threads) {
  constexpr std::size_t packed_bytes_per_thread = std::size_t{2} << 20;
  const std::size_t fitting = threads * packed_bytes_per_thread / std::max<std::size_t>(packed_bytes_per_unit, 1);
  return std::clamp<std::size_t>(fitting, 1, problem.units());
}

/// Query rows per strip: their scores should stay in L2, and every thread should get strips of every head.
inline std::size_t strip_rows(const Problem& problem, std::size_t padded_keys, unsigned row_tile, std::size_t units,
                              unsigned threads) {
  constexpr std::size_t score_bytes = std::size_t{512} << 10;
  std::size_t tiles = std::clamp<std::size_t>(score_bytes / (4 * padded_keys * row_tile), 2, 4);
  const std::size_t wanted = std::size_t{4} * threads;
  while (threads > 1 && tiles > 1 &&
         units * problem.group() * divide_up(problem.query_length, tiles * row_tile) < wanted)
    --tiles;
  return std::min(tiles * row_tile, round_up(problem.query_length, row_tile));
}

} // namespace intattn
