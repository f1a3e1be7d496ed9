#pragma once

#include <cstddef>
#include <cstdint>

#include "intattn/instruction_set.h"

namespace intattn {

/// Exponential table, section 3 of the numeric specification.
enum class Table {
  natural, ///< 2^lut_bits entries over [0, clip]; the paper's
  exp2,    ///< 15 octaves of 16 fractions; 14-bit weights
};

enum class Normalization {
  integer,  ///< every weight is divided by the row sum and rounded to uint8; the paper's
  deferred, ///< the division happens once per output row
};

struct TableOptions {
  Table table = Table::exp2;
  double clip = 6.6; ///< `natural` only: logits this far below the row maximum weigh nothing; > 0
  int lut_bits = 5;  ///< `natural` only: 4, 5 or 6
};

/// The integers that turn a distance from the row maximum into a table index: a function of the table and the logit
/// scale.
struct IndexParameters {
  std::int32_t shift;         ///< right shift of the distance; a left shift when negative
  std::uint32_t threshold;    ///< clip in shifted units, 16384 ... 32768
  std::uint32_t multiplier;   ///< 15 bits
  std::uint32_t weight_shift; ///< w
};

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
