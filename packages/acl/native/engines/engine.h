#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "intattn/attention.h"

namespace intattn {

/// How a run ended.
struct Outcome {
  Status status = Status::ok;
  /// What the engine's library said when it refused or failed; `status` means nothing then. Empty otherwise.
  std::string failure;
};

/// Who computes attention: any number of runs with the same options, one at a time per object.
class Engine {
public:
  virtual ~Engine() = default;
  /// @param times may be null
  virtual Outcome run(const AttentionArguments& arguments, StageTimes* times) noexcept = 0;
  /// Bytes of working memory held at present, inputs and outputs apart.
  virtual std::size_t memory_bytes() const = 0;
};

/// The engine this binary holds. Options must be valid (the caller checks); throws std::bad_alloc when
/// memory is short.
std::unique_ptr<Engine> make_engine(const AttentionOptions& options);

} // namespace intattn
