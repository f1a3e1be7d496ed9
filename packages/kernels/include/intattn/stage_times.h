#pragma once

namespace intattn {

/// Wall time of a run and how it divides into stages, in milliseconds. Stage times are averaged over the threads; what
/// is missing to `total` is waiting and scheduling.
struct StageTimes {
  double total = 0;
  double prepare = 0; ///< convert, quantize and pack Q, K and V
  double scores = 0;  ///< Q K^T
  double softmax = 0;
  double values = 0; ///< P V
  double output = 0; ///< scale and store
};

} // namespace intattn
