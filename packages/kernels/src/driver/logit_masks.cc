#include "driver/logit_masks.h"

#include <algorithm>

namespace intattn {
namespace {

/// 1/1024 octaves of a nat: a bias whose product with it is -infinity hides its key, here as in version 2.
constexpr float hiding_unit = 0x1.715476p+10f;

} // namespace

LogitMasks::LogitMasks(const AttentionOptions& options, const AttentionArguments& arguments, const Problem& problem)
    : options_(options), arguments_(arguments), problem_(problem) {}

bool LogitMasks::any() const {
  return problem_.visibility.window > 0 || options_.slopes || options_.sinks || arguments_.mask.data ||
         arguments_.bias.data;
}

bool LogitMasks::bias_is_sound(const Row& row) const {
  const float* of_row = bias(row);
  bool sound = true;
  for (std::size_t key = 0; of_row && key < problem_.keys_of_unit(row.unit); ++key)
    sound &= of_row[key] < 0x1p100f;
  return sound;
}

void LogitMasks::apply(const Row& row, float* x) const {
  const std::int64_t position = problem_.position(row.unit, row.query);
  const VisibleKeys visible = problem_.visibility.of(position, problem_.keys_of_unit(row.unit));
  const std::size_t end = visible.near.end;
  if (options_.slopes) {
    const float slope = options_.slopes[row.head % problem_.heads];
    for (std::size_t key = 0; key < end; ++key)
      x[key] += slope * float(std::int64_t(key) - position);
  }
  if (const float* of_row = bias(row))
    for (std::size_t key = 0; key < end; ++key)
      x[key] = of_row[key] * hiding_unit > hidden ? x[key] + of_row[key] : hidden;
  if (const std::uint8_t* seen = mask(row))
    for (std::size_t key = 0; key < end; ++key)
      x[key] = seen[key] ? x[key] : hidden;
  if (visible.kept.end < visible.near.begin)
    std::fill(x + visible.kept.end, x + visible.near.begin, hidden);
}

double LogitMasks::addend(const Row& row, std::size_t key) const {
  const std::int64_t position = problem_.position(row.unit, row.query);
  const VisibleKeys visible = problem_.visibility.of(position, problem_.keys_of_unit(row.unit));
  const float* of_row = bias(row);
  const std::uint8_t* seen = mask(row);
  if ((key >= visible.kept.end && key < visible.near.begin) || (seen && !seen[key]) ||
      (of_row && !(of_row[key] * hiding_unit > hidden)))
    return hidden;
  double sum = of_row ? double(of_row[key]) : 0;
  if (options_.slopes)
    sum += double(options_.slopes[row.head % problem_.heads]) * double(std::int64_t(key) - position);
  return sum;
}

} // namespace intattn
