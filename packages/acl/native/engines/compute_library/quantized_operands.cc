#include "engines/compute_library/quantized_operands.h"

#include <limits>
#include <memory>
#include <vector>

#include "numerics/center.h"

namespace intattn::compute_library {

QuantizedOperands::QuantizedOperands(UnitRun& run, unsigned char* base) : run_(run) {
  const AttentionArguments& arguments = run.arguments;
  const Problem& problem = run.problem;
  const std::size_t rows = problem.units() * run.unit_rows, keys = problem.units() * problem.key_length,
                    columns = 2 * problem.units() * problem.dim;
  rows_per_query_scale_ = run.options.query_scope == Scope::row    ? 1
                          : run.options.query_scope == Scope::head ? problem.query_length
                                                                   : rows;
  Layout layout(base);
  const auto operand = [&](const Input& in, std::int8_t* record, std::size_t elements, const std::int8_t*& data) {
    std::int8_t* out = record;
    if (in.type == ElementType::int8)
      data = static_cast<const std::int8_t*>(in.data);
    else
      data = out = record ? record : layout.take<std::int8_t>(elements);
    return out;
  };
  const Intermediates none, &to = arguments.intermediates ? *arguments.intermediates : none;
  query_out_ = operand(arguments.query, to.query, rows * problem.dim, query);
  key_out_ = operand(arguments.key, to.key, keys * problem.dim, key);
  value_out_ = operand(arguments.value, to.value, keys * problem.dim, value);
  query_scale_ = layout.take<float>(rows / rows_per_query_scale_);
  query_inverse_ = layout.take<float>(rows / rows_per_query_scale_);
  center_ = layout.take<float>(columns);
  scale_ = layout.take<float>(columns);
  inverse_ = layout.take<float>(columns);
  bits_ = layout.take<std::uint32_t>(columns);
  bytes_ = layout.used();
}

void QuantizedOperands::quantize() {
  const Problem& problem = run_.problem;
  measure_query();
  run_.threads.for_parts(2 * problem.units(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      measure(i / 2, i % 2 ? value_tensor : key_tensor);
  });
  if (run_.failed())
    return;
  settle_scales(key_tensor);
  settle_scales(value_tensor);
  run_.for_query_blocks([&](std::size_t row, std::size_t count) { quantize_query(row, count); });
  run_.for_key_blocks([&](std::size_t unit, std::size_t first, std::size_t count) {
    quantize(key_tensor, unit, first, count);
    quantize(value_tensor, unit, first, count);
  });
}

/// Scales that rows share; those of single rows come with quantizing.
void QuantizedOperands::measure_query() {
  const Input& in = run_.arguments.query;
  const std::size_t rows = run_.problem.units() * run_.unit_rows, scales = rows / rows_per_query_scale_;
  if (in.type == ElementType::int8) {
    std::copy_n(in.scale, scales, query_scale_);
    return;
  }
  if (query_scale_per_row())
    return;
  const std::size_t dim = run_.problem.dim, step = UnitRun::block_rows, blocks = divide_up(rows, step);
  std::unique_ptr<std::uint32_t[]> row_bits(new std::uint32_t[rows]);
  run_.threads.for_parts(blocks, 1, [&](std::size_t begin, std::size_t end) {
    std::unique_ptr<float[]> scratch(new float[step * dim]);
    for (std::size_t row = begin * step; row < std::min(end * step, rows); row += step) {
      const std::size_t count = std::min(step, rows - row);
      const float* x = float_rows(run_.kernels, in, row * dim, count * dim, scratch.get());
      for (std::size_t i = 0; i < count; ++i)
        row_bits[row + i] = run_.kernels.rows.max_abs_bits(x + i * dim, dim);
    }
  });
  for (std::size_t i = 0; i < scales; ++i) {
    const std::uint32_t* bits = row_bits.get() + i * rows_per_query_scale_;
    const std::uint32_t most = *std::max_element(bits, bits + rows_per_query_scale_);
    if (most >= infinity_bits)
      run_.fail(Status::non_finite_query);
    const ScaleAndInverse both = scale_of(most);
    query_scale_[i] = both.scale;
    query_inverse_[i] = both.inverse;
  }
}

/// Centers and magnitudes of the columns of one matrix.
void QuantizedOperands::measure(std::size_t unit, TensorIndex tensor) {
  const Input& in = input(tensor);
  const std::size_t dim = run_.problem.dim, keys = run_.problem.keys_of_unit(unit), at = column(tensor, unit);
  std::fill_n(center_ + at, dim, 0.0f);
  std::fill_n(bits_ + at, dim, 0u);
  if (in.type == ElementType::int8 || keys == 0)
    return;
  const bool centering = centered(tensor);
  std::unique_ptr<float[]> scratch(new float[mean_block * dim]);
  std::vector<double> total(dim, 0), block(dim);
  std::vector<float> low(dim, std::numeric_limits<float>::infinity());
  std::vector<float> high(dim, -std::numeric_limits<float>::infinity());
  for (std::size_t row = 0; row < keys; row += mean_block) {
    const std::size_t count = std::min(mean_block, keys - row);
    const float* x = float_rows(run_.kernels, in, (run_.first_key(unit) + row) * dim, count * dim, scratch.get());
    if (!centering) {
      run_.kernels.rows.column_max_abs(x, dim, count, dim, bits_ + at);
      continue;
    }
    std::fill(block.begin(), block.end(), 0.0);
    run_.kernels.rows.column_statistics(x, dim, count, dim, block.data(), low.data(), high.data());
    for (std::size_t c = 0; c < dim; ++c)
      total[c] += block[c];
  }
  if (centering)
    for (std::size_t c = 0; c < dim; ++c) {
      const CenteredColumn found = center_column(total[c], keys, low[c], high[c]);
      center_[at + c] = found.mean;
      bits_[at + c] = found.max_abs;
    }
  if (*std::max_element(bits_ + at, bits_ + at + dim) >= infinity_bits)
    run_.fail(tensor == key_tensor ? Status::non_finite_key : Status::non_finite_value);
}

void QuantizedOperands::settle_scales(TensorIndex tensor) {
  const Input& in = input(tensor);
  const std::size_t dim = run_.problem.dim, units = run_.problem.units();
  const Scope group = scope(tensor);
  std::uint32_t all = 0;
  for (std::size_t unit = 0; unit < units; ++unit) {
    const std::uint32_t* bits = bits_ + column(tensor, unit);
    all = std::max(all, *std::max_element(bits, bits + dim));
  }
  for (std::size_t unit = 0; unit < units; ++unit) {
    const std::size_t at = column(tensor, unit);
    const std::uint32_t* bits = bits_ + at;
    if (in.type == ElementType::int8) {
      if (group == Scope::channel)
        std::copy_n(in.scale + unit * dim, dim, scale_ + at);
      else
        std::fill_n(scale_ + at, dim, in.scale[group == Scope::head ? unit : 0]);
      continue;
    }
    const ScaleAndInverse shared = scale_of(group == Scope::tensor ? all : *std::max_element(bits, bits + dim));
    for (std::size_t c = 0; c < dim; ++c) {
      const ScaleAndInverse both = group == Scope::channel ? scale_of(bits[c]) : shared;
      scale_[at + c] = both.scale;
      inverse_[at + c] = both.inverse;
    }
  }
}

void QuantizedOperands::quantize_query(std::size_t row, std::size_t count) {
  const Input& in = run_.arguments.query;
  const std::size_t dim = run_.problem.dim;
  if (in.type == ElementType::int8) {
    if (query_out_)
      std::memcpy(query_out_ + row * dim, query + row * dim, count * dim);
    return;
  }
  std::unique_ptr<float[]> scratch(new float[count * dim]);
  const float* x = float_rows(run_.kernels, in, row * dim, count * dim, scratch.get());
  std::int8_t* out = query_out_ + row * dim;
  if (query_scale_per_row()) {
    if (run_.kernels.rows.quantize_rows(x, count, dim, out, dim, query_scale_ + row) >= infinity_bits)
      run_.fail(Status::non_finite_query);
    return;
  }
  for (std::size_t i = 0; i < count;) { // as many rows as share a scale
    const std::size_t scale = (row + i) / rows_per_query_scale_;
    const std::size_t same = std::min(count - i, (scale + 1) * rows_per_query_scale_ - (row + i));
    run_.kernels.rows.quantize(x + i * dim, same, dim, nullptr, query_inverse_ + scale, false, out + i * dim, dim);
    i += same;
  }
}

void QuantizedOperands::quantize(TensorIndex tensor, std::size_t unit, std::size_t row, std::size_t count) {
  const Input& in = input(tensor);
  const std::size_t dim = run_.problem.dim, first = (run_.first_key(unit) + row) * dim, at = column(tensor, unit);
  std::int8_t* out = tensor == key_tensor ? key_out_ : value_out_;
  if (in.type == ElementType::int8) {
    if (out)
      std::memcpy(out + first, static_cast<const std::int8_t*>(in.data) + first, count * dim);
    return;
  }
  std::unique_ptr<float[]> scratch(new float[count * dim]);
  const float* x = float_rows(run_.kernels, in, first, count * dim, scratch.get());
  run_.kernels.rows.quantize(x, count, dim, centered(tensor) ? center_ + at : nullptr, inverse_ + at,
                             scope(tensor) == Scope::channel, out + first, dim);
}

void QuantizedOperands::record(const Intermediates& to) const {
  const std::size_t dim = run_.problem.dim, units = run_.problem.units();
  if (to.query_scale)
    std::copy_n(query_scale_, units * run_.unit_rows / rows_per_query_scale_, to.query_scale);
  const auto record_scale = [&](TensorIndex tensor, float* out) {
    for (std::size_t unit = 0; out && unit < units; ++unit) {
      const float* scale = scale_of_columns(tensor, unit);
      if (scope(tensor) == Scope::channel)
        std::copy_n(scale, dim, out + unit * dim);
      else if (scope(tensor) == Scope::head || unit == 0)
        out[unit] = scale[0];
    }
  };
  record_scale(key_tensor, to.key_scale);
  record_scale(value_tensor, to.value_scale);
  for (std::size_t unit = 0; to.value_center && unit < units; ++unit)
    std::copy_n(center_ + column(value_tensor, unit), dim, to.value_center + unit * dim);
}

} // namespace intattn::compute_library
