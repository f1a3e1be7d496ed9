#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "computation.h"
#include "intattn/block_attention.h"

namespace intattn::addon {

/// A call of version 2.
struct BlockCall final : Call {
  BlockAttentionArguments arguments;
  std::vector<std::int64_t> query_starts; ///< as `arguments.query_starts` says, likewise below
  BlockIntermediates intermediates;
};

/// Reads the one argument of `run` and `runSync`, an object, and checks every size.
std::unique_ptr<BlockCall> read_block_call(const Napi::CallbackInfo& info, const BlockAttentionOptions& options);

} // namespace intattn::addon
