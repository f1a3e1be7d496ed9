#pragma once

#include <cstddef>

#include "driver/aligned_buffer.h"
#include "engines/compute_library/plans.h"
#include "engines/compute_library/threads.h"
#include "intattn/attention.h"
#include "intattn/stage_clock.h"
#include "kernels.h"
#include "numerics/weight_table.h"

namespace intattn::compute_library {

/// Pipelines `int8` and `int`: quantize, transpose K, int8 GEMM to int32 scores, then either dequantize, float32
/// softmax and P = rne(127 p), or IndexSoftmax to uint8; GEMM with V, and one scale per output element.
class QuantizedSequence {
public:
  QuantizedSequence(const AttentionOptions& options, const Kernels& kernels);
  ~QuantizedSequence();

  /// Throws what the library throws.
  Status run(const AttentionArguments& arguments, Threads& threads, StageClock& clock);
  std::size_t memory_bytes() const;

private:
  struct Plan;
  struct Run;

  const AttentionOptions& options_;
  const Kernels& kernels_;
  const WeightTable table_;
  Plans<Plan> plans_;
  AlignedBuffer memory_;
};

} // namespace intattn::compute_library
