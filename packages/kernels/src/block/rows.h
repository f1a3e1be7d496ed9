#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "block/block_kernels.h"
#include "intattn/tensor_view.h"
#include "kernels.h"

namespace intattn {

/// Section 2 for rows of one dimension: signs, and what undoes them.
class Rotation {
public:
  /// @param rotate false: nothing is rotated
  Rotation(std::size_t dim, bool rotate);

  std::size_t block() const { return block_; }
  /// @param offset what is subtracted first, padded with zeros; may be null
  RowTransform before(const float* offset) const { return {dim_, block_, data(sign_), offset}; }
  RowTransform after(const float* offset) const { return {dim_, block_, data(inverse_), offset}; }
  /// Of rows that are not rotated.
  RowTransform none(const float* offset) const { return {dim_, 1, nullptr, offset}; }

private:
  static const float* data(const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); }

  std::size_t dim_, block_;
  std::vector<float> sign_, inverse_; ///< [dim], padded; empty where nothing is rotated
};

/// Section 3: how the rows of one tensor become integers.
struct RowFormat {
  unsigned bits = 8;

  unsigned top() const { return bits == 15 ? 16256 : bits == 7 ? 63 : 127; }
  std::size_t bytes() const { return bits == 15 ? 2 : 1; }
};

/// One row as float32: where it lies, or converted into `scratch`.
const float* float_row(const Kernels& kernels, const TensorView& view, std::size_t batch, std::size_t head,
                       std::size_t row, std::size_t dim, float* scratch);

/// The scale of a row of int8 as it is given; NaN where it is none, or where the row does not fit the format.
float given_row(const TensorView& view, RowFormat format, std::size_t batch, std::size_t head, std::size_t row,
                std::size_t dim, std::int8_t* out);

/// One row of K or V, floats or given integers, as integers of at most 8 bits. @return its scale, NaN for a bad row
/// @param offset padded; may be null
/// @param scratch [dim] padded
float quantize_row(const Kernels& kernels, const BlockKernels& block, const TensorView& view, RowFormat format,
                   const Rotation& rotation, const float* offset, std::size_t batch, std::size_t head, std::size_t row,
                   std::size_t dim, float* scratch, std::int8_t* out);

/// Rows of each KV head, padded as kernels read them; empty for null.
std::vector<float> padded_rows(const float* rows, std::size_t count, std::size_t dim);

/// Sixteen levels in place of 255, for 4 bits.
void to_levels(std::int8_t* row, std::size_t dim);

/// The integer form of the scale of a value row.
struct IntegerScale {
  std::int16_t mantissa, exponent;
};
IntegerScale integer_scale(float scale);
/// The scale that an integer form stands for, of 15 bits; 0 without an exponent.
float scale_of(IntegerScale scale);

/// As if there were no rows.
void clear(ValueScales& scales);

/// G of one row of a block, Z being `top`.
std::int16_t folded(IntegerScale scale, std::int16_t top);
/// G and Z of a row that sees all of a block, from mantissas and exponents.
void fold(ValueScales& scales);

} // namespace intattn
