#pragma once

#include "driver/aligned_buffer.h"
#include "driver/problem.h"

namespace intattn {

/// Scales and centers of K and V, section 1 of the numeric specification: one per column of each unit, whatever the
/// scope.
class KeyValueScales {
public:
  /// Columns whose statistics stay in registers.
  static constexpr std::size_t slab = 64;

  KeyValueScales(const AttentionOptions& options, const AttentionArguments& arguments, const Problem& problem,
                 const Kernels& kernels);

  void place(Layout& layout);

  const Input& input(TensorIndex tensor) const { return tensor == key_tensor ? arguments_.key : arguments_.value; }
  Scope scope(TensorIndex tensor) const { return tensor == key_tensor ? options_.key_scope : options_.value_scope; }
  /// Whether the mean of a column is subtracted from it.
  bool centered(TensorIndex tensor) const {
    return (tensor == key_tensor ? options_.smooth_key : options_.center_value) &&
           input(tensor).type != ElementType::int8;
  }
  std::size_t slabs() const { return divide_up(problem_.most_dim(), slab); }

  /// Centers and largest magnitudes of the columns of one slab; a tensor that is not finite is told.
  /// @param scratch [mean_block, dim of the tensor], likewise below
  /// @param sums null, or [blocks + 1, dim]: sums of each column before every block of keys and over all of them
  Status measure(std::size_t unit, TensorIndex tensor, std::size_t index, float* scratch, double* sums) const;
  /// Scales of units whose columns are measured: of all units, where a scale spans units.
  void settle(std::size_t unit_begin, std::size_t unit_end) const;

  /// Rows of float32 as int8.
  void quantize(std::size_t unit, TensorIndex tensor, const float* rows, std::size_t count, std::int8_t* out,
                std::size_t out_stride) const {
    kernels_.rows.quantize(rows, count, problem_.dim_of(tensor), center(unit, tensor), inverse_ + column(unit, tensor),
                           scope(tensor) == Scope::channel, out, out_stride);
  }

  const float* scale(std::size_t unit, TensorIndex tensor) const { return scale_ + column(unit, tensor); }
  /// Null where nothing is subtracted.
  const float* center(std::size_t unit, TensorIndex tensor) const {
    return centered(tensor) ? center_ + column(unit, tensor) : nullptr;
  }

  /// For those who study a run.
  void record(const Intermediates& to) const;

private:
  std::size_t column(std::size_t unit, TensorIndex tensor) const { return (2 * unit + tensor) * problem_.most_dim(); }
  void record_scale(TensorIndex tensor, float* out) const;

  const AttentionOptions& options_;
  const AttentionArguments& arguments_;
  const Problem& problem_;
  const Kernels& kernels_;
  // [units][key, value][most_dim]
  float *center_ = nullptr, *scale_ = nullptr, *inverse_ = nullptr;
  std::uint32_t* max_abs_ = nullptr; ///< as RowKernels::max_abs_bits
};

} // namespace intattn
