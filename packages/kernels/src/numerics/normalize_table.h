#pragma once

#include <cstdint>

#include "numerics/weight_table.h"

namespace intattn {
namespace { // compiled anew for each instruction set

/// Fills normalized[0 ... steps] with P = floor((510 W + row_sum) / (2 row_sum)), section 5; row_sum > 0.
inline void normalize_table(const WeightTable& table, std::uint32_t row_sum, std::uint8_t* normalized) {
  // Exact: a quotient below 256 that is no integer lies at least 2^-33 from the next one, and the products err by less
  // than 2^-42, so the bias lifts exact integers over their floor and nothing else.
  const double reciprocal = 1 / (2 * double(row_sum));
  const double bias = 0.5 + 0x1p-40;
  for (std::uint32_t i = 0; i <= table.steps; ++i)
    normalized[i] = std::uint8_t(std::int32_t(table.numerator[i] * reciprocal + bias));
}

} // namespace
} // namespace intattn
