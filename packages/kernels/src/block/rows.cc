#include "block/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "numerics/scale.h"

namespace intattn {

Rotation::Rotation(std::size_t dim, bool rotate) : dim_(dim), block_(rotate ? dim & (~dim + 1) : 1) {
  if (block_ == 1)
    return;
  sign_.assign(round_up(dim, float_padding), 0);
  inverse_.assign(sign_.size(), 0);
  for (std::size_t i = 0; i < dim; ++i) {
    const std::size_t c = i & (block_ - 1);
    sign_[i] = __builtin_popcountll(c & (c >> 1)) & 1 ? -1.0f : 1.0f;
    inverse_[i] = sign_[i] / float(block_);
  }
}

const float* float_row(const Kernels& kernels, const TensorView& view, std::size_t batch, std::size_t head,
                       std::size_t row, std::size_t dim, float* scratch) {
  const std::ptrdiff_t at = std::ptrdiff_t(batch) * view.batch_stride + std::ptrdiff_t(head) * view.head_stride +
                            std::ptrdiff_t(row) * view.row_stride;
  const auto* data = static_cast<const unsigned char*>(view.data) + at * std::ptrdiff_t(bytes_of(view.type));
  if (view.type == ElementType::float32)
    return reinterpret_cast<const float*>(data);
  if (view.type == ElementType::float16) {
    kernels.rows.half_to_float(reinterpret_cast<const std::uint16_t*>(data), dim, scratch);
    return scratch;
  }
  for (std::size_t c = 0; c < dim; ++c)
    scratch[c] = float_of_bits(std::uint32_t(reinterpret_cast<const std::uint16_t*>(data)[c]) << 16);
  return scratch;
}

float given_row(const TensorView& view, RowFormat format, std::size_t batch, std::size_t head, std::size_t row,
                std::size_t dim, std::int8_t* out) {
  const auto at = [&](std::ptrdiff_t of_batch, std::ptrdiff_t of_head, std::ptrdiff_t of_row) {
    return std::ptrdiff_t(batch) * of_batch + std::ptrdiff_t(head) * of_head + std::ptrdiff_t(row) * of_row;
  };
  const float scale = view.scale[at(view.scale_batch_stride, view.scale_head_stride, view.scale_row_stride)];
  std::memcpy(
      out, static_cast<const std::int8_t*>(view.data) + at(view.batch_stride, view.head_stride, view.row_stride), dim);
  bool fits = scale == 0 || (scale >= 0x1p-74f && scale < 0x1p35f);
  if (format.bits == 7)
    for (std::size_t c = 0; c < dim; ++c)
      fits = fits && out[c] >= -63 && out[c] <= 63;
  if (fits)
    return scale;
  std::memset(out, 0, dim);
  return std::numeric_limits<float>::quiet_NaN();
}

float quantize_row(const Kernels& kernels, const BlockKernels& block, const TensorView& view, RowFormat format,
                   const Rotation& rotation, const float* offset, std::size_t batch, std::size_t head, std::size_t row,
                   std::size_t dim, float* scratch, std::int8_t* out) {
  if (view.type == ElementType::int8)
    return given_row(view, format, batch, head, row, dim, out);
  const float* x = float_row(kernels, view, batch, head, row, dim, scratch);
  const float scale = block.quantize({x, scratch, rotation.before(offset), format.top(), out});
  if (format.bits == 4 && scale > 0)
    to_levels(out, dim);
  return scale;
}

std::vector<float> padded_rows(const float* rows, std::size_t count, std::size_t dim) {
  std::vector<float> out(rows ? count * round_up(dim, float_padding) : 0);
  for (std::size_t row = 0; rows && row < count; ++row)
    std::copy_n(rows + row * dim, dim, out.data() + row * round_up(dim, float_padding));
  return out;
}

void to_levels(std::int8_t* row, std::size_t dim) {
  for (std::size_t c = 0; c < dim; ++c) {
    const int q = row[c], a = q < 0 ? -q : q;
    const int level = a <= 12    ? 6
                      : a <= 24  ? 18
                      : a <= 37  ? 31
                      : a <= 51  ? 44
                      : a <= 67  ? 59
                      : a <= 85  ? 75
                      : a <= 108 ? 95
                                 : 121;
    row[c] = std::int8_t(q < 0 ? -level : level);
  }
}

IntegerScale integer_scale(float scale) {
  if (!(scale > 0))
    return {0, no_exponent};
  // Scales are normal numbers: 24 bits of mantissa, of which 15 stay.
  const std::uint32_t bits = bits_of_float(scale), g = ((bits & 0x7fffff) + 0x800100) >> 9;
  return {std::int16_t(g < 32767 ? g : 32767), std::int16_t(int(bits >> 23) - 126)};
}

float scale_of(IntegerScale scale) {
  return scale.exponent == no_exponent ? 0 : float(std::ldexp(scale.mantissa / 32768.0, scale.exponent));
}

void clear(ValueScales& scales) {
  scales = {};
  std::fill_n(scales.exponent, block_keys, no_exponent);
  scales.top = no_exponent;
}

std::int16_t folded(IntegerScale scale, std::int16_t top) {
  return scale.mantissa ? std::int16_t(scale.mantissa >> std::min(top - scale.exponent, 15)) : std::int16_t(0);
}

void fold(ValueScales& scales) {
  scales.top = no_exponent;
  for (const std::int16_t exponent : scales.exponent)
    scales.top = std::max(scales.top, exponent);
  for (std::size_t i = 0; i < block_keys; ++i)
    scales.folded[i] = folded({scales.mantissa[i], scales.exponent[i]}, scales.top);
}

} // namespace intattn
