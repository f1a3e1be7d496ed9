#include "tensors.h"

#include <cmath>

namespace intattn::addon {
namespace {

ElementType type_of(Napi::Env env, const Elements& elements, std::size_t code, const char* argument) {
  const auto type = static_cast<ElementType>(code);
  const napi_typedarray_type expected = type == ElementType::float32 ? napi_float32_array
                                        : type == ElementType::int8  ? napi_int8_array
                                                                     : napi_uint16_array;
  if (elements.type != expected)
    reject(env, argument, "the array of its type");
  return type;
}

} // namespace

Tensor tensor_of(Napi::Object object, const std::string& name, const Shape& shape) {
  const Napi::Env env = object.Env();
  const Elements elements = elements_of(object.Get(name), name.c_str());
  const std::size_t code = integer_of(object.Get(name + "Type"), name.c_str(), 0, std::size_t(ElementType::bfloat16));
  Tensor tensor = {elements, type_of(env, elements, code, name.c_str()),
                   Layout{{shape.batch, shape.heads, shape.length}, {}, shape.dim}};
  const auto* given =
      static_cast<const double*>(optional_data_of(object.Get(name + "Strides"), name.c_str(), napi_float64_array, 3));
  const double dense[3] = {double(shape.heads) * double(shape.length) * double(shape.dim),
                           double(shape.length) * double(shape.dim), double(shape.dim)};
  const double* strides = given ? given : dense;
  // Inexact only where it is far beyond any array.
  double span = double(shape.dim);
  for (int i = 0; i < 3; ++i) {
    const std::size_t count = tensor.layout.counts[i];
    // Where there is one alone, its stride leads nowhere.
    const double stride = count > 1 ? strides[i] : 0;
    if (!(stride >= 0 && stride <= double(elements.length)) || stride != std::floor(stride))
      reject(env, name.c_str(), "strides within its data");
    tensor.layout.strides[i] = std::size_t(stride);
    span += double(count - 1) * stride;
  }
  if (!(span <= double(elements.length)))
    reject(env, name.c_str(), "as many elements as its dims and strides say");
  return tensor;
}

TensorView view_of(Napi::Object object, const char* scale_name, const Shape& shape, const Tensor& tensor) {
  TensorView view;
  place(view, tensor);
  if (view.type != ElementType::int8)
    return view;
  view.scale = static_cast<const float*>(
      data_of(object.Get(scale_name), scale_name, napi_float32_array, shape.rows(object.Env())));
  view.scale_row_stride = 1;
  view.scale_head_stride = std::ptrdiff_t(shape.length);
  view.scale_batch_stride = std::ptrdiff_t(shape.heads * shape.length);
  return view;
}

} // namespace intattn::addon
