#pragma once

#include <napi.h>

#include <memory>

#include "engines/engine.h"

namespace intattn::addon {

/// One call of `run` or `runSync`, read and checked. Its pointers lead into JavaScript's arrays; it does not move.
struct Call {
  virtual ~Call() = default;

  double* times = nullptr; ///< [6]
  /// 0, or 1, 2, 3: the input (query, key, value) whose memory the output shares.
  unsigned overlap = 0;
};

/// What an `Attention` of JavaScript computes: one at a time.
class Computation {
public:
  virtual ~Computation() = default;

  /// Checks every size; throws.
  virtual std::unique_ptr<Call> read(const Napi::CallbackInfo& info) const = 0;
  /// @param call one that this object has read
  virtual Outcome run(const Call& call, StageTimes* times) noexcept = 0;
  /// Bytes of working memory held at present, inputs and outputs apart.
  virtual std::size_t memory_bytes() const = 0;
};

/// By the options' `version` of the numerics. Throws std::bad_alloc when memory is short.
std::unique_ptr<Computation> make_computation(Napi::Object options);

} // namespace intattn::addon
