#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "intattn/exponential_table.h"

namespace intattn {

// Functions here are static: each instruction set compiles its own.

/// The exponential table of section 4 in the forms the kernels want.
struct WeightTable {
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

/// Section 3: what makes the index parameters of one table for any number of logit scales.
struct IndexScale {
  double clip;
  std::uint32_t weight_shift; ///< w
  double numerator;           ///< steps * 2^w
};

/// What one row's IndexSoftmax leaves: the sum of the weights W and the sum of the plane h.
struct RowSums {
  std::uint32_t weight;
  std::uint32_t plane;
};

static inline std::uint32_t table_steps(const TableOptions& options) {
  return options.table == Table::exp2 ? 240 : (1u << options.lut_bits) - 1;
}

static inline WeightTable make_weight_table(const TableOptions& options, Normalization normalization) {
  WeightTable table = {};
  table.kind = options.table;
  table.normalization = normalization;
  table.steps = table_steps(options);
  table.unit = options.table == Table::exp2 ? 64 : 1;
  table.bits = std::uint32_t(options.lut_bits);
  if (options.table == Table::natural) {
    for (std::uint32_t i = 0; i < table.steps; ++i)
      table.weight[i] =
          std::uint16_t(std::floor(255 * std::exp(-options.clip * double(i) / double(table.steps)) + 0.5));
    table.weight[0] = 255;
  } else {
    for (int f = 0; f < 16; ++f)
      table.fraction[f] = std::uint16_t(std::floor(32640 * std::exp2(-f / 16.0) + 0.5));
    for (std::uint32_t i = 0; i <= table.steps; ++i)
      table.weight[i] = std::uint16_t(((table.fraction[i & 15] >> (i >> 4)) + 1) >> 1);
  }
  for (std::uint32_t i = 0; i <= table.steps; ++i) {
    table.plane[i] = std::uint8_t(table.unit == 1 ? table.weight[i] : (table.weight[i] + 32) >> 6);
    table.numerator[i] = 510.0 * table.weight[i];
  }
  return table;
}

static inline IndexScale make_index_scale(const TableOptions& options) {
  const std::uint64_t steps = table_steps(options);
  const double octaves_clip = 15 * 0.693147180559945309417232121458176568;
  IndexScale scale = {options.table == Table::exp2 ? octaves_clip : options.clip, 0, 0};
  while (steps << (scale.weight_shift + 1) <= std::uint64_t{32767} * 16384)
    ++scale.weight_shift;
  scale.numerator = std::ldexp(double(steps), int(scale.weight_shift));
  return scale;
}

/// @param logit_scale what one unit of score is worth in the exponent; positive and finite
static inline IndexParameters make_index_parameters(const IndexScale& scale, double logit_scale) {
  // Beyond 2^60 every distance falls into the first step, below 2^-60 every distance but 0 into the last: clamping
  // changes no index and keeps underflowed or overflowed logit scales out of the exponent arithmetic.
  const double most = 1152921504606846976.0; // 2^60
  double real_threshold = scale.clip / logit_scale;
  if (!(real_threshold < most))
    real_threshold = most;
  if (real_threshold < 1 / most)
    real_threshold = 1 / most;

  std::uint64_t bits;
  std::memcpy(&bits, &real_threshold, sizeof bits);
  const auto exponent = std::int32_t(bits >> 52) - 1023; // positive and normal
  // 15 bits of the mantissa, rounded half up; a carry gives 32768.
  const auto threshold = std::uint32_t(((bits & 0xfffffffffffff) + 0x10000000000000 + 0x2000000000) >> 38);
  const auto multiplier = std::uint32_t(scale.numerator / double(threshold) + 0.5);
  return {exponent - 14, threshold, multiplier, scale.weight_shift};
}

/// The threshold as 16-bit lanes take it. 32768 itself needs a 16th bit; one less gives the same indices, because both
/// fall into the last step.
static inline std::uint32_t lane_threshold(const IndexParameters& index) {
  return index.threshold < 32767 ? index.threshold : 32767;
}

/// Fills normalized[0 ... steps] with P = floor((510 W + row_sum) / (2 row_sum)), section 5; row_sum > 0.
static inline void normalize_table(const WeightTable& table, std::uint32_t row_sum, std::uint8_t* normalized) {
  // Exact: a quotient below 256 that is no integer lies at least 2^-33 from the next one, and the products err by less
  // than 2^-42, so the bias lifts exact integers over their floor and nothing else.
  const double reciprocal = 1 / (2 * double(row_sum));
  const double bias = 0.5 + 1 / 1099511627776.0; // 2^-40
  for (std::uint32_t i = 0; i <= table.steps; ++i)
    normalized[i] = std::uint8_t(std::int32_t(table.numerator[i] * reciprocal + bias));
}

} // namespace intattn
