#pragma once

#include <napi.h>

#include "intattn/attention.h"

namespace intattn::addon {

/// Position of the last argument of `run` and `runSync`, the stage times.
constexpr std::size_t times_position = 12;

/// What a run is to do. The pointers lead into the JavaScript arrays of the call.
struct Request {
  AttentionArguments arguments;
  Intermediates intermediates; ///< as `arguments.intermediates` says
  double* times = nullptr;     ///< [6]
  /// 0, or 1, 2, 3: the input (query, key, value) whose memory the output shares.
  unsigned overlap = 0;
};

/// Reads the arguments of `run` and `runSync` and checks every size. The request must not move afterwards.
void read_request(const Napi::CallbackInfo& info, const AttentionOptions& options, Request& request);

} // namespace intattn::addon
