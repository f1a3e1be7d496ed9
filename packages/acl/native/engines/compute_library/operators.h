#pragma once

#include <cstddef>
#include <stdexcept>

#include "arm_compute/runtime/NEON/functions/NECast.h"
#include "arm_compute/runtime/NEON/functions/NEGEMM.h"
#include "arm_compute/runtime/NEON/functions/NEGEMMLowpMatrixMultiplyCore.h"
#include "arm_compute/runtime/NEON/functions/NESoftmaxLayer.h"
#include "arm_compute/runtime/NEON/functions/NETranspose.h"
#include "arm_compute/runtime/Tensor.h"

namespace intattn::compute_library {

/// The library does not take these arguments; `what()` is its message.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws a Refusal unless the status is good.
void require(const arm_compute::Status& status, const char* operation);

/// Largest tensor: the library counts offsets in 32 signed bits.
constexpr std::size_t max_tensor_bytes = 0x7fffffff;

/// A matrix of the library, row after row, over memory of others. Its values may change from run to run: without saying
/// so, the library would pack a right-hand operand once and keep that.
class Matrix {
public:
  Matrix(arm_compute::DataType type, std::size_t rows, std::size_t columns) : Matrix(type, rows, columns, columns) {}
  /// @param row_stride elements from one row to the next
  Matrix(arm_compute::DataType type, std::size_t rows, std::size_t columns, std::size_t row_stride);

  /// Lets the matrix lie at `data`, which only an operator that produces the matrix writes to.
  void bind(const void* data);

  arm_compute::Tensor* tensor() { return &tensor_; }
  const arm_compute::ITensorInfo* info() const { return tensor_.info(); }

private:
  arm_compute::Tensor tensor_;
};

// Each checks with the library first, which does not check while configuring, and throws a Refusal.

/// product = left right, or left right^T
void configure(arm_compute::NEGEMM& gemm, Matrix& left, Matrix& right, Matrix& product, bool transpose_right = false);
/// product = left right; int8 with int8 to int32, or uint8 with int8 to float32
void configure(arm_compute::NEGEMMLowpMatrixMultiplyCore& gemm, Matrix& left, Matrix& right, Matrix& product);
/// probabilities = softmax(beta scores) by rows
void configure(arm_compute::NESoftmaxLayer& softmax, Matrix& scores, Matrix& probabilities, float beta);
void configure(arm_compute::NECast& cast, Matrix& from, Matrix& to);
void configure(arm_compute::NETranspose& transpose, Matrix& from, Matrix& to);

} // namespace intattn::compute_library
