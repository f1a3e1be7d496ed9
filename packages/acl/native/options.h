#pragma once

#include <napi.h>

#include "intattn/attention.h"
#include "intattn/block_attention.h"
#include "intattn/kv_cache.h"

/// Options as TypeScript resolves them: enumerations are numbers, everything is present.
namespace intattn::addon {

AttentionOptions attention_options(Napi::Object object);
/// Of version 2 of the numerics; arrays are those of JavaScript.
BlockAttentionOptions block_options(Napi::Object object);
/// Of a quantized cache; likewise.
KvCacheOptions cache_options(Napi::Object object);
unsigned threads_of(Napi::Object object);
TableOptions table_options(Napi::Object object);
Normalization normalization_of(Napi::Object object);
Scope scope_of(Napi::Object object, const char* name);

/// The instruction set named by `isa`; throws unless it can run here.
InstructionSet available_isa(Napi::Object object);

} // namespace intattn::addon
