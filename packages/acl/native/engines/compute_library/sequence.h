#pragma once

#include <cstddef>
#include <memory>

#include "engines/compute_library/threads.h"
#include "intattn/attention.h"
#include "kernels.h"
#include "stage_clock.h"

namespace intattn::compute_library {

/// A pipeline as a sequence of operators, with the operators and the working memory that it keeps from run to run.
class Sequence {
public:
  virtual ~Sequence() = default;
  /// Throws what the library throws.
  virtual Status run(const AttentionArguments& arguments, Threads& threads, StageClock& clock) = 0;
  virtual std::size_t memory_bytes() const = 0;
};

/// Pipelines `fp32` and `fp16`: GEMM, softmax, GEMM; `fp16` casts its scores to float32 for the softmax and the
/// probabilities back. The softmax scale is the softmax operator's beta, so scores are stored unscaled.
/// @param options,kernels must outlive the sequence
std::unique_ptr<Sequence> make_float_sequence(const AttentionOptions& options, const Kernels& kernels);

/// Pipelines `int8` and `int`: quantize, transpose K, int8 GEMM to int32 scores, then either dequantize, float32
/// softmax and P = rne(127 p), or IndexSoftmax to uint8; GEMM with V, and one scale per output element.
/// @param options,kernels must outlive the sequence
std::unique_ptr<Sequence> make_quantized_sequence(const AttentionOptions& options, const Kernels& kernels);

} // namespace intattn::compute_library
