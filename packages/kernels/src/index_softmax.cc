#include "intattn/index_softmax.h"

#include <vector>

#include "kernels.h"
#include "numerics/weight_table.h"

namespace intattn {

IndexParameters index_parameters(const TableOptions& options, double logit_scale) {
  return make_index_parameters(make_index_scale(options), logit_scale);
}

void index_softmax(const IndexSoftmaxArguments& arguments, InstructionSet isa) {
  const Kernels& kernels = kernels_of(isa);
  const WeightTable table = make_weight_table(arguments.table, arguments.normalization);
  const std::size_t cols = arguments.cols, padded = round_up(cols, kernels.key_tile);
  // Masked scores drop out before the kernel and leave zeros behind it: every kernel sees contiguous rows.
  std::vector<std::int32_t> scores(padded);
  std::vector<std::uint8_t> scratch(padded * kernels.integer_bytes), probabilities(cols);
  IndexParameters index = index_parameters(arguments.table, arguments.logit_scale[0]);

  for (std::size_t row = 0; row < arguments.rows; ++row) {
    const std::int32_t* in = arguments.scores + row * cols;
    const std::uint8_t* valid = arguments.valid ? arguments.valid + row * cols : nullptr;
    std::uint8_t* out = arguments.probabilities + row * cols;
    if (arguments.logit_scale_per_row && row > 0)
      index = index_parameters(arguments.table, arguments.logit_scale[row]);

    std::size_t visible = 0;
    for (std::size_t i = 0; i < cols; ++i)
      if (!valid || valid[i])
        scores[visible++] = in[i];

    RowSums sums = {0, 0};
    if (visible > 0)
      sums = kernels.index_softmax_row(scores.data(), visible, table, index, scratch.data(), probabilities.data());
    std::size_t next = 0;
    for (std::size_t i = 0; i < cols; ++i)
      out[i] = !valid || valid[i] ? probabilities[next++] : std::uint8_t{0};
    if (arguments.row_sum)
      arguments.row_sum[row] = sums.weight;
    if (arguments.lost)
      arguments.lost[row] = std::int32_t(std::int64_t{sums.weight} - std::int64_t{table.unit} * sums.plane);
  }
}

} // namespace intattn
