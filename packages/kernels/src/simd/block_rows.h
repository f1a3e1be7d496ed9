#pragma once

// Rotation and quantization of rows, sections 2 and 3 of the numeric specification, version 2, written once over a
// vector type `V` as simd/float_rows.h has it, with `V::swapped<h>(x)`, lanes exchanged with those h further, and
// `V::negate_high<h>(x)`, the sign of lanes with bit h changed.

#include <cstddef>
#include <cstdint>
#include <limits>

#include "block/block_kernels.h"
#include "numerics/scale.h"
#include "simd/unroll.h"

namespace intattn {
namespace { // compiled anew for each instruction set

template <class V> struct BlockRows {
  using f32 = typename V::f32;
  static constexpr std::size_t width = V::width;
  /// Vectors that go through the first butterflies in registers.
  static constexpr int chunk = 8;
  static constexpr std::size_t chunk_channels = chunk * width;

  /// What of the table is about rows.
  static constexpr BlockKernels kernels() {
    BlockKernels k = {};
    k.quantize = quantize;
    k.finish = finish;
    k.maximum = maximum;
    return k;
  }

  static float maximum(const float* x, std::size_t n) {
    f32 most = V::load(x);
    for (std::size_t i = width; i < n; i += width)
      most = V::max(most, V::load(x + i));
    return V::maximum(most);
  }

  static float quantize(const RowTask& task) {
    const std::size_t dim = task.transform.dim;
    const float* x = task.x;
    if (dim % width) { // nothing beyond the row is read
      __builtin_memmove(task.work, x, dim * sizeof(float));
      for (std::size_t c = dim; c % width; ++c)
        task.work[c] = 0;
      x = task.work;
    }
    if (task.transform.offset) {
      for (std::size_t c = 0; c < dim; c += width)
        V::store(task.work + c, V::sub(V::load(x + c), V::load(task.transform.offset + c)));
      x = task.work;
    }
    if (task.transform.block > 1) {
      butterflies(x, task.work, task.transform, [&](f32 value, std::size_t c) INTATTN_INLINE {
        return V::mul(value, V::load(task.transform.sign + c));
      });
      x = task.work;
    }
    return round_to_integers(x, dim, task.top, task.out);
  }

  static void finish(float* x, float rec, const RowTransform& transform) {
    const f32 factor = V::set(rec);
    const auto scaled = [&](f32 value, std::size_t) INTATTN_INLINE { return V::mul(value, factor); };
    if (transform.block > 1)
      butterflies(x, x, transform, scaled);
    for (std::size_t c = 0; c < transform.dim; c += width) {
      f32 value = V::load(x + c);
      value = transform.block > 1 ? V::mul(value, V::load(transform.sign + c)) : V::mul(value, factor);
      V::store(x + c, transform.offset ? V::add(value, V::load(transform.offset + c)) : value);
    }
  }

private:
  /// What `first` makes of each vector, then butterflies with h = 1, 2, 4 ... block / 2.
  template <class F>
  static void butterflies(const float* x, float* out, const RowTransform& transform, const F& first) {
    const std::size_t dim = transform.dim, n = transform.block;
    const std::size_t whole = dim - dim % chunk_channels;
    for (std::size_t c = 0; c < whole; c += chunk_channels)
      in_registers<chunk>(x, out, c, n, first);
    for (std::size_t c = whole; c < dim; c += width)
      in_registers<1>(x, out, c, n, first);
    between_channels(out, 0, whole, chunk_channels, n);
    between_channels(out, whole, dim, width, n);
  }

  static void between_channels(float* x, std::size_t begin, std::size_t end, std::size_t h, std::size_t n) {
    for (; h < n; h *= 2)
      for (std::size_t i = begin; i < end; i += 2 * h)
        for (std::size_t c = i; c < i + h; c += width) {
          const f32 a = V::load(x + c), b = V::load(x + c + h);
          V::store(x + c, V::add(a, b));
          V::store(x + c + h, V::sub(a, b));
        }
  }

  template <int N, class F>
  INTATTN_INLINE static void in_registers(const float* x, float* out, std::size_t c, std::size_t n, const F& first) {
    f32 v[N];
    unroll<N>([&](auto i) INTATTN_INLINE {
      v[i] = first(V::load(x + c + std::size_t(i) * width), c + std::size_t(i) * width);
    });
    within_vectors<1, N>(v, n);
    between_vectors<1, N>(v, n);
    unroll<N>([&](auto i) INTATTN_INLINE { V::store(out + c + std::size_t(i) * width, v[i]); });
  }

  template <std::size_t h, int N> INTATTN_INLINE static void within_vectors(f32 (&v)[N], std::size_t n) {
    if constexpr (h < width) {
      if (h >= n)
        return;
      unroll<N>([&](auto i)
                    INTATTN_INLINE { v[i] = V::add(V::template swapped<h>(v[i]), V::template negate_high<h>(v[i])); });
      within_vectors<2 * h, N>(v, n);
    }
  }

  template <int step, int N> INTATTN_INLINE static void between_vectors(f32 (&v)[N], std::size_t n) {
    if constexpr (step < N) {
      if (step * width >= n)
        return;
      unroll<N / 2>([&](auto i) INTATTN_INLINE {
        constexpr int low = decltype(i)::value / step * 2 * step + decltype(i)::value % step;
        const f32 a = v[low], b = v[low + step];
        v[low] = V::add(a, b);
        v[low + step] = V::sub(a, b);
      });
      between_vectors<2 * step, N>(v, n);
    }
  }

  static float round_to_integers(const float* x, std::size_t dim, unsigned top, void* out) {
    auto most = V::zero_bits();
    for (std::size_t c = 0; c < dim; c += width)
      most = V::max_bits(most, V::abs_bits(V::load(x + c)));
    const std::uint32_t bits = V::maximum_bits(most);
    const bool wide = top > 127;
    if (bits < bits_of_float(0x1p-60f) || bits >= bits_of_float(0x1p40f)) {
      __builtin_memset(out, 0, wide ? 2 * dim : dim);
      return bits < bits_of_float(0x1p-60f) ? 0 : std::numeric_limits<float>::quiet_NaN();
    }
    const float magnitude = float_of_bits(bits), inverse = float(top) / magnitude;
    const f32 factor = V::set(inverse);
    const auto scaled = [&](std::size_t c) INTATTN_INLINE { return V::mul(V::load(x + c), factor); };
    if (!wide) {
      auto* q = static_cast<std::int8_t*>(out);
      std::size_t c = 0;
      for (; c + 4 * width <= dim; c += 4 * width)
        V::store_int8(q + c, scaled(c), scaled(c + width), scaled(c + 2 * width), scaled(c + 3 * width));
      for (; c < dim; c += width)
        V::store_int8(q + c, dim - c < width ? dim - c : width, scaled(c));
    } else {
      auto* q = static_cast<std::int16_t*>(out);
      const float limit = float(top);
      for (std::size_t c = 0; c < dim; c += width) {
        alignas(64) float rounded[width];
        V::store(rounded, V::round(scaled(c)));
        for (std::size_t i = 0; i < width && c + i < dim; ++i)
          q[c + i] = std::int16_t(rounded[i] > limit ? limit : rounded[i] < -limit ? -limit : rounded[i]);
      }
    }
    return magnitude / float(top);
  }
};

} // namespace
} // namespace intattn
