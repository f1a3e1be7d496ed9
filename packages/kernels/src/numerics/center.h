#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "numerics/scale.h"

namespace intattn {

/// Means are summed in blocks of this many rows, and the blocks in order: the same float64 on every instruction set.
constexpr std::size_t mean_block = 64;

struct CenteredColumn {
  float mean;
  std::uint32_t max_abs; ///< bits of the largest |x - mean|; `infinity_bits` or more when the column is not finite
};

/// Section 1: mean of a column of `rows` > 0 values and the largest magnitude that subtracting it leaves. Rounded
/// subtraction is monotonic, so the extremes stay the extremes; the float64 sum of finite float32 is finite, so it
/// tells of every NaN and infinity.
inline CenteredColumn center_column(double sum, std::size_t rows, float lowest, float highest) {
  const float mean = float(sum / double(rows));
  if (!std::isfinite(sum))
    return {mean, infinity_bits};
  return {mean, std::max(bits_of_float(highest - mean) & 0x7fffffff, bits_of_float(lowest - mean) & 0x7fffffff)};
}

} // namespace intattn
