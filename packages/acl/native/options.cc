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

AttentionOptions attention_options(Napi::Object object) {
  AttentionOptions options;
  options.pipeline = static_cast<Pipeline>(integer_of(object.Get("pipeline"), "pipeline", 0, 3));
  options.heads = std::uint32_t(integer_of(object.Get("heads"), "heads", 1, 65536));
  options.kv_heads = std::uint32_t(integer_of(object.Get("kvHeads"), "kvHeads", 1, options.heads));
  if (options.heads % options.kv_heads != 0)
    reject(object.Env(), "kvHeads", "a divisor of heads");
  options.head_dim = std::uint32_t(integer_of(object.Get("headDim"), "headDim", 1, 1024));
  options.causal = boolean_of(object, "causal");
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
  options.threads = unsigned(integer_of(object.Get("threads"), "threads", 1, 256));
  options.isa = available_isa(object);
  return options;
}

} // namespace intattn::addon
