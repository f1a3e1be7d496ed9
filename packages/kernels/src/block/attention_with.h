#pragma once

#include <memory>

#include "block/block_kernels.h"
#include "intattn/block_attention.h"

namespace intattn {

struct BlockAttentionWith {
  /// As `BlockAttention::create`, on kernels of the caller's choice: for tests of what this CPU cannot run.
  static StatusMessage create(const BlockAttentionOptions& options, const BlockKernels& kernels,
                              std::unique_ptr<BlockAttention>* attention) noexcept;
};

} // namespace intattn
