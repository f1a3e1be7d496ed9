#pragma once

// Conversions, statistics, quantization and output of float rows, written once over a vector type `V`: its members are
// those of scalar/vector.h. `load_some` and `store_some` touch the first n elements only; `store_int8` rounds to
// nearest even; `f64x` is as many float64 as `f32` has floats.

#include <cstddef>
#include <cstdint>

#include "kernels.h"
#include "numerics/scale.h"
#include "simd/unroll.h"

namespace intattn {
namespace { // compiled anew for each instruction set

/// Quantizes each row with a scale of its own, by what `Rows` has for one row.
template <class Rows>
std::uint32_t quantize_rows(const float* x, std::size_t rows, std::size_t dim, std::int8_t* out, std::size_t out_stride,
                            float* scale) {
  std::uint32_t most = 0;
  for (std::size_t row = 0; row < rows; ++row, x += dim, out += out_stride) {
    const std::uint32_t bits = Rows::max_abs_bits(x, dim);
    most = bits > most ? bits : most;
    const ScaleAndInverse s = scale_of(bits);
    scale[row] = s.scale;
    Rows::quantize_row(x, dim, s.inverse, out);
  }
  return most;
}

template <class V> struct FloatRows {
  using f32 = typename V::f32;
  static constexpr std::size_t width = V::width;
  static constexpr int group = 4; ///< vectors of columns that stay in registers from row to row

  static void column_statistics(const float* x, std::size_t stride, std::size_t rows, std::size_t dim, double* sum,
                                float* min, float* max) {
    for_column_groups(dim, [&](std::size_t column, std::size_t columns, auto vectors) {
      constexpr int N = decltype(vectors)::value;
      typename V::f64x total[N];
      f32 low[N], high[N];
      for (int v = 0; v < N; ++v) {
        const std::size_t n = columns - std::size_t(v) * width;
        total[v] = V::load_wide(sum + column + std::size_t(v) * width, n);
        if (min) {
          low[v] = V::load_some(min + column + std::size_t(v) * width, n);
          high[v] = V::load_some(max + column + std::size_t(v) * width, n);
        } else {
          low[v] = high[v] = V::set(0);
        }
      }
      const auto add_rows = [&](auto load) INTATTN_INLINE {
        for (std::size_t row = 0; row < rows; ++row)
          unroll<N>([&](auto v) INTATTN_INLINE {
            const f32 value = load(x + row * stride + column, v);
            total[v] = V::add_wide(total[v], value);
            low[v] = V::min(low[v], value);
            high[v] = V::max(high[v], value);
          });
      };
      if (columns >= N * width)
        add_rows([](const float* p, auto v) INTATTN_INLINE { return V::load(p + std::size_t(v) * width); });
      else
        add_rows([&](const float* p, auto v) INTATTN_INLINE {
          return V::load_some(p + std::size_t(v) * width, columns - std::size_t(v) * width);
        });
      for (int v = 0; v < N; ++v) {
        const std::size_t n = columns - std::size_t(v) * width;
        V::store_wide(sum + column + std::size_t(v) * width, n, total[v]);
        if (min) {
          V::store_some(min + column + std::size_t(v) * width, n, low[v]);
          V::store_some(max + column + std::size_t(v) * width, n, high[v]);
        }
      }
    });
  }

  static void column_max_abs(const float* x, std::size_t stride, std::size_t rows, std::size_t dim,
                             std::uint32_t* bits) {
    for_column_groups(dim, [&](std::size_t column, std::size_t columns, auto vectors) {
      constexpr int N = decltype(vectors)::value;
      typename V::i32 most[N];
      for (int v = 0; v < N; ++v)
        most[v] = V::zero_bits();
      for (std::size_t row = 0; row < rows; ++row)
        for (int v = 0; v < N; ++v)
          most[v] = V::max_bits(most[v], V::abs_bits(V::load_some(x + row * stride + column + std::size_t(v) * width,
                                                                  columns - std::size_t(v) * width)));
      for (int v = 0; v < N; ++v)
        V::raise_bits(bits + column + std::size_t(v) * width, columns - std::size_t(v) * width, most[v]);
    });
  }

  static std::uint32_t max_abs_bits(const float* x, std::size_t n) {
    auto most = V::zero_bits();
    for (std::size_t i = 0; i < n; i += width)
      most = V::max_bits(most, V::abs_bits(V::load_some(x + i, n - i)));
    return V::maximum_bits(most);
  }

  static void quantize(const float* x, std::size_t rows, std::size_t dim, const float* center, const float* inverse,
                       bool inverse_per_column, std::int8_t* out, std::size_t out_stride) {
    if (center)
      inverse_per_column ? quantize_as<true, true>(x, rows, dim, center, inverse, out, out_stride)
                         : quantize_as<true, false>(x, rows, dim, center, inverse, out, out_stride);
    else
      inverse_per_column ? quantize_as<false, true>(x, rows, dim, center, inverse, out, out_stride)
                         : quantize_as<false, false>(x, rows, dim, center, inverse, out, out_stride);
  }

  static void quantize_row(const float* x, std::size_t dim, float inverse, std::int8_t* out) {
    quantize_as<false, false>(x, 1, dim, nullptr, &inverse, out, dim);
  }

  static void half_to_float(const std::uint16_t* in, std::size_t n, float* out) {
    std::size_t i = 0;
    for (; i + width <= n; i += width)
      V::store(out + i, V::load_half(in + i));
    if (i < n) {
      std::uint16_t tail[width] = {};
      for (std::size_t j = i; j < n; ++j)
        tail[j - i] = in[j];
      V::store_some(out + i, n - i, V::load_half(tail));
    }
  }

  static void int8_to_float(const std::int8_t* in, std::size_t n, float* out) {
    std::size_t i = 0;
    for (; i + width <= n; i += width)
      V::store(out + i, V::load_int8(in + i));
    for (; i < n; ++i)
      out[i] = float(in[i]);
  }

  static void float_to_half(const float* in, std::size_t n, std::uint16_t* out) {
    std::size_t i = 0;
    for (; i + width <= n; i += width)
      V::store_half(out + i, V::load(in + i));
    if (i < n) {
      std::uint16_t tail[width];
      V::store_half(tail, V::load_some(in + i, n - i));
      for (std::size_t j = i; j < n; ++j)
        out[j] = tail[j - i];
    }
  }

  static void mean_offset(const double* sum, double inverse_count, const float* center, std::size_t dim, float* out) {
    for (std::size_t c = 0; c < dim; c += width) {
      f32 mean = V::narrow(V::load_wide(sum + c, dim - c), inverse_count);
      if (center)
        mean = V::sub(mean, V::load_some(center + c, dim - c));
      V::store_some(out + c, dim - c, mean);
    }
  }

  static void integer_output(const std::int32_t* accumulators, std::size_t dim, const OutputRow& row, float* out) {
    const f32 factor = V::set(row.factor), offset_factor = V::set(row.offset_factor);
    for (std::size_t c = 0; c < dim; c += width) {
      const std::size_t n = dim - c;
      f32 value = V::mul(V::mul(V::load_integers(accumulators + c), factor), V::load_some(row.scale + c, n));
      if (row.center)
        value = V::add(value, V::load_some(row.center + c, n));
      if (row.offset)
        value = V::add(value, V::mul(V::load_some(row.offset + c, n), offset_factor));
      V::store_some(out + c, n, value);
    }
  }

  static void float_output(const float* accumulators, std::size_t dim, float factor, float* out) {
    for (std::size_t c = 0; c < dim; c += width)
      V::store_some(out + c, dim - c, V::mul(V::load(accumulators + c), V::set(factor)));
  }

  static constexpr RowKernels kernels() {
    return {half_to_float,  int8_to_float,  float_to_half, column_statistics,
            column_max_abs, max_abs_bits,   quantize,      quantize_rows<FloatRows>,
            mean_offset,    integer_output, float_output};
  }

private:
  template <bool centered, bool per_column>
  static inline void quantize_as(const float* x, std::size_t rows, std::size_t dim, const float* center,
                                 const float* inverse, std::int8_t* out, std::size_t out_stride) {
    const f32 common = V::set(*inverse);
    for (std::size_t row = 0; row < rows; ++row, x += dim, out += out_stride) {
      const auto scaled = [&](std::size_t c, auto load) INTATTN_INLINE {
        f32 value = load(x + c);
        if constexpr (centered)
          value = V::sub(value, load(center + c));
        if constexpr (per_column)
          return V::mul(value, load(inverse + c));
        else
          return V::mul(value, common);
      };
      const auto whole = [](const float* p) INTATTN_INLINE { return V::load(p); };
      std::size_t c = 0;
      for (; c + 4 * width <= dim; c += 4 * width)
        V::store_int8(out + c, scaled(c, whole), scaled(c + width, whole), scaled(c + 2 * width, whole),
                      scaled(c + 3 * width, whole));
      for (; c < dim; c += width)
        V::store_int8(out + c, dim - c, scaled(c, [&](const float* p) { return V::load_some(p, dim - c); }));
    }
  }

  template <class F> static inline void for_column_groups(std::size_t dim, const F& f) {
    in_steps<group>(divide_up(dim, width),
                    [&](std::size_t first, auto vectors) { f(first * width, dim - first * width, vectors); });
  }
};

} // namespace
} // namespace intattn
