#include "driver/key_value_scales.h"

#include <limits>

#include "numerics/center.h"
#include "numerics/scale.h"

namespace intattn {

KeyValueScales::KeyValueScales(const AttentionOptions& options, const AttentionArguments& arguments,
                               const Problem& problem, const Kernels& kernels)
    : options_(options), arguments_(arguments), problem_(problem), kernels_(kernels) {}

void KeyValueScales::place(Layout& layout) {
  const std::size_t columns = 2 * problem_.units() * problem_.most_dim();
  center_ = layout.take<float>(columns);
  scale_ = layout.take<float>(columns);
  inverse_ = layout.take<float>(columns);
  max_abs_ = layout.take<std::uint32_t>(columns);
}

Status KeyValueScales::measure(std::size_t unit, TensorIndex tensor, std::size_t index, float* scratch,
                               double* sums) const {
  const std::size_t dim = problem_.dim_of(tensor), first = index * slab;
  if (first >= dim)
    return Status::ok;
  const std::size_t columns = std::min(slab, dim - first), keys = problem_.keys_of_unit(unit),
                    at = column(unit, tensor) + first;
  const Input& in = input(tensor);
  const bool centers = centered(tensor), measures = in.type != ElementType::int8;
  float* means = center_ + at;
  std::uint32_t* max_abs = max_abs_ + at;
  std::fill_n(means, columns, 0.0f);
  std::fill_n(max_abs, columns, 0u);
  if (!sums && !measures)
    return Status::ok;

  double total[slab] = {};
  float low[slab], high[slab];
  std::fill_n(low, slab, std::numeric_limits<float>::infinity());
  std::fill_n(high, slab, -std::numeric_limits<float>::infinity());
  for (std::size_t key = 0; key < keys; key += mean_block) {
    const std::size_t count = std::min(mean_block, keys - key);
    const float* x = float_rows(kernels_, in, (unit * problem_.key_length + key) * dim, count * dim, scratch) + first;
    if (sums)
      std::copy_n(total, columns, sums + key / mean_block * dim + first);
    if (sums || centers) {
      double block[slab] = {};
      kernels_.rows.column_statistics(x, dim, count, columns, block, low, high);
      for (std::size_t c = 0; c < columns; ++c)
        total[c] += block[c];
    }
    if (measures && !centers)
      kernels_.rows.column_max_abs(x, dim, count, columns, max_abs);
  }
  if (sums)
    std::copy_n(total, columns, sums + divide_up(keys, mean_block) * dim + first);
  for (std::size_t c = 0; c < columns && centers && keys; ++c) {
    const CenteredColumn found = center_column(total[c], keys, low[c], high[c]);
    means[c] = found.mean;
    max_abs[c] = found.max_abs;
  }
  if (*std::max_element(max_abs, max_abs + columns) < infinity_bits)
    return Status::ok;
  return tensor == key_tensor ? Status::non_finite_key : Status::non_finite_value;
}

void KeyValueScales::settle(std::size_t unit_begin, std::size_t unit_end) const {
  for (const TensorIndex tensor : {key_tensor, value_tensor}) {
    const std::size_t dim = problem_.dim_of(tensor);
    const Input& in = input(tensor);
    const Scope group = scope(tensor);
    const auto largest = [&](std::size_t unit) {
      const std::uint32_t* max_abs = max_abs_ + column(unit, tensor);
      return *std::max_element(max_abs, max_abs + dim);
    };
    std::uint32_t all = 0;
    for (std::size_t unit = unit_begin; unit < unit_end && group == Scope::tensor; ++unit)
      all = std::max(all, largest(unit));
    for (std::size_t unit = unit_begin; unit < unit_end; ++unit) {
      const std::size_t at = column(unit, tensor);
      if (in.type == ElementType::int8) {
        if (group == Scope::channel)
          std::copy_n(in.scale + unit * dim, dim, scale_ + at);
        else
          std::fill_n(scale_ + at, dim, in.scale[group == Scope::head ? unit : 0]);
      } else if (group == Scope::channel) {
        for (std::size_t c = at; c < at + dim; ++c) {
          const ScaleAndInverse own = scale_of(max_abs_[c]);
          scale_[c] = own.scale;
          inverse_[c] = own.inverse;
        }
      } else {
        const ScaleAndInverse shared = scale_of(group == Scope::head ? largest(unit) : all);
        std::fill_n(scale_ + at, dim, shared.scale);
        inverse_[at] = shared.inverse;
      }
    }
  }
}

void KeyValueScales::record_scale(TensorIndex tensor, float* out) const {
  for (std::size_t unit = 0; out && unit < problem_.units(); ++unit)
    if (scope(tensor) == Scope::channel)
      std::copy_n(scale(unit, tensor), problem_.dim_of(tensor), out + unit * problem_.dim_of(tensor));
    else if (scope(tensor) == Scope::head || unit == 0)
      out[unit] = *scale(unit, tensor);
}

void KeyValueScales::record(const Intermediates& to) const {
  record_scale(key_tensor, to.key_scale);
  record_scale(value_tensor, to.value_scale);
  for (std::size_t unit = 0; to.value_center && unit < problem_.units(); ++unit)
    std::copy_n(center_ + column(unit, value_tensor), problem_.value_dim, to.value_center + unit * problem_.value_dim);
}

} // namespace intattn
