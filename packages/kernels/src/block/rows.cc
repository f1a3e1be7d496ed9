#include "block/rows.h"

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
  int exponent;
  const double mantissa = std::frexp(double(scale), &exponent);
  const int g = int(mantissa * 32768 + 0.5);
  return {std::int16_t(g < 32767 ? g : 32767), std::int16_t(exponent)};
}

} // namespace intattn
