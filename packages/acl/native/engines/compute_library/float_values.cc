#include "engines/compute_library/float_values.h"

#include <algorithm>

#include "engines/compute_library/rows.h"

namespace intattn::compute_library {

using arm_compute::DataType;

FloatValues::FloatValues(bool half, std::size_t rows, std::size_t keys, std::size_t dim)
    : element_bytes_(half ? 2 : 4), dim_(dim), elements_(rows * dim) {
  const DataType type = half ? DataType::F16 : DataType::F32;
  const std::size_t step = in_blocks(half, keys) ? block_keys : keys;
  for (std::size_t key = 0; key < keys; key += step)
    blocks_.push_back(std::make_unique<Block>(type, type, type, rows, std::min(step, keys - key), keys, dim));
}

void FloatValues::run(const unsigned char* probabilities, const unsigned char* value, unsigned char* product,
                      float* sums, Threads& threads) {
  if (blocks_.size() == 1)
    return blocks_.front()->run(probabilities, value, product);
  std::fill_n(sums, elements_, 0.0f);
  const auto* halves = reinterpret_cast<const std::uint16_t*>(product);
  for (const auto& block : blocks_) {
    block->run(probabilities, value, product);
    threads.for_parts(elements_, 4096, [&](std::size_t begin, std::size_t end) {
      add_halves(halves + begin, end - begin, sums + begin);
    });
    probabilities += block->keys * element_bytes_;
    value += block->keys * dim_ * element_bytes_;
  }
}

} // namespace intattn::compute_library
