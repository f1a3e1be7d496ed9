#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engines/compute_library/threads.h"
#include "engines/compute_library/value_block.h"

namespace intattn::compute_library {

/// accumulators = P V of int8 V and int8 or uint8 P. Sums over blocks of keys are exact int32; they become float32, as
/// the output is, before they are scaled.
///
/// uint8 P: the library multiplies uint8 with int8 on CPUs with i8mm only, and to float32 only (its int32 of these
/// types is wrong). Elsewhere P becomes int8 by subtracting 128, which 128 times the column sums of V make up for.
class WeightedValues {
public:
  WeightedValues(bool unsigned_probabilities, std::size_t rows, std::size_t keys, std::size_t dim);

  /// @param probabilities [rows][keys], overwritten where uint8 become int8
  /// @param accumulators [rows][dim]
  void run(void* probabilities, const std::int8_t* value, float* accumulators, Threads& threads);

private:
  /// Keys whose products surely fit an int32 accumulator: 255 * 128 * keys < 2^31.
  static constexpr std::size_t block_keys = 65536;

  using Block = ValueBlock<arm_compute::NEGEMMLowpMatrixMultiplyCore>;

  std::size_t rows_, keys_, dim_;
  bool shifted_, to_float_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<std::int32_t> column_sums_;
  std::vector<double> totals_; ///< of several blocks
};

} // namespace intattn::compute_library
