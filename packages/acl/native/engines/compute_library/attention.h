#pragma once

#include <memory>

#include "engines/engine.h"

namespace intattn::compute_library {

/// The four pipelines as sequences of ComputeLibrary's operators, one (batch, kvHead) after the other: the scores of
/// its query heads are a matrix in memory, queryLength * heads / kvHeads rows by keyLength columns.
///
/// K and V are packed anew at every run. The operators work on inputs and outputs in place where the types allow. The
/// library has one pool of threads per process: objects may run at the same time, but they take turns.
class Attention final : public Engine {
public:
  /// Options must be valid; `options.isa` names the kernels that quantize and scale. The library must have been
  /// built for features that this CPU has.
  explicit Attention(const AttentionOptions& options);
  ~Attention() override;

  Outcome run(const AttentionArguments& arguments, StageTimes* times) noexcept override;
  std::size_t memory_bytes() const override;

private:
  class State;
  std::unique_ptr<State> state_;
};

} // namespace intattn::compute_library
