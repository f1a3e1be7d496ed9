#include <napi.h>

#include "attention_object.h"
#include "operations.h"

namespace {

/// Holds no state of its own: every worker thread gets its own class, and objects live in their own environment.
Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  using namespace intattn::addon;
  exports.Set("Attention", AttentionObject::constructor(env));
  exports.Set("indexSoftmax", Napi::Function::New<index_softmax>(env, "indexSoftmax"));
  exports.Set("quantize", Napi::Function::New<quantize>(env, "quantize"));
  exports.Set("instructionSets", Napi::Function::New<instruction_sets>(env, "instructionSets"));
  exports.Set("bestInstructionSet", Napi::Function::New<best_instruction_set>(env, "bestInstructionSet"));
  return exports;
}

} // namespace

NODE_API_MODULE(intattn, initialize)
