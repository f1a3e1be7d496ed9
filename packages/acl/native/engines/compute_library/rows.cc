#include "engines/compute_library/rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <arm_neon.h>

namespace intattn::compute_library {
namespace {

/// Loads and stores that may follow one another with different types on the same bytes.
template <class Vector> Vector load(const void* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class Vector> void store(void* p, Vector v) { std::memcpy(p, &v, sizeof v); }

} // namespace

void dequantize_in_place(void* scores, std::size_t count, float scale) {
  auto* p = static_cast<unsigned char*>(scores);
  const auto whole = [&](std::size_t i) {
    store(p + 4 * i, vmulq_n_f32(vcvtq_f32_s32(load<int32x4_t>(p + 4 * i)), scale));
  };
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    whole(i);
    whole(i + 4);
    whole(i + 8);
    whole(i + 12);
  }
  for (; i + 4 <= count; i += 4)
    whole(i);
  for (; i < count; ++i)
    store(p + 4 * i, scale * float(load<std::int32_t>(p + 4 * i)));
}

void quantize_probabilities(const float* probabilities, std::size_t count, std::int8_t* out) {
  const auto four = [&](std::size_t i) { return vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(probabilities + i), 127)); };
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    // Low halves are all that 0 ... 127 needs.
    const int16x8_t low = vuzp1q_s16(vreinterpretq_s16_s32(four(i)), vreinterpretq_s16_s32(four(i + 4)));
    const int16x8_t high = vuzp1q_s16(vreinterpretq_s16_s32(four(i + 8)), vreinterpretq_s16_s32(four(i + 12)));
    vst1q_s8(out + i, vuzp1q_s8(vreinterpretq_s8_s16(low), vreinterpretq_s8_s16(high)));
  }
  for (; i < count; ++i)
    out[i] = std::int8_t(vcvtns_s32_f32(probabilities[i] * 127));
}

void subtract_128_in_place(std::uint8_t* probabilities, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    probabilities[i] ^= 0x80;
}

void column_sums_times_128(const std::int8_t* values, std::size_t rows, std::size_t columns, std::int32_t* sums) {
  constexpr std::size_t block = 256; // of int8 whose sum fits 16 bits
  std::fill_n(sums, columns, 0);
  std::int16_t partial[64];
  for (std::size_t first = 0; first < columns; first += 64) {
    const std::size_t width = std::min<std::size_t>(64, columns - first);
    for (std::size_t row = 0; row < rows; row += block) {
      std::fill_n(partial, 64, std::int16_t{0});
      for (std::size_t r = row; r < std::min(rows, row + block); ++r)
        for (std::size_t c = 0; c < width; ++c)
          partial[c] = std::int16_t(partial[c] + values[r * columns + first + c]);
      for (std::size_t c = 0; c < width; ++c)
        sums[first + c] += partial[c];
    }
  }
  for (std::size_t c = 0; c < columns; ++c)
    sums[c] *= 128;
}

void convert_in_place(void* accumulators, std::size_t count, const std::int32_t* added) {
  auto* p = static_cast<unsigned char*>(accumulators);
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    int32x4_t sum = load<int32x4_t>(p + 4 * i);
    if (added)
      sum = vaddq_s32(sum, vld1q_s32(added + i));
    store(p + 4 * i, vcvtq_f32_s32(sum));
  }
  for (; i < count; ++i)
    store(p + 4 * i, float(load<std::int32_t>(p + 4 * i) + (added ? added[i] : 0)));
}

void add_halves(const std::uint16_t* halves, std::size_t count, float* sums) {
  const auto four = [](const std::uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); };
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4)
    vst1q_f32(sums + i, vaddq_f32(vld1q_f32(sums + i), four(halves + i)));
  for (; i < count; ++i) {
    const std::uint16_t one[4] = {halves[i]};
    sums[i] += vgetq_lane_f32(four(one), 0);
  }
}

void scale_row(const float* __restrict accumulators, std::size_t dim, const OutputRow& row, float* __restrict out) {
  const float factor = row.factor, offset_factor = row.offset_factor;
  const float* __restrict scale = row.scale, * __restrict center = row.center, * __restrict offset = row.offset;
  const auto scaled = [&](std::size_t c) { return accumulators[c] * factor * scale[c]; };
  if (center && offset)
    for (std::size_t c = 0; c < dim; ++c)
      out[c] = scaled(c) + center[c] + offset[c] * offset_factor;
  else if (center)
    for (std::size_t c = 0; c < dim; ++c)
      out[c] = scaled(c) + center[c];
  else if (offset)
    for (std::size_t c = 0; c < dim; ++c)
      out[c] = scaled(c) + offset[c] * offset_factor;
  else
    for (std::size_t c = 0; c < dim; ++c)
      out[c] = scaled(c);
}

} // namespace intattn::compute_library
