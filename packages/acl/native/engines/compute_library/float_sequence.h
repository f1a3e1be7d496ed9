#pragma once

#include <cstddef>

#include "driver/aligned_buffer.h"
#include "engines/compute_library/plans.h"
#include "engines/compute_library/threads.h"
#include "intattn/attention.h"
#include "intattn/stage_clock.h"
#include "kernels.h"

namespace intattn::compute_library {

/// Pipelines `fp32` and `fp16`: GEMM, softmax, GEMM; `fp16` casts its scores to float32 for the softmax and the
/// probabilities back. The softmax scale is the softmax operator's beta, so scores are stored unscaled.
class FloatSequence {
public:
  FloatSequence(const AttentionOptions& options, const Kernels& kernels);
  ~FloatSequence();

  /// Throws what the library throws.
  Status run(const AttentionArguments& arguments, Threads& threads, StageClock& clock);
  std::size_t memory_bytes() const;

private:
  struct Plan;
  struct Run;

  const AttentionOptions& options_;
  const Kernels& kernels_;
  Plans<Plan> plans_;
  AlignedBuffer memory_;
};

} // namespace intattn::compute_library
