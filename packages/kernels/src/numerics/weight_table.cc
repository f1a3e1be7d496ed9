#include "numerics/weight_table.h"

#include <cmath>
#include <cstring>

namespace intattn {
namespace {

constexpr double exp2_clip = 15 * 0.693147180559945309417232121458176568; // 15 octaves
constexpr std::uint32_t exp2_steps = 240;

double clip_of(const TableOptions& options) { return options.table == Table::exp2 ? exp2_clip : options.clip; }

std::uint32_t steps_of(const TableOptions& options) {
  return options.table == Table::exp2 ? exp2_steps : (1u << options.lut_bits) - 1;
}

} // namespace

IndexScale::IndexScale(const TableOptions& options) : clip_(clip_of(options)), weight_shift_(0) {
  const std::uint64_t steps = steps_of(options);
  while (steps << (weight_shift_ + 1) <= std::uint64_t{32767} * 16384)
    ++weight_shift_;
  numerator_ = std::ldexp(double(steps), int(weight_shift_));
}

IndexParameters IndexScale::operator()(double logit_scale) const {
  // Beyond 2^60 every distance falls into the first step, below 2^-60 every distance but 0 into the last: clamping
  // changes no index and keeps underflowed or overflowed logit scales out of the exponent arithmetic.
  double real_threshold = clip_ / logit_scale;
  if (!(real_threshold < 0x1p60))
    real_threshold = 0x1p60;
  if (real_threshold < 0x1p-60)
    real_threshold = 0x1p-60;

  std::uint64_t bits;
  std::memcpy(&bits, &real_threshold, sizeof bits);
  const auto exponent = std::int32_t(bits >> 52) - 1023; // positive and normal
  // 15 bits of the mantissa, rounded half up; a carry gives 32768.
  const auto threshold = std::uint32_t(((bits & 0xfffffffffffff) + 0x10000000000000 + 0x2000000000) >> 38);
  const auto multiplier = std::uint32_t(numerator_ / double(threshold) + 0.5);
  return {exponent - 14, threshold, multiplier, weight_shift_};
}

IndexParameters index_parameters(const TableOptions& options, double logit_scale) {
  return IndexScale(options)(logit_scale);
}

WeightTable::WeightTable(const TableOptions& options, Normalization normalization)
    : kind(options.table), normalization(normalization), steps(steps_of(options)),
      unit(options.table == Table::exp2 ? 64 : 1), bits(std::uint32_t(options.lut_bits)), weight{}, plane{}, fraction{},
      numerator{} {
  if (kind == Table::natural) {
    for (std::uint32_t i = 0; i < steps; ++i)
      weight[i] = std::uint16_t(std::floor(255 * std::exp(-options.clip * double(i) / double(steps)) + 0.5));
    weight[0] = 255;
  } else {
    for (int f = 0; f < 16; ++f)
      fraction[f] = std::uint16_t(std::floor(32640 * std::exp2(-f / 16.0) + 0.5));
    for (std::uint32_t i = 0; i <= steps; ++i)
      weight[i] = std::uint16_t(((fraction[i & 15] >> (i >> 4)) + 1) >> 1);
  }
  for (std::uint32_t i = 0; i <= steps; ++i)
    plane[i] = std::uint8_t(unit == 1 ? weight[i] : (weight[i] + 32) >> 6), numerator[i] = 510.0 * weight[i];
}

} // namespace intattn
