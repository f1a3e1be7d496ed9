#pragma once

#include <napi.h>

#include <memory>

#include "computation.h"
#include "intattn/block_attention.h"
#include "masks.h"

namespace intattn::addon {

/// A call of version 2.
struct BlockCall final : Call {
  BlockAttentionArguments arguments;
  Masks masks; ///< as `arguments` has them, likewise below
  BlockIntermediates intermediates;
};

/// Reads the one argument of `run` and `runSync`, an object, and checks every size.
std::unique_ptr<BlockCall> read_block_call(const Napi::CallbackInfo& info, const BlockAttentionOptions& options);

} // namespace intattn::addon
