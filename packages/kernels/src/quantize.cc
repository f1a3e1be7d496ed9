#include "intattn/quantize.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels.h"
#include "numerics/center.h"
#include "numerics/scale.h"

namespace intattn {
bool quantize(const QuantizeArguments& a, InstructionSet isa) {
  const Kernels& kernels = kernels_of(isa);
  const std::size_t matrix = a.length * a.head_dim, heads = a.batch * a.heads;
  std::vector<float> converted(a.half_values ? matrix : 0);
  const auto head_values = [&](std::size_t head) -> const float* {
    if (!a.half_values)
      return a.values + head * matrix;
    kernels.rows.half_to_float(a.half_values + head * matrix, matrix, converted.data());
    return converted.data();
  };

  // Magnitudes as bits: one per channel of every head, from which the wider groups take their largest.
  std::vector<std::uint32_t> bits(heads * a.head_dim, 0);
  for (std::size_t head = 0; head < heads; ++head) {
    const float* x = head_values(head);
    std::uint32_t* channel_bits = bits.data() + head * a.head_dim;
    if (!a.center) {
      kernels.rows.column_max_abs(x, a.head_dim, a.length, a.head_dim, channel_bits);
      continue;
    }
    std::vector<double> total(a.head_dim, 0), block(a.head_dim);
    std::vector<float> low(a.head_dim, std::numeric_limits<float>::infinity()), high(a.head_dim, -low[0]);
    for (std::size_t row = 0; row < a.length; row += mean_block) {
      std::fill(block.begin(), block.end(), 0.0);
      kernels.rows.column_statistics(x + row * a.head_dim, a.head_dim, std::min(mean_block, a.length - row), a.head_dim,
                                     block.data(), low.data(), high.data());
      for (std::size_t c = 0; c < a.head_dim; ++c)
        total[c] += block[c];
    }
    for (std::size_t c = 0; c < a.head_dim; ++c) {
      const CenteredColumn column = center_column(total[c], a.length, low[c], high[c]);
      a.mean[head * a.head_dim + c] = column.mean;
      channel_bits[c] = column.max_abs;
    }
  }
  const std::uint32_t all = *std::max_element(bits.begin(), bits.end());
  if (all >= infinity_bits)
    return false;

  std::vector<float> inverse(a.head_dim), centered(a.center ? a.head_dim : 0);
  for (std::size_t head = 0; head < heads; ++head) {
    const float* x = head_values(head);
    const float* mean = a.center ? a.mean + head * a.head_dim : nullptr;
    const std::uint32_t* channel_bits = bits.data() + head * a.head_dim;
    std::int8_t* out = a.quantized + head * matrix;
    switch (a.scope) {
    case Scope::channel:
      for (std::size_t c = 0; c < a.head_dim; ++c) {
        const ScaleAndInverse both = scale_of(channel_bits[c]);
        a.scale[head * a.head_dim + c] = both.scale;
        inverse[c] = both.inverse;
      }
      kernels.rows.quantize(x, a.length, a.head_dim, mean, inverse.data(), true, out, a.head_dim);
      break;
    case Scope::row:
      for (std::size_t row = 0; row < a.length; ++row) {
        const float* values = x + row * a.head_dim;
        if (mean) {
          for (std::size_t c = 0; c < a.head_dim; ++c)
            centered[c] = values[c] - mean[c];
          values = centered.data();
        }
        kernels.rows.quantize_rows(values, 1, a.head_dim, out + row * a.head_dim, a.head_dim,
                                   a.scale + head * a.length + row);
      }
      break;
    case Scope::tensor:
    case Scope::head: {
      const std::uint32_t most =
          a.scope == Scope::tensor ? all : *std::max_element(channel_bits, channel_bits + a.head_dim);
      const ScaleAndInverse both = scale_of(most);
      a.scale[a.scope == Scope::tensor ? 0 : head] = both.scale;
      kernels.rows.quantize(x, a.length, a.head_dim, mean, &both.inverse, false, out, a.head_dim);
      break;
    }
    }
  }
  return true;
}

} // namespace intattn
