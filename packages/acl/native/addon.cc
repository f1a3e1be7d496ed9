#include <napi.h>

#include <cstdint>

#include "attention_object.h"
#include "engines/engine.h"
#include "operations.h"

namespace {

/// Counts changes of what is exported here; `src/addons/interface.ts` expects the same.
constexpr std::uint32_t interface_version = 2;

/// Holds no state of its own: every worker thread gets its own class, and objects live in their own environment.
Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  using namespace intattn::addon;
  intattn::initialize_engine();
  exports.Set("interfaceVersion", interface_version);
  exports.Set("Attention", AttentionObject::constructor(env));
  exports.Set("indexSoftmax", Napi::Function::New<index_softmax>(env, "indexSoftmax"));
  exports.Set("quantize", Napi::Function::New<quantize>(env, "quantize"));
  exports.Set("cpuFeatures", Napi::Function::New<cpu_features>(env, "cpuFeatures"));
  exports.Set("instructionSets", Napi::Function::New<instruction_sets>(env, "instructionSets"));
  exports.Set("bestInstructionSet", Napi::Function::New<best_instruction_set>(env, "bestInstructionSet"));
  return exports;
}

} // namespace

NODE_API_MODULE(intattn, initialize)
