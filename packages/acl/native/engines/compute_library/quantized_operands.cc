#include "engines/compute_library/quantized_operands.h"

#include <memory>

#include "numerics/center.h"

namespace intattn::compute_library {

QuantizedOperands::QuantizedOperands(UnitRun& run, unsigned char* base)
    : run_(run), scales_(run.options, run.arguments, run.problem, run.kernels) {
  const AttentionArguments& arguments = run.arguments;
  const Problem& problem = run.problem;
  const std::size_t rows = problem.units() * run.unit_rows, keys = problem.units() * problem.key_length;
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
  scales_.place(layout);
  bytes_ = layout.used();
}

void QuantizedOperands::quantize() {
  measure_query();
  measure_key_and_value();
  if (run_.failed())
    return;
  scales_.settle(0, run_.problem.units());
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

void QuantizedOperands::measure_key_and_value() {
  const std::size_t slabs = scales_.slabs();
  run_.threads.for_parts(run_.problem.units() * 2 * slabs, 1, [&](std::size_t begin, std::size_t end) {
    std::unique_ptr<float[]> scratch(new float[mean_block * run_.problem.dim]);
    for (std::size_t i = begin; i < end; ++i) {
      const Status found =
          scales_.measure(i / slabs / 2, TensorIndex(i / slabs % 2), i % slabs, scratch.get(), nullptr);
      if (found != Status::ok)
        run_.fail(found);
    }
  });
}

void QuantizedOperands::quantize_query(std::size_t row, std::size_t count) {
  const Input& in = run_.arguments.query;
  const std::size_t dim = run_.problem.dim;
  if (in.type == ElementType::int8) {
    if (query_out_)
      std::memcpy(query_out_ + row * dim, query + row * dim, count * dim);
    return;
  }
  std::unique_ptr<float[]> scratch(in.type == ElementType::float32 ? nullptr : new float[count * dim]);
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
  const Input& in = scales_.input(tensor);
  const std::size_t dim = run_.problem.dim, first = (run_.first_key(unit) + row) * dim;
  std::int8_t* out = tensor == key_tensor ? key_out_ : value_out_;
  if (in.type == ElementType::int8) {
    if (out)
      std::memcpy(out + first, static_cast<const std::int8_t*>(in.data) + first, count * dim);
    return;
  }
  std::unique_ptr<float[]> scratch(in.type == ElementType::float32 ? nullptr : new float[count * dim]);
  scales_.quantize(unit, tensor, float_rows(run_.kernels, in, first, count * dim, scratch.get()), count, out + first,
                   dim);
}

void QuantizedOperands::record(const Intermediates& to) const {
  if (to.query_scale)
    std::copy_n(query_scale_, run_.problem.units() * run_.unit_rows / rows_per_query_scale_, to.query_scale);
  scales_.record(to);
}

} // namespace intattn::compute_library
