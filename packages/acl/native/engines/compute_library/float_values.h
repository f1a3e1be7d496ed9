#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "engines/compute_library/threads.h"
#include "engines/compute_library/value_block.h"

namespace intattn::compute_library {

/// P V of float32, or of float16. The library adds up float16 in float16, where sums stop growing long before all keys
/// are in them: float16 products are of blocks of keys, and the blocks are added in float32.
class FloatValues {
public:
  FloatValues(bool half, std::size_t rows, std::size_t keys, std::size_t dim);

  /// Whether `keys` keys are more than one block.
  static bool in_blocks(bool half, std::size_t keys) { return half && keys > block_keys; }

  /// @param probabilities [rows, keys]
  /// @param product [rows, dim] of the operands' type: P V, unless that is in blocks
  /// @param sums [rows, dim]: P V in blocks
  void run(const unsigned char* probabilities, const unsigned char* value, unsigned char* product, float* sums,
           Threads& threads);

private:
  static constexpr std::size_t block_keys = 256;
  using Block = ValueBlock<arm_compute::NEGEMM>;

  const std::size_t element_bytes_, dim_, elements_; ///< elements of the product
  std::vector<std::unique_ptr<Block>> blocks_;
};

} // namespace intattn::compute_library
