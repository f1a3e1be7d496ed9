#pragma once

#include "driver/tiled_run.h"

namespace intattn {

/// Pipelines `integer` and `int8`: quantize and pack K and V once per head, then strips of query rows from scores to
/// output.
class QuantizedAttention {
public:
  QuantizedAttention(const AttentionOptions& options, const Kernels& kernels);

  Status run(const AttentionArguments& arguments, Executor& executor, StageClock& clock);
  std::size_t memory_bytes() const { return workspace_.bytes(); }

private:
  struct Run;

  const AttentionOptions& options_;
  const Kernels& kernels_;
  WeightTable table_;
  IndexScale index_scale_;
  Workspace workspace_;
};

} // namespace intattn
