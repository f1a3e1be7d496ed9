#pragma once

#include <napi.h>

#include <memory>

#include "computation.h"
#include "intattn/attention.h"
#include "masks.h"

namespace intattn::addon {

/// Position of the last argument of `run` and `runSync`, the stage times.
constexpr std::size_t times_position = 13;

/// A call of version 1 or of a pipeline in floats.
struct Request final : Call {
  AttentionArguments arguments;
  Intermediates intermediates; ///< as `arguments` has them, likewise below
  Masks masks;
};

/// Reads the arguments of `run` and `runSync` and checks every size.
std::unique_ptr<Request> read_request(const Napi::CallbackInfo& info, const AttentionOptions& options);

} // namespace intattn::addon
