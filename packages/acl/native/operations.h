#pragma once

#include <napi.h>

namespace intattn::addon {

/// JavaScript's functions, on the calling thread; `src/addons/interface.ts` has their
/// signatures.
void index_softmax(const Napi::CallbackInfo& info);
Napi::Value quantize(const Napi::CallbackInfo& info);
Napi::Value cpu_features(const Napi::CallbackInfo& info);
Napi::Value instruction_sets(const Napi::CallbackInfo& info);
Napi::Value best_instruction_set(const Napi::CallbackInfo& info);

} // namespace intattn::addon
