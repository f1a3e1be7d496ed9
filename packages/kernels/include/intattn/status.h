#pragma once

namespace intattn {

/// `non_finite_*`: the tensor holds a NaN, an infinity, or magnitudes that overflow: beyond float16 in pipeline `fp16`,
/// in their difference from the mean where that is subtracted, in a float16 output of version 1 (said of the value),
/// from 2^40 on in a row that `BlockAttention` needs. Scores and sums of `fp32` that leave float32 are no failure:
/// their rows are computed in float64.
enum class Status {
  ok,
  non_finite_query,
  non_finite_key,
  non_finite_value,
  out_of_memory,
  invalid_argument,
  non_finite_bias,
  non_finite_output,
};

/// How a call ended.
struct [[nodiscard]] StatusMessage {
  Status status = Status::ok;
  char message[120] = ""; ///< what was expected, and where; empty when `ok`
};

} // namespace intattn
