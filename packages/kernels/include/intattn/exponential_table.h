#pragma once

#include <cstdint>

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

} // namespace intattn
