#pragma once

#include <cstddef>
#include <cstdint>

#include "block/block_kernels.h"
#include "block/visibility.h"
#include "intattn/block_attention.h"
#include "kernels.h"

namespace intattn {

/// The shapes of one run. A unit is one (batch, KV head) with the query heads that share it; its rows are those of its
/// heads, one head after the other.
struct BlockShapes {
  BlockShapes(const BlockAttentionOptions& options, const BlockAttentionArguments& arguments)
      : batch(arguments.batch), heads(options.heads), kv_heads(options.kv_heads), head_dim(options.head_dim),
        value_dim(options.value_dim), query_length(arguments.query_length), key_length(arguments.key_length),
        key_lengths(arguments.key_lengths), query_starts(arguments.query_starts) {}

  std::size_t batch, heads, kv_heads, head_dim, value_dim, query_length, key_length;
  const std::uint32_t* key_lengths;
  const std::int64_t* query_starts;

  std::size_t units() const { return batch * kv_heads; }
  std::size_t group() const { return heads / kv_heads; }
  std::size_t blocks() const { return divide_up(key_length, block_keys); }
  std::size_t unit_rows() const { return group() * query_length; }

  std::size_t keys_of(std::size_t item) const { return key_lengths ? key_lengths[item] : key_length; }
  std::int64_t position(std::size_t item, std::size_t query) const {
    const std::int64_t start =
        query_starts ? query_starts[item] : std::int64_t(key_length) - std::int64_t(query_length);
    return start + std::int64_t(query);
  }
};

/// One query row of a unit.
struct QueryRow {
  std::size_t batch, head, query;

  QueryRow(const BlockShapes& shapes, std::size_t unit, std::size_t row)
      : batch(unit / shapes.kv_heads), head(unit % shapes.kv_heads * shapes.group() + row / shapes.query_length),
        query(row % shapes.query_length) {}

  /// Its place among [batch, heads, query_length].
  std::size_t index(const BlockShapes& shapes) const {
    return (batch * shapes.heads + head) * shapes.query_length + query;
  }
};

} // namespace intattn
