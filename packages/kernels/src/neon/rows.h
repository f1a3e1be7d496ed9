#pragma once

// The functions of simd/float_rows.h that see every element of the inputs and outputs, with the loads, the column
// groups and the narrowing that suit NEON. Where they end, the common ones take over.

#include "kernels.h"
#include "neon/vector.h"
#include "simd/float_rows.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

struct NeonRows {
  using Common = FloatRows<Neon>;
  static constexpr std::size_t four = 16; ///< floats in four vectors

  static std::uint32_t max_abs_bits(const float* x, std::size_t n) {
    uint32x4_t most[4];
    unroll<4>([&](auto i) INTATTN_INLINE { most[i] = Neon::zero_bits(); });
    for (; n >= 4 * four; n -= 4 * four)
      unroll<4>([&](auto) INTATTN_INLINE {
        const float32x4x4_t y = next_four(x);
        unroll<4>([&](auto i) INTATTN_INLINE { most[i] = vmaxq_u32(most[i], Neon::abs_bits(y.val[i])); });
      });
    const uint32x4_t all = vmaxq_u32(vmaxq_u32(most[0], most[1]), vmaxq_u32(most[2], most[3]));
    const std::uint32_t bits = vmaxvq_u32(all), rest = Common::max_abs_bits(x, n);
    return bits > rest ? bits : rest;
  }

  static void column_statistics(const float* x, std::size_t stride, std::size_t rows, std::size_t columns, double* sum,
                                float* min, float* max) {
    std::size_t column = 0;
    for (; column + four <= columns; column += four)
      if (min)
        block_statistics<true>(x + column, stride, rows, sum + column, min + column, max + column);
      else
        block_statistics<false>(x + column, stride, rows, sum + column, nullptr, nullptr);
    if (column < columns)
      Common::column_statistics(x + column, stride, rows, columns - column, sum + column, min ? min + column : nullptr,
                                max ? max + column : nullptr);
  }

  static void column_max_abs(const float* x, std::size_t stride, std::size_t rows, std::size_t columns,
                             std::uint32_t* bits) {
    std::size_t column = 0;
    for (; column + 2 * four <= columns; column += 2 * four)
      block_max_abs<2>(x + column, stride, rows, bits + column);
    for (; column + four <= columns; column += four)
      block_max_abs<1>(x + column, stride, rows, bits + column);
    if (column < columns)
      Common::column_max_abs(x + column, stride, rows, columns - column, bits + column);
  }

  static void quantize(const float* x, std::size_t rows, std::size_t dim, const float* center, const float* inverse,
                       bool inverse_per_column, std::int8_t* out, std::size_t out_stride) {
    std::size_t whole = dim / four * four;
    if (!center && !inverse_per_column && out_stride == dim && whole == dim) {
      quantize_all(x, rows * dim, *inverse, out);
      return;
    }
    in_steps<2>(rows, [&](std::size_t row, auto r) {
      constexpr int R = decltype(r)::value;
      const float* from = x + row * dim;
      std::int8_t* to = out + row * out_stride;
      if (center)
        inverse_per_column ? quantize_block<R, true, true>(from, dim, whole, center, inverse, to, out_stride)
                           : quantize_block<R, true, false>(from, dim, whole, center, inverse, to, out_stride);
      else
        inverse_per_column ? quantize_block<R, false, true>(from, dim, whole, center, inverse, to, out_stride)
                           : quantize_block<R, false, false>(from, dim, whole, center, inverse, to, out_stride);
      if (whole < dim)
        for (std::size_t i = 0; i < R; ++i)
          Common::quantize(from + i * dim + whole, 1, dim - whole, center ? center + whole : nullptr,
                           inverse_per_column ? inverse + whole : inverse, inverse_per_column,
                           to + i * out_stride + whole, out_stride);
    });
  }

  static void quantize_row(const float* x, std::size_t dim, float inverse, std::int8_t* out) {
    if (dim % four == 0)
      quantize_all(x, dim, inverse, out);
    else
      quantize(x, 1, dim, nullptr, &inverse, false, out, dim);
  }

  static void integer_output(const std::int32_t* accumulators, std::size_t dim, const OutputRow& row, float* out) {
    const std::size_t whole = dim / four * four;
    if (row.center)
      row.offset ? output_block<true, true, true>(accumulators, whole, row, out)
                 : output_block<true, true, false>(accumulators, whole, row, out);
    else if (row.offset)
      output_block<true, false, true>(accumulators, whole, row, out);
    else
      row.factor == 1 ? output_block<false, false, false>(accumulators, whole, row, out)
                      : output_block<true, false, false>(accumulators, whole, row, out);
    if (whole < dim) {
      const OutputRow rest = {row.scale + whole, row.center ? row.center + whole : nullptr,
                              row.offset ? row.offset + whole : nullptr, row.factor, row.offset_factor};
      Common::integer_output(accumulators + whole, dim - whole, rest, out + whole);
    }
  }

  static constexpr RowKernels kernels() {
    RowKernels k = Common::kernels();
    k.column_statistics = column_statistics;
    k.max_abs_bits = max_abs_bits;
    k.column_max_abs = column_max_abs;
    k.quantize = quantize;
    k.quantize_rows = quantize_rows<NeonRows>;
    k.integer_output = integer_output;
    return k;
  }

private:
  /// Four vectors; moves on. The empty statement keeps the compiler from computing addresses of its own.
  INTATTN_INLINE static inline float32x4x4_t next_four(const float*& x, std::size_t step = four) {
    const float32x4x4_t y = vld1q_f32_x4(x);
    x += step;
    asm("" : "+r"(x));
    return y;
  }

  template <bool bounds>
  static inline void block_statistics(const float* x, std::size_t stride, std::size_t rows, double* sum, float* min,
                                      float* max) {
    Neon::f64x total[4];
    float32x4_t low[4], high[4];
    unroll<4>([&](auto i) INTATTN_INLINE {
      total[i] = Neon::load_wide(sum + 4 * i, 4);
      if constexpr (bounds) {
        low[i] = vld1q_f32(min + 4 * i);
        high[i] = vld1q_f32(max + 4 * i);
      }
    });
    const auto row = [&]() INTATTN_INLINE {
      const float32x4x4_t y = next_four(x, stride);
      unroll<4>([&](auto i) INTATTN_INLINE {
        total[i] = Neon::add_wide(total[i], y.val[i]);
        if constexpr (bounds) {
          low[i] = vminq_f32(low[i], y.val[i]);
          high[i] = vmaxq_f32(high[i], y.val[i]);
        }
      });
    };
    for (; rows >= 2; rows -= 2) {
      row();
      row();
    }
    if (rows)
      row();
    unroll<4>([&](auto i) INTATTN_INLINE {
      Neon::store_wide(sum + 4 * i, 4, total[i]);
      if constexpr (bounds) {
        vst1q_f32(min + 4 * i, low[i]);
        vst1q_f32(max + 4 * i, high[i]);
      }
    });
  }

  template <int groups>
  static inline void block_max_abs(const float* x, std::size_t stride, std::size_t rows, std::uint32_t* bits) {
    uint32x4_t most[4 * groups];
    unroll<4 * groups>([&](auto i) INTATTN_INLINE { most[i] = vld1q_u32(bits + 4 * i); });
    const auto row = [&]() INTATTN_INLINE {
      unroll<groups>([&](auto group) INTATTN_INLINE {
        const float32x4x4_t y = next_four(x, group + 1 < groups ? four : stride - (groups - 1) * four);
        unroll<4>([&](auto i) INTATTN_INLINE {
          uint32x4_t& to = most[4 * group + i];
          to = vmaxq_u32(to, Neon::abs_bits(y.val[i]));
        });
      });
    };
    for (; rows >= 2; rows -= 2) {
      row();
      row();
    }
    if (rows)
      row();
    unroll<4 * groups>([&](auto i) INTATTN_INLINE { vst1q_u32(bits + 4 * i, most[i]); });
  }

  /// What is finite rounds to -127 ... 127: the low byte is the number.
  INTATTN_INLINE static inline int8x16_t rounded(const float32x4x4_t& x) {
    const uint8x16_t low_bytes = {0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60};
    uint8x16x4_t integers;
    unroll<4>([&](auto i) INTATTN_INLINE { integers.val[i] = vreinterpretq_u8_s32(vcvtnq_s32_f32(x.val[i])); });
    return vreinterpretq_s8_u8(vqtbl4q_u8(integers, low_bytes));
  }

  static inline void quantize_all(const float* x, std::size_t n, float inverse, std::int8_t* out) {
    const float32x4_t factor = vdupq_n_f32(inverse);
    const auto sixteen = [&]() INTATTN_INLINE {
      float32x4x4_t y = next_four(x);
      unroll<4>([&](auto i) INTATTN_INLINE { y.val[i] = vmulq_f32(y.val[i], factor); });
      return rounded(y);
    };
    for (; n >= 2 * four; n -= 2 * four, out += 2 * four) {
      const int8x16_t a = sixteen(), b = sixteen();
      vst1q_s8(out, a);
      vst1q_s8(out + four, b);
    }
    if (n)
      vst1q_s8(out, sixteen());
  }

  /// R rows of a multiple of 16 columns.
  template <int R, bool centered, bool per_column>
  static inline void quantize_block(const float* x, std::size_t stride, std::size_t columns, const float* center,
                                    const float* inverse, std::int8_t* out, std::size_t out_stride) {
    const float32x4_t common = vdupq_n_f32(*inverse);
    const auto sixteen = [&](std::size_t c) INTATTN_INLINE {
      float32x4x4_t middle, factor;
      if constexpr (centered)
        middle = vld1q_f32_x4(center + c);
      if constexpr (per_column)
        factor = vld1q_f32_x4(inverse + c);
      unroll<R>([&](auto row) INTATTN_INLINE {
        float32x4x4_t y = vld1q_f32_x4(x + std::size_t(row) * stride + c);
        unroll<4>([&](auto i) INTATTN_INLINE {
          if constexpr (centered)
            y.val[i] = vsubq_f32(y.val[i], middle.val[i]);
          y.val[i] = vmulq_f32(y.val[i], per_column ? factor.val[i] : common);
        });
        vst1q_s8(out + std::size_t(row) * out_stride + c, rounded(y));
      });
    };
    std::size_t c = 0;
    for (; c + 2 * four <= columns; c += 2 * four) {
      sixteen(c);
      sixteen(c + four);
    }
    if (c < columns)
      sixteen(c);
  }

  template <bool scaled, bool centered, bool offset>
  static inline void output_block(const std::int32_t* accumulators, std::size_t columns, const OutputRow& row,
                                  float* out) {
    const float32x4_t factor = vdupq_n_f32(row.factor), offset_factor = vdupq_n_f32(row.offset_factor);
    const float *scale = row.scale, *center = row.center, *mean = row.offset;
    for (std::size_t n = columns / four; n > 0; --n, accumulators += four, out += four) {
      const int32x4x4_t x = vld1q_s32_x4(accumulators);
      const float32x4x4_t s = next_four(scale);
      float32x4x4_t c, m;
      if constexpr (centered)
        c = next_four(center);
      if constexpr (offset)
        m = next_four(mean);
      unroll<4>([&](auto i) INTATTN_INLINE {
        float32x4_t y = vcvtq_f32_s32(x.val[i]);
        if constexpr (scaled)
          y = vmulq_f32(y, factor);
        y = vmulq_f32(y, s.val[i]);
        if constexpr (centered)
          y = vaddq_f32(y, c.val[i]);
        if constexpr (offset)
          y = vaddq_f32(y, vmulq_f32(m.val[i], offset_factor));
        vst1q_f32(out + 4 * i, y);
      });
    }
  }
};

} // namespace
} // namespace intattn
