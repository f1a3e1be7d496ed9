#include "attention_arguments.h"

#include "arrays.h"

namespace intattn::addon {
namespace {

constexpr std::size_t max_dim = 0xffffffff;

struct Shape {
  std::size_t batch, heads, length, head_dim, elements;

  std::size_t scales(Scope scope) const {
    switch (scope) {
    case Scope::tensor:
      return 1;
    case Scope::head:
      return batch * heads;
    case Scope::row:
      return batch * heads * length;
    case Scope::channel:
      return batch * heads * head_dim;
    }
    return 0;
  }
};

Shape shape_of(Napi::Env env, std::size_t batch, std::size_t heads, std::size_t length, std::size_t head_dim) {
  return {batch, heads, length, head_dim, product(env, product(env, product(env, batch, heads), length), head_dim)};
}

struct Bytes {
  const char* begin;
  const char* end;
};

Bytes bytes_of(const Elements& elements) {
  const char* begin = static_cast<const char*>(elements.data);
  return {begin, begin + elements.bytes()};
}

bool overlap(Bytes a, Bytes b) { return a.begin < b.end && b.begin < a.end; }

bool is_float(napi_typedarray_type type) { return type == napi_float32_array || type == napi_uint16_array; }

Input input_of(Napi::Value data, Napi::Value scale, const char* argument, const Shape& shape, Scope scope,
               bool takes_int8, Bytes* bytes) {
  const Napi::Env env = data.Env();
  const Elements elements = elements_of(data, argument);
  if (elements.length != shape.elements)
    reject(env, argument, "as many elements as its dims say");
  *bytes = bytes_of(elements);
  Input input;
  input.data = elements.data;
  if (is_float(elements.type)) {
    input.type = elements.type == napi_float32_array ? ElementType::float32 : ElementType::float16;
    return input;
  }
  if (elements.type != napi_int8_array || !takes_int8)
    reject(env, argument, "a type that the pipeline takes");
  input.type = ElementType::int8;
  input.scale = static_cast<const float*>(data_of(scale, argument, napi_float32_array, shape.scales(scope)));
  return input;
}

Intermediates intermediates_of(Napi::Object object, const AttentionOptions& options, const Shape& query,
                               const Shape& key, const Shape& value) {
  const auto data = [&](const char* name, napi_typedarray_type type, std::size_t length) {
    return optional_data_of(object.Get(name), name, type, length);
  };
  const std::size_t rows = query.batch * query.heads * query.length;
  const std::size_t scores = product(object.Env(), rows, key.length);
  Intermediates out;
  out.query = static_cast<std::int8_t*>(data("queryInt8", napi_int8_array, query.elements));
  out.key = static_cast<std::int8_t*>(data("keyInt8", napi_int8_array, key.elements));
  out.value = static_cast<std::int8_t*>(data("valueInt8", napi_int8_array, value.elements));
  out.query_scale = static_cast<float*>(data("queryScale", napi_float32_array, query.scales(options.query_scope)));
  out.key_scale = static_cast<float*>(data("keyScale", napi_float32_array, key.scales(options.key_scope)));
  out.value_scale = static_cast<float*>(data("valueScale", napi_float32_array, value.scales(options.value_scope)));
  out.value_center =
      static_cast<float*>(data("valueCenter", napi_float32_array, value.batch * value.heads * value.head_dim));
  out.scores = static_cast<std::int32_t*>(data("scores", napi_int32_array, scores));
  out.probabilities = static_cast<std::uint8_t*>(data("probabilities", napi_uint8_array, scores));
  out.row_sum = static_cast<std::uint32_t*>(data("rowSum", napi_uint32_array, rows));
  out.lost = static_cast<std::int32_t*>(data("lost", napi_int32_array, rows));
  return out;
}

} // namespace

std::unique_ptr<Request> read_request(const Napi::CallbackInfo& info, const AttentionOptions& options) {
  const Napi::Env env = info.Env();
  auto call = std::make_unique<Request>();
  Request& request = *call;
  AttentionArguments& arguments = request.arguments;
  arguments.batch = integer_of(info[0], "batch", 1, max_dim);
  arguments.query_length = integer_of(info[1], "queryLength", 1, max_dim);
  arguments.key_length = integer_of(info[2], "keyLength", 1, max_key_length(options.pipeline));
  const Shape query = shape_of(env, arguments.batch, options.heads, arguments.query_length, options.head_dim);
  const Shape key = shape_of(env, arguments.batch, options.kv_heads, arguments.key_length, options.head_dim);
  const Shape value = shape_of(env, arguments.batch, options.kv_heads, arguments.key_length, options.value_dim);
  const Shape out = shape_of(env, arguments.batch, options.heads, arguments.query_length, options.value_dim);

  const bool quantized = options.pipeline == Pipeline::int8 || options.pipeline == Pipeline::integer;
  Bytes inputs[3];
  arguments.query = input_of(info[3], info[4], "query", query, options.query_scope, quantized, &inputs[0]);
  arguments.key = input_of(info[5], info[6], "key", key, options.key_scope, quantized, &inputs[1]);
  arguments.value = input_of(info[7], info[8], "value", value, options.value_scope, quantized, &inputs[2]);

  arguments.key_lengths =
      static_cast<const std::uint32_t*>(optional_data_of(info[9], "keyLengths", napi_uint32_array, arguments.batch));
  for (std::size_t i = 0; arguments.key_lengths && i < arguments.batch; ++i)
    if (arguments.key_lengths[i] > arguments.key_length)
      reject(env, "keyLengths", "lengths within the key tensor");

  const Elements output = elements_of(info[10], "output");
  if (!is_float(output.type) || output.length != out.elements)
    reject(env, "output", "floats, as many as its dims say");
  arguments.output_type = output.type == napi_float32_array ? ElementType::float32 : ElementType::float16;
  arguments.output = output.data;
  for (unsigned i = 0; i < 3; ++i)
    if (request.overlap == 0 && overlap(bytes_of(output), inputs[i]))
      request.overlap = i + 1;

  if (!info[11].IsUndefined()) {
    if (!info[11].IsObject() || !quantized)
      reject(env, "intermediates", "an object, with a quantized pipeline");
    request.intermediates = intermediates_of(info[11].As<Napi::Object>(), options, query, key, value);
    arguments.intermediates = &request.intermediates;
  }
  if (!info[12].IsObject())
    reject(env, "masks", "an object");
  request.masks = masks_of(info[12].As<Napi::Object>(),
                           {arguments.batch, options.heads, arguments.query_length, arguments.key_length});
  if (quantized && (request.masks.mask.data || request.masks.bias.data))
    reject(env, "masks", "no mask and no bias with a quantized pipeline");
  arguments.query_starts = request.masks.query_starts_or_null();
  arguments.mask = request.masks.mask;
  arguments.bias = request.masks.bias;
  request.times = static_cast<double*>(data_of(info[times_position], "times", napi_float64_array, 6));
  return call;
}

} // namespace intattn::addon
