#pragma once

#include <napi.h>

#include <cstddef>
#include <string>

#include "arrays.h"
#include "intattn/tensor_view.h"
#include "used_bytes.h"

/// Tensors of JavaScript: typed arrays with their type and strides.
namespace intattn::addon {

/// [batch, heads, length, dim]
struct Shape {
  std::size_t batch, heads, length, dim;

  std::size_t rows(Napi::Env env) const { return product(env, product(env, batch, heads), length); }
  std::size_t elements(Napi::Env env) const { return product(env, rows(env), dim); }
};

/// An argument that is a tensor: its data, its type and its strides, which do not leave the data.
struct Tensor {
  Elements elements;
  ElementType type;
  Layout layout;

  UsedBytes used() const { return {elements.data, intattn::bytes_of(type), layout}; }
};

/// Reads `name`, `nameType` and `nameStrides`, dense where that is undefined; throws where they lead out of the data.
Tensor tensor_of(Napi::Object object, const std::string& name, const Shape& shape);

template <class View> void place(View& view, const Tensor& tensor) {
  view.type = tensor.type;
  view.data = tensor.elements.data;
  view.batch_stride = std::ptrdiff_t(tensor.layout.strides[0]);
  view.head_stride = std::ptrdiff_t(tensor.layout.strides[1]);
  view.row_stride = std::ptrdiff_t(tensor.layout.strides[2]);
}

/// With the scales of int8, one for each row.
TensorView view_of(Napi::Object object, const char* scale_name, const Shape& shape, const Tensor& tensor);

} // namespace intattn::addon
