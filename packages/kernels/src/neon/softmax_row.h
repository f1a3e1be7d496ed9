#pragma once

#include "kernels.h"
#include "neon/index_softmax.h"

namespace intattn {
namespace {

/// IndexSoftmax of one row in the form of the kernel table.
inline RowSums softmax_row(const std::int32_t* scores, std::size_t count, const WeightTable& table,
                           const IndexParameters& index, void*, std::uint8_t* out) {
  return index_softmax_row(scores, count, row_maximum(scores, count), table, index, out);
}

} // namespace
} // namespace intattn
