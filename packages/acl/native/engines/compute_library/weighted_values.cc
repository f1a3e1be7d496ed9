#include "engines/compute_library/weighted_values.h"

#include <algorithm>

#include "arm_compute/core/CPP/CPPTypes.h"
#include "arm_compute/runtime/Scheduler.h"
#include "engines/compute_library/rows.h"

namespace intattn::compute_library {

using arm_compute::DataType;

WeightedValues::WeightedValues(bool unsigned_probabilities, std::size_t rows, std::size_t keys, std::size_t dim)
    : rows_(rows), keys_(keys), dim_(dim) {
  to_float_ = unsigned_probabilities && arm_compute::Scheduler::get().cpu_info().has_i8mm();
  shifted_ = unsigned_probabilities && !to_float_;
  const DataType left = to_float_ ? DataType::QASYMM8 : DataType::QASYMM8_SIGNED;
  const DataType sum = to_float_ ? DataType::F32 : DataType::S32;
  for (std::size_t key = 0; key < keys; key += block_keys)
    blocks_.push_back(std::make_unique<Block>(left, DataType::QASYMM8_SIGNED, sum, rows,
                                              std::min(block_keys, keys - key), keys, dim));
  column_sums_.resize(shifted_ ? dim : 0);
  totals_.resize(blocks_.size() > 1 ? rows * dim : 0);
}

void WeightedValues::run(void* probabilities, const std::int8_t* value, float* accumulators, Threads& threads) {
  auto* p = static_cast<std::uint8_t*>(probabilities);
  if (shifted_)
    threads.for_parts(rows_ * keys_, 4096,
                      [&](std::size_t begin, std::size_t end) { subtract_128_in_place(p + begin, end - begin); });
  std::fill(totals_.begin(), totals_.end(), 0.0);
  for (const auto& block : blocks_) {
    block->run(p, value, accumulators);
    if (!to_float_) {
      if (shifted_)
        column_sums_times_128(value, block->keys, dim_, column_sums_.data());
      const std::int32_t* added = shifted_ ? column_sums_.data() : nullptr;
      threads.for_parts(rows_, 16, [&](std::size_t begin, std::size_t end) {
        for (std::size_t row = begin; row < end; ++row)
          convert_in_place(accumulators + row * dim_, dim_, added);
      });
    }
    for (std::size_t i = 0; i < totals_.size(); ++i)
      totals_[i] += double(accumulators[i]);
    p += block->keys;
    value += block->keys * dim_;
  }
  std::copy(totals_.begin(), totals_.end(), accumulators);
}

} // namespace intattn::compute_library
