#pragma once

#include <cstddef>
#include <cstdint>

#include "driver/aligned_buffer.h"
#include "driver/key_value_scales.h"
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
  const KeyValueScales& scales() const { return scales_; }

private:
  bool query_scale_per_row() const { return run_.options.query_scope == Scope::row; }
  void measure_query();
  void measure_key_and_value();
  void quantize_query(std::size_t row, std::size_t count);
  void quantize(TensorIndex tensor, std::size_t unit, std::size_t row, std::size_t count);

  UnitRun& run_;
  std::size_t bytes_ = 0, rows_per_query_scale_;
  std::int8_t *query_out_, *key_out_, *value_out_;
  float *query_scale_, *query_inverse_; // [rows / rows_per_query_scale]
  KeyValueScales scales_;
};

} // namespace intattn::compute_library
