#pragma once

#include "engines/compute_library/operators.h"

namespace intattn::compute_library {

/// P V over some of the keys: those columns of P and rows of V.
template <class Gemm> struct ValueBlock {
  /// @param all_keys columns of the P that the block is cut from
  ValueBlock(arm_compute::DataType probability, arm_compute::DataType value_type, arm_compute::DataType sum,
             std::size_t rows, std::size_t block_keys, std::size_t all_keys, std::size_t dim)
      : keys(block_keys), probabilities(probability, rows, block_keys, all_keys), value(value_type, block_keys, dim),
        product(sum, rows, dim) {
    configure(gemm, probabilities, value, product);
  }

  void run(const void* probabilities_at, const void* value_at, void* product_at) {
    probabilities.bind(probabilities_at);
    value.bind(value_at);
    product.bind(product_at);
    gemm.run();
  }

  const std::size_t keys;
  Matrix probabilities, value, product;
  Gemm gemm;
};

} // namespace intattn::compute_library
