#include "block_arguments.h"

#include <cmath>
#include <string>

#include "arrays.h"
#include "used_bytes.h"

namespace intattn::addon {
namespace {

constexpr std::size_t max_dim = 0xffffffff;

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

ElementType type_of(Napi::Env env, const Elements& elements, std::size_t code, const char* argument) {
  const auto type = static_cast<ElementType>(code);
  const napi_typedarray_type expected = type == ElementType::float32 ? napi_float32_array
                                        : type == ElementType::int8  ? napi_int8_array
                                                                     : napi_uint16_array;
  if (elements.type != expected)
    reject(env, argument, "the array of its type");
  return type;
}

Tensor tensor_of(Napi::Object object, const std::string& name, const Shape& shape) {
  const Napi::Env env = object.Env();
  const Elements elements = elements_of(object.Get(name), name.c_str());
  const std::size_t code = integer_of(object.Get(name + "Type"), name.c_str(), 0, std::size_t(ElementType::bfloat16));
  Tensor tensor = {elements, type_of(env, elements, code, name.c_str()),
                   Layout{{shape.batch, shape.heads, shape.length}, {}, shape.dim}};
  const auto* strides =
      static_cast<const double*>(data_of(object.Get(name + "Strides"), name.c_str(), napi_float64_array, 3));
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

template <class View> void place(View& view, const Tensor& tensor) {
  view.type = tensor.type;
  view.data = tensor.elements.data;
  view.batch_stride = std::ptrdiff_t(tensor.layout.strides[0]);
  view.head_stride = std::ptrdiff_t(tensor.layout.strides[1]);
  view.row_stride = std::ptrdiff_t(tensor.layout.strides[2]);
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

BlockIntermediates intermediates_of(Napi::Object object, const Shape& query, const Shape& key, const Shape& value) {
  const Napi::Env env = object.Env();
  const std::size_t rows = query.rows(env), keys = key.rows(env), pairs = product(env, rows, key.length);
  const std::size_t blocks = product(env, rows, (key.length + 63) / 64);
  const auto take = [&](auto*& to, const char* name, napi_typedarray_type type, std::size_t length) {
    to = static_cast<std::remove_reference_t<decltype(to)>>(optional_data_of(object.Get(name), name, type, length));
  };
  BlockIntermediates out;
  take(out.query, "query", napi_int16_array, query.elements(env));
  take(out.key, "key", napi_int8_array, key.elements(env));
  take(out.value, "value", napi_int8_array, value.elements(env));
  take(out.query_scale, "queryScale", napi_float32_array, rows);
  take(out.key_scale, "keyScale", napi_float32_array, keys);
  take(out.value_scale, "valueScale", napi_float32_array, keys);
  take(out.unit, "unit", napi_float32_array, rows);
  take(out.plane, "plane", napi_uint16_array, pairs);
  take(out.block_exponent, "blockExponent", napi_int16_array, blocks);
  take(out.value_exponent, "valueExponent", napi_int16_array, blocks);
  take(out.shift, "shift", napi_int16_array, blocks);
  take(out.row_sum, "rowSum", napi_biguint64_array, rows);
  return out;
}

Mean mean_of(Napi::Object object, const char* name) {
  return object.Get(name).ToBoolean().Value() ? Mean::yes : Mean::no;
}

} // namespace

std::unique_ptr<BlockCall> read_block_call(const Napi::CallbackInfo& info, const BlockAttentionOptions& options) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject())
    reject(env, "inputs", "an object");
  const auto object = info[0].As<Napi::Object>();
  auto call = std::make_unique<BlockCall>();
  BlockAttentionArguments& arguments = call->arguments;
  arguments.batch = integer_of(object.Get("batch"), "batch", 1, max_dim);
  arguments.query_length = integer_of(object.Get("queryLength"), "queryLength", 1, max_dim);
  arguments.key_length = integer_of(object.Get("keyLength"), "keyLength", 1, 262144);
  const Shape query = {arguments.batch, options.heads, arguments.query_length, options.head_dim};
  const Shape key = {arguments.batch, options.kv_heads, arguments.key_length, options.head_dim};
  const Shape value = {arguments.batch, options.kv_heads, arguments.key_length, options.value_dim};
  const Shape out = {arguments.batch, options.heads, arguments.query_length, options.value_dim};
  const Shape scores = {arguments.batch, options.heads, arguments.query_length, arguments.key_length};

  const Tensor inputs[3] = {tensor_of(object, "query", query), tensor_of(object, "key", key),
                            tensor_of(object, "value", value)};
  arguments.query = view_of(object, "queryScale", query, inputs[0]);
  arguments.key = view_of(object, "keyScale", key, inputs[1]);
  arguments.value = view_of(object, "valueScale", value, inputs[2]);

  arguments.key_lengths = static_cast<const std::uint32_t*>(
      optional_data_of(object.Get("keyLengths"), "keyLengths", napi_uint32_array, arguments.batch));
  call->masks = masks_of(object, {scores.batch, scores.heads, scores.length, scores.dim});
  arguments.query_starts = call->masks.query_starts_or_null();
  arguments.mask = call->masks.mask;
  arguments.bias = call->masks.bias;
  arguments.smooth_key = mean_of(object, "smoothKey");
  arguments.center_value = mean_of(object, "centerValue");

  const Tensor output = tensor_of(object, "output", out);
  if (output.type == ElementType::int8)
    reject(env, "output", "floats");
  place(arguments.output, output);
  for (unsigned i = 0; i < 3; ++i)
    if (call->overlap == 0 && output.used().overlaps(inputs[i].used()))
      call->overlap = i + 1;

  arguments.log_sum_exp =
      static_cast<float*>(optional_data_of(object.Get("logSumExp"), "logSumExp", napi_float32_array, out.rows(env)));
  if (const Napi::Value wanted = object.Get("intermediates"); wanted.IsObject()) {
    call->intermediates = intermediates_of(wanted.As<Napi::Object>(), query, key, value);
    arguments.intermediates = &call->intermediates;
  }
  call->times = static_cast<double*>(data_of(object.Get("times"), "times", napi_float64_array, 6));
  return call;
}

} // namespace intattn::addon
