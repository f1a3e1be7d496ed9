#include "block_arguments.h"

#include <algorithm>

#include "arrays.h"
#include "cache_object.h"
#include "tensors.h"

namespace intattn::addon {
namespace {

constexpr std::size_t max_dim = 0xffffffff;

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

/// What calls over caches and over whole keys and values end with.
template <class Arguments>
void read_results(Napi::Object object, const Shape& out, const Tensor& output, Arguments& arguments, BlockCall& call) {
  if (output.type == ElementType::int8)
    reject(object.Env(), "output", "floats");
  place(arguments.output, output);
  arguments.log_sum_exp = static_cast<float*>(
      optional_data_of(object.Get("logSumExp"), "logSumExp", napi_float32_array, out.rows(object.Env())));
  call.times = static_cast<double*>(data_of(object.Get("times"), "times", napi_float64_array, 6));
}

std::unique_ptr<BlockCall> read_cached_call(Napi::Object object, Napi::Array list,
                                            const BlockAttentionOptions& options) {
  const Napi::Env env = object.Env();
  auto call = std::make_unique<BlockCall>();
  CachedAttentionArguments& arguments = call->cached;
  arguments.batch = integer_of(object.Get("batch"), "batch", 1, max_dim);
  arguments.query_length = integer_of(object.Get("queryLength"), "queryLength", 1, max_dim);
  if (list.Length() != arguments.batch)
    reject(env, "caches", "one per batch item");
  std::size_t longest = 0;
  for (std::uint32_t b = 0; b < list.Length(); ++b) {
    call->held.push_back(CacheObject::cache_of(list.Get(b)));
    call->caches.push_back(call->held.back().get());
    longest = std::max(longest, call->caches.back()->length());
  }
  arguments.caches = call->caches.data();
  const Shape query = {arguments.batch, options.heads, arguments.query_length, options.head_dim};
  const Shape out = {arguments.batch, options.heads, arguments.query_length, options.value_dim};
  const Tensor input = tensor_of(object, "query", query), output = tensor_of(object, "output", out);
  arguments.query = view_of(object, "queryScale", query, input);
  call->masks = masks_of(object, {arguments.batch, options.heads, arguments.query_length, longest});
  arguments.query_starts = call->masks.query_starts_or_null();
  arguments.mask = call->masks.mask;
  arguments.bias = call->masks.bias;
  if (output.used().overlaps(input.used()))
    call->overlap = 1;
  read_results(object, out, output, arguments, *call);
  if (const Napi::Value wanted = object.Get("intermediates"); wanted.IsObject()) {
    const Shape key = {arguments.batch, options.kv_heads, longest, options.head_dim};
    const Shape value = {arguments.batch, options.kv_heads, longest, options.value_dim};
    call->intermediates = intermediates_of(wanted.As<Napi::Object>(), query, key, value);
    arguments.intermediates = &call->intermediates;
  }
  return call;
}

} // namespace

std::unique_ptr<BlockCall> read_block_call(const Napi::CallbackInfo& info, const BlockAttentionOptions& options) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject())
    reject(env, "inputs", "an object");
  const auto object = info[0].As<Napi::Object>();
  if (const Napi::Value caches = object.Get("caches"); caches.IsArray())
    return read_cached_call(object, caches.As<Napi::Array>(), options);
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
  read_results(object, out, output, arguments, *call);
  for (unsigned i = 0; i < 3; ++i)
    if (call->overlap == 0 && output.used().overlaps(inputs[i].used()))
      call->overlap = i + 1;

  if (const Napi::Value wanted = object.Get("intermediates"); wanted.IsObject()) {
    call->intermediates = intermediates_of(wanted.As<Napi::Object>(), query, key, value);
    arguments.intermediates = &call->intermediates;
  }
  return call;
}

} // namespace intattn::addon
