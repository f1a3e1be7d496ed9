#pragma once

#include <cstdint>

#include "intattn/index_softmax.h"

namespace intattn {

/// The exponential table of section 4 in the forms the kernels want.
struct WeightTable {
  explicit WeightTable(const TableOptions& options, Normalization normalization);

  Table kind;
  Normalization normalization;
  std::uint32_t steps;        ///< index of the last entry, which weighs nothing
  std::uint32_t unit;         ///< u: weights are this many times finer than the plane
  std::uint32_t bits;         ///< `natural`: log2 of the number of entries
  std::uint16_t weight[256];  ///< W by index; zero from `steps` on
  std::uint8_t plane[256];    ///< h by index
  std::uint16_t fraction[16]; ///< `exp2`: F
  double numerator[256];      ///< 510 W, see normalize_table
};

/// Section 3: makes the index parameters of one table for any number of logit scales.
class IndexScale {
public:
  explicit IndexScale(const TableOptions& options);
  IndexParameters operator()(double logit_scale) const;

private:
  double clip_;
  std::uint32_t weight_shift_; ///< w
  double numerator_;           ///< steps * 2^w
};

/// The threshold as 16-bit lanes take it. 32768 itself needs a 16th bit; one less gives the same indices, because both
/// fall into the last step.
static inline std::uint32_t lane_threshold(const IndexParameters& index) {
  return index.threshold < 32767 ? index.threshold : 32767;
}

} // namespace intattn
