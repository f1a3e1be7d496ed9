#pragma once

#include <cstddef>
#include <cstdint>

#include "intattn/exponential_table.h"
#include "intattn/instruction_set.h"

namespace intattn {

/// @param logit_scale what one unit of score is worth in the exponent; positive and finite
IndexParameters index_parameters(const TableOptions& options, double logit_scale);

/// IndexSoftmax over the rows of a matrix of int32 scores (sections 3 to 5).
struct IndexSoftmaxArguments {
  TableOptions table;
  Normalization normalization = Normalization::deferred;
  const double* logit_scale = nullptr; ///< one for all rows, or one per row
  bool logit_scale_per_row = false;
  const std::int32_t* scores = nullptr; ///< [rows, cols], any int32
  const std::uint8_t* valid = nullptr;  ///< [rows, cols], 0 = masked; null: all valid
  std::size_t rows = 0;
  std::size_t cols = 0;                  ///< at most 263,172, so that a row sum fits 32 bits
  std::uint8_t* probabilities = nullptr; ///< [rows, cols]: the normalized P, or the plane h when deferred
  std::uint32_t* row_sum = nullptr;      ///< [rows], optional
  std::int32_t* lost = nullptr; ///< [rows], optional: row_sum - u * sum of h; always of the plane, also with `integer`
};

/// Arguments must be valid (the caller checks); results are the same on every instruction set.
void index_softmax(const IndexSoftmaxArguments& arguments, InstructionSet isa);

} // namespace intattn
