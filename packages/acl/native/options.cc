#include "options.h"

#include <cmath>
#include <string>

#include "arrays.h"

namespace intattn::addon {
namespace {

double positive_of(Napi::Object object, const char* name) {
  const Napi::Value value = object.Get(name);
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0;
  if (!(number > 0 && std::isfinite(number)))
    reject(object.Env(), name, "a positive number");
  return number;
}

bool boolean_of(Napi::Object object, const char* name) { return object.Get(name).ToBoolean().Value(); }

const float* floats_of(Napi::Object object, const char* name, std::size_t count) {
  return static_cast<const float*>(optional_data_of(object.Get(name), name, napi_float32_array, count));
}

} // namespace

TableOptions table_options(Napi::Object object) {
  TableOptions options;
  options.table = static_cast<Table>(integer_of(object.Get("table"), "table", 0, 1));
  options.clip = positive_of(object, "clip");
  options.lut_bits = int(integer_of(object.Get("lutBits"), "lutBits", 4, 6));
  return options;
}

Normalization normalization_of(Napi::Object object) {
  return static_cast<Normalization>(integer_of(object.Get("normalization"), "normalization", 0, 1));
}

Scope scope_of(Napi::Object object, const char* name) {
  return static_cast<Scope>(integer_of(object.Get(name), name, 0, 3));
}

InstructionSet available_isa(Napi::Object object) {
  const std::string name = object.Get("isa").ToString().Utf8Value();
  std::size_t count = 0;
  const InstructionSetInfo* sets = instruction_sets(&count);
  for (std::size_t i = 0; i < count; ++i)
    if (sets[i].available && name == sets[i].name)
      return sets[i].id;
  reject(object.Env(), "isa", "an instruction set that can run here");
}

unsigned threads_of(Napi::Object object) { return unsigned(integer_of(object.Get("threads"), "threads", 1, 256)); }

AttentionOptions attention_options(Napi::Object object) {
  AttentionOptions options;
  options.pipeline = static_cast<Pipeline>(integer_of(object.Get("pipeline"), "pipeline", 0, 3));
  options.heads = std::uint32_t(integer_of(object.Get("heads"), "heads", 1, 65536));
  options.kv_heads = std::uint32_t(integer_of(object.Get("kvHeads"), "kvHeads", 1, options.heads));
  if (options.heads % options.kv_heads != 0)
    reject(object.Env(), "kvHeads", "a divisor of heads");
  options.head_dim = std::uint32_t(integer_of(object.Get("headDim"), "headDim", 1, 1024));
  options.value_dim = std::uint32_t(integer_of(object.Get("valueDim"), "valueDim", 1, 1024));
  options.causal = boolean_of(object, "causal");
  options.window = integer_of(object.Get("window"), "window", 0, std::size_t{1} << 53);
  options.keep_first = integer_of(object.Get("keepFirst"), "keepFirst", 0, std::size_t{1} << 53);
  options.slopes = floats_of(object, "alibiSlopes", options.heads);
  options.sinks = floats_of(object, "sinks", options.heads);
  const bool floating = options.pipeline == Pipeline::fp32 || options.pipeline == Pipeline::fp16;
  if (!floating && (options.window || options.slopes || options.sinks))
    reject(object.Env(), "pipeline", "floats with such a mask");
  options.softmax_scale = positive_of(object, "softmaxScale");
  options.table = table_options(object);
  options.normalization = normalization_of(object);
  options.query_scope = scope_of(object, "queryScope");
  options.key_scope = scope_of(object, "keyScope");
  options.value_scope = scope_of(object, "valueScope");
  if (options.query_scope == Scope::channel || options.key_scope > Scope::head || options.value_scope == Scope::row)
    reject(object.Env(), "quantization", "scopes that the tensors can have");
  options.smooth_key = boolean_of(object, "smoothKey");
  options.center_value = boolean_of(object, "centerValue");
  options.threads = threads_of(object);
  options.isa = available_isa(object);
  return options;
}

BlockAttentionOptions block_options(Napi::Object object) {
  const auto number = [&](const char* name, std::size_t min, std::size_t max) {
    return integer_of(object.Get(name), name, min, max);
  };
  BlockAttentionOptions options;
  options.heads = std::uint32_t(number("heads", 1, 65536));
  options.kv_heads = std::uint32_t(number("kvHeads", 1, options.heads));
  options.head_dim = std::uint32_t(number("headDim", 1, 1024));
  options.value_dim = std::uint32_t(number("valueDim", 1, 1024));
  options.softmax_scale = positive_of(object, "softmaxScale");
  options.causal = boolean_of(object, "causal");
  options.window = number("window", 0, std::size_t{1} << 53);
  options.keep_first = number("keepFirst", 0, std::size_t{1} << 53);
  options.rotate = boolean_of(object, "rotate");
  options.query_bits = unsigned(number("queryBits", 8, 15));
  options.key_bits = unsigned(number("keyBits", 4, 8));
  options.value_bits = unsigned(number("valueBits", 4, 8));
  options.plane_bits = unsigned(number("planeBits", 7, 14));
  options.key_offset = floats_of(object, "keyOffset", std::size_t{options.kv_heads} * options.head_dim);
  options.value_offset = floats_of(object, "valueOffset", std::size_t{options.kv_heads} * options.value_dim);
  options.slopes = floats_of(object, "alibiSlopes", options.heads);
  options.sinks = floats_of(object, "sinks", options.heads);
  options.isa = available_isa(object);
  return options;
}

KvCacheOptions cache_options(Napi::Object object) {
  const auto number = [&](const char* name, std::size_t min, std::size_t max) {
    return integer_of(object.Get(name), name, min, max);
  };
  KvCacheOptions options;
  options.kv_heads = std::uint32_t(number("kvHeads", 1, 65536));
  options.head_dim = std::uint32_t(number("headDim", 1, 1024));
  options.value_dim = std::uint32_t(number("valueDim", 1, 1024));
  options.rotate = boolean_of(object, "rotate");
  options.key_bits = unsigned(number("keyBits", 4, 8));
  options.value_bits = unsigned(number("valueBits", 4, 8));
  const auto floats = [&](const char* name, std::size_t count) {
    return static_cast<const float*>(optional_data_of(object.Get(name), name, napi_float32_array, count));
  };
  options.key_offset = floats("keyOffset", std::size_t{options.kv_heads} * options.head_dim);
  options.value_offset = floats("valueOffset", std::size_t{options.kv_heads} * options.value_dim);
  options.isa = available_isa(object);
  return options;
}

} // namespace intattn::addon
