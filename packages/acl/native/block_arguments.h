#pragma once

#include <napi.h>

#include <memory>

#include "computation.h"
#include "intattn/block_attention.h"
#include "masks.h"

namespace intattn::addon {

/// A call of version 2: over whole keys and values, or over caches where there are some.
struct BlockCall final : Call {
  BlockAttentionArguments arguments;
  CachedAttentionArguments cached;
  std::vector<std::shared_ptr<const KvCache>> held; ///< whatever becomes of their handles
  std::vector<const KvCache*> caches;               ///< as `cached` has them, likewise below
  Masks masks;
  BlockIntermediates intermediates;
};

/// Reads the one argument of `run` and `runSync`, an object, and checks every size.
std::unique_ptr<BlockCall> read_block_call(const Napi::CallbackInfo& info, const BlockAttentionOptions& options);

} // namespace intattn::addon
