#pragma once

#include "driver/tiled_run.h"

namespace intattn {

/// Pipelines `fp32` and `fp16`: the same strips in floating point.
class FloatAttention {
public:
  FloatAttention(const AttentionOptions& options, const Kernels& kernels)
      : options_(options), kernels_(kernels),
        storage_(options.pipeline == Pipeline::fp16 ? kernels.float16 : kernels.float32) {}

  Status run(const AttentionArguments& arguments, Executor& executor, StageClock& clock);
  std::size_t memory_bytes() const { return workspace_.bytes(); }

private:
  struct Run;

  const AttentionOptions& options_;
  const Kernels& kernels_;
  const FloatKernels& storage_;
  Workspace workspace_;
};

} // namespace intattn
