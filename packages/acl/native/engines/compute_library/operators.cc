#include "engines/compute_library/operators.h"

#include <cstdint>
#include <string>

namespace intattn::compute_library {

using namespace arm_compute;

namespace {

TensorInfo matrix_info(DataType type, std::size_t rows, std::size_t columns, std::size_t row_stride) {
  const std::size_t element = data_size_from_type(type);
  if (rows == 0 || columns == 0 || rows > max_tensor_bytes / (row_stride * element))
    throw Refusal("a matrix of " + std::to_string(rows) + " rows by " + std::to_string(row_stride) +
                  " columns: the library takes 1 to 2147483647 bytes");
  TensorInfo info;
  const TensorShape shape(columns, rows);
  if (row_stride == columns)
    info.init(shape, 1, type);
  else
    info.init(shape, 1, type, Strides(std::uint32_t(element), std::uint32_t(row_stride * element)), 0,
              ((rows - 1) * row_stride + columns) * element);
  if (is_data_type_quantized(type))
    info.set_quantization_info(QuantizationInfo(1.0f, 0));
  info.set_are_values_constant(false);
  return info;
}

} // namespace

void require(const arm_compute::Status& status, const char* operation) {
  if (!bool(status))
    throw Refusal(std::string(operation) + ": " + status.error_description());
}

Matrix::Matrix(DataType type, std::size_t rows, std::size_t columns, std::size_t row_stride) {
  tensor_.allocator()->init(matrix_info(type, rows, columns, row_stride));
}

void Matrix::bind(const void* data) {
  require(tensor_.allocator()->import_memory(const_cast<void*>(data)), "import_memory");
}

void configure(NEGEMM& gemm, Matrix& left, Matrix& right, Matrix& product, bool transpose_right) {
  GEMMInfo info(false, false, true);
  info.set_pretranspose_B(transpose_right);
  require(NEGEMM::validate(left.info(), right.info(), nullptr, product.info(), 1, 0, info), "NEGEMM");
  gemm.configure(left.tensor(), right.tensor(), nullptr, product.tensor(), 1, 0, info);
}

void configure(NEGEMMLowpMatrixMultiplyCore& gemm, Matrix& left, Matrix& right, Matrix& product) {
  const GEMMInfo info(false, false, true);
  require(NEGEMMLowpMatrixMultiplyCore::validate(left.info(), right.info(), nullptr, product.info(), info),
          "NEGEMMLowpMatrixMultiplyCore");
  gemm.configure(left.tensor(), right.tensor(), nullptr, product.tensor(), info);
}

void configure(NESoftmaxLayer& softmax, Matrix& scores, Matrix& probabilities, float beta) {
  require(NESoftmaxLayer::validate(scores.info(), probabilities.info(), beta), "NESoftmaxLayer");
  softmax.configure(scores.tensor(), probabilities.tensor(), beta);
}

void configure(NECast& cast, Matrix& from, Matrix& to) {
  require(NECast::validate(from.info(), to.info(), ConvertPolicy::SATURATE), "NECast");
  cast.configure(from.tensor(), to.tensor(), ConvertPolicy::SATURATE);
}

void configure(NETranspose& transpose, Matrix& from, Matrix& to) {
  require(NETranspose::validate(from.info(), to.info()), "NETranspose");
  transpose.configure(from.tensor(), to.tensor());
}

} // namespace intattn::compute_library
