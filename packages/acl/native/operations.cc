#include "operations.h"

#include "arrays.h"
#include "intattn/cpu_features.h"
#include "intattn/index_softmax.h"
#include "intattn/quantize.h"
#include "options.h"

namespace intattn::addon {
namespace {

constexpr std::size_t max_cols = 263172;
constexpr std::size_t max_dim = 0xffffffff;

Napi::Object object_of(Napi::Value value, const char* argument) {
  if (!value.IsObject())
    reject(value.Env(), argument, "an object");
  return value.As<Napi::Object>();
}

} // namespace

void index_softmax(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Elements scores = elements_of(info[0], "scores");
  IndexSoftmaxArguments arguments;
  arguments.cols = integer_of(info[1], "cols", 1, max_cols);
  if (scores.type != napi_int32_array || scores.length % arguments.cols != 0)
    reject(env, "scores", "an Int32Array of whole rows");
  arguments.rows = scores.length / arguments.cols;
  arguments.scores = static_cast<const std::int32_t*>(scores.data);

  const Elements logit_scale = elements_of(info[2], "logitScale");
  if (logit_scale.type != napi_float64_array || (logit_scale.length != 1 && logit_scale.length != arguments.rows))
    reject(env, "logitScale", "a Float64Array of one element, or one per row");
  arguments.logit_scale = static_cast<const double*>(logit_scale.data);
  arguments.logit_scale_per_row = logit_scale.length != 1;

  const auto data = [&](int position, const char* name, napi_typedarray_type type, std::size_t length) {
    return optional_data_of(info[std::size_t(position)], name, type, length);
  };
  arguments.valid = static_cast<const std::uint8_t*>(data(3, "valid", napi_uint8_array, scores.length));
  arguments.probabilities =
      static_cast<std::uint8_t*>(data_of(info[4], "probabilities", napi_uint8_array, scores.length));
  arguments.row_sum = static_cast<std::uint32_t*>(data(5, "rowSum", napi_uint32_array, arguments.rows));
  arguments.lost = static_cast<std::int32_t*>(data(6, "lost", napi_int32_array, arguments.rows));

  const Napi::Object options = object_of(info[7], "options");
  arguments.table = table_options(options);
  arguments.normalization = normalization_of(options);
  intattn::index_softmax(arguments, available_isa(options));
}

Napi::Value quantize(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object dims = object_of(info[1], "dims");
  const Napi::Object options = object_of(info[5], "options");
  QuantizeArguments arguments;
  arguments.batch = integer_of(dims.Get(0u), "batch", 1, max_dim);
  arguments.heads = integer_of(dims.Get(1u), "heads", 1, max_dim);
  arguments.length = integer_of(dims.Get(2u), "length", 1, max_dim);
  arguments.head_dim = integer_of(dims.Get(3u), "headDim", 1, 1024);
  arguments.scope = scope_of(options, "scope");
  const std::size_t groups = product(env, arguments.batch, arguments.heads);
  const std::size_t rows = product(env, groups, arguments.length);
  const std::size_t elements = product(env, rows, arguments.head_dim);
  const std::size_t channels = product(env, groups, arguments.head_dim);

  const Elements values = elements_of(info[0], "values");
  if (values.length != elements)
    reject(env, "values", "as many elements as its dims say");
  if (values.type == napi_float32_array)
    arguments.values = static_cast<const float*>(values.data);
  else if (values.type == napi_uint16_array)
    arguments.half_values = static_cast<const std::uint16_t*>(values.data);
  else
    reject(env, "values", "a Float32Array or the Uint16Array of float16 bits");

  const std::size_t scales[4] = {1, groups, rows, channels}; // by scope
  arguments.quantized = static_cast<std::int8_t*>(data_of(info[2], "quantized", napi_int8_array, elements));
  arguments.scale =
      static_cast<float*>(data_of(info[3], "scale", napi_float32_array, scales[static_cast<int>(arguments.scope)]));
  arguments.mean = static_cast<float*>(optional_data_of(info[4], "mean", napi_float32_array, channels));
  arguments.center = arguments.mean != nullptr;
  return Napi::Boolean::New(env, intattn::quantize(arguments, available_isa(options)));
}

Napi::Value cpu_features(const Napi::CallbackInfo& info) {
  const std::vector<std::string>& features = intattn::cpu_features();
  Napi::Array result = Napi::Array::New(info.Env(), features.size());
  for (std::size_t i = 0; i < features.size(); ++i)
    result.Set(std::uint32_t(i), features[i]);
  return result;
}

Napi::Value instruction_sets(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::size_t count = 0;
  const InstructionSetInfo* sets = intattn::instruction_sets(&count);
  Napi::Array result = Napi::Array::New(env, count);
  for (std::size_t i = 0; i < count; ++i) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", sets[i].name);
    entry.Set("requires", sets[i].features);
    entry.Set("compiled", Napi::Boolean::New(env, sets[i].compiled));
    entry.Set("available", Napi::Boolean::New(env, sets[i].available));
    result.Set(std::uint32_t(i), entry);
  }
  return result;
}

Napi::Value best_instruction_set(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), name_of(intattn::best_instruction_set()));
}

} // namespace intattn::addon
