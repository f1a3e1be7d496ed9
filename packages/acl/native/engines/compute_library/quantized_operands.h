#pragma once

#include <cstddef>
#include <cstdint>

#include "driver/aligned_buffer.h"
#include "engines/compute_library/unit_run.h"

namespace intattn::compute_library {

/// Q, K and V as int8 (section 1 of the numeric specification), laid out as the inputs are, with what turns their
/// products back into real numbers. Inputs that are int8 stay where they are.
class QuantizedOperands {
public:
  /// @param base null: only counts bytes
  QuantizedOperands(UnitRun& run, unsigned char* base);

  std::size_t bytes() const { return bytes_; }
  /// Quantizes; a tensor that is not finite fails the run.
  void quantize();
  /// Scales and centers for those who study a run.
  void record(const Intermediates& to) const;

  const std::int8_t *query, *key, *value;

  /// Of a query row, counted over all heads.
  float query_scale(std::size_t row) const { return query_scale_[row / rows_per_query_scale_]; }
  float key_scale(std::size_t unit) const { return scale_of_columns(key_tensor, unit)[0]; }
  const float* value_scale(std::size_t unit) const { return scale_of_columns(value_tensor, unit); }
  /// What was subtracted from V before quantizing; null when nothing was.
  const float* value_center(std::size_t unit) const {
    return centered(value_tensor) ? center_ + column(value_tensor, unit) : nullptr;
  }

private:
  enum TensorIndex { key_tensor, value_tensor };

  const Input& input(TensorIndex tensor) const {
    return tensor == key_tensor ? run_.arguments.key : run_.arguments.value;
  }
  Scope scope(TensorIndex tensor) const {
    return tensor == key_tensor ? run_.options.key_scope : run_.options.value_scope;
  }
  bool centered(TensorIndex tensor) const {
    return (tensor == key_tensor ? run_.options.smooth_key : run_.options.center_value) &&
           input(tensor).type != ElementType::int8;
  }
  std::size_t column(TensorIndex tensor, std::size_t unit) const { return (2 * unit + tensor) * run_.problem.dim; }
  const float* scale_of_columns(TensorIndex tensor, std::size_t unit) const { return scale_ + column(tensor, unit); }

  bool query_scale_per_row() const { return run_.options.query_scope == Scope::row; }
  void measure_query();
  void measure(std::size_t unit, TensorIndex tensor);
  void settle_scales(TensorIndex tensor);
  void quantize_query(std::size_t row, std::size_t count);
  void quantize(TensorIndex tensor, std::size_t unit, std::size_t row, std::size_t count);

  UnitRun& run_;
  std::size_t bytes_ = 0, rows_per_query_scale_;
  std::int8_t *query_out_, *key_out_, *value_out_;
  float *query_scale_, *query_inverse_; // [rows / rows_per_query_scale]
  float *center_, *scale_, *inverse_;   // [units][key, value][dim]
  std::uint32_t* bits_;                 // likewise: magnitudes, see RowKernels::max_abs_bits
};

} // namespace intattn::compute_library
