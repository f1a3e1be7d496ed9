#pragma once

#include <cstddef>
#include <cstdint>

#include "intattn/element_type.h"

namespace intattn {

/// A [batch, heads, length, dim] tensor in memory of the caller. Strides count elements; the last dimension is
/// contiguous. [B, L, H, D] and packed QKV are other strides, a broadcast is a stride of 0.
struct TensorView {
  ElementType type = ElementType::float32;
  const void* data = nullptr; ///< aligned to its elements
  std::ptrdiff_t batch_stride = 0, head_stride = 0, row_stride = 0;
  /// int8 only: what a unit of the integers is worth, one per row; 0, or 2^-74 up to but without 2^35.
  const float* scale = nullptr;
  std::ptrdiff_t scale_batch_stride = 0, scale_head_stride = 0, scale_row_stride = 0;
};

/// Where a [batch, heads, length, dim] result goes: float32, float16 or bfloat16.
struct OutputView {
  ElementType type = ElementType::float32;
  void* data = nullptr;
  std::ptrdiff_t batch_stride = 0, head_stride = 0, row_stride = 0;
};

/// Something for every (query, key): [batch, heads, query_length, key_length]; a stride of 0 broadcasts. Columns are
/// contiguous.
template <class T> struct PairView {
  const T* data = nullptr; ///< null: there is none
  std::ptrdiff_t batch_stride = 0, head_stride = 0, row_stride = 0;

  const T* row(std::size_t batch, std::size_t head, std::size_t query) const {
    return data + std::ptrdiff_t(batch) * batch_stride + std::ptrdiff_t(head) * head_stride +
           std::ptrdiff_t(query) * row_stride;
  }
};

} // namespace intattn
