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

  static void butterflies(float* x, std::size_t dim, std::size_t n) {
    in_lanes<1>(x, dim, n);
    for (std::size_t h = width; h < n; h *= 2)
      for (std::size_t i = 0; i < dim; i += 2 * h)
        for (std::size_t c = i; c < i + h; c += width) {
          const f32 a = V::load(x + c), b = V::load(x + c + h);
          V::store(x + c, V::add(a, b));
          V::store(x + c + h, V::sub(a, b));
        }
  }

  static void multiply(float* x, const float* factor, std::size_t dim) {
    for (std::size_t c = 0; c < dim; c += width)
      V::store(x + c, V::mul(V::load(x + c), V::load(factor + c)));
  }
  static void subtract(float* x, const float* offset, std::size_t dim) {
    for (std::size_t c = 0; c < dim; c += width)
      V::store(x + c, V::sub(V::load(x + c), V::load(offset + c)));
  }
  static void scale(float* x, float rec, std::size_t dim) {
    const f32 r = V::set(rec);
    for (std::size_t c = 0; c < dim; c += width)
      V::store(x + c, V::mul(V::load(x + c), r));
  }

  static float maximum(const float* x, std::size_t n) {
    f32 most = V::load(x);
    for (std::size_t i = width; i < n; i += width)
      most = V::max(most, V::load(x + i));
    return V::maximum(most);
  }

  static float quantize(const float* x, std::size_t dim, unsigned top, void* out) {
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
    if (!wide) {
      auto* q = static_cast<std::int8_t*>(out);
      std::size_t c = 0;
      for (; c + width <= dim; c += width)
        V::store_int8(q + c, width, V::mul(V::load(x + c), factor));
      if (c < dim)
        V::store_int8(q + c, dim - c, V::mul(V::load(x + c), factor));
    } else {
      auto* q = static_cast<std::int16_t*>(out);
      const float limit = float(top);
      for (std::size_t c = 0; c < dim; c += width) {
        alignas(64) float rounded[width];
        V::store(rounded, V::round(V::mul(V::load(x + c), factor)));
        for (std::size_t i = 0; i < width && c + i < dim; ++i)
          q[c + i] = std::int16_t(rounded[i] > limit ? limit : rounded[i] < -limit ? -limit : rounded[i]);
      }
    }
    return magnitude / float(top);
  }

private:
  /// Butterflies between lanes of one vector.
  template <std::size_t h> static void in_lanes(float* x, std::size_t dim, std::size_t n) {
    if constexpr (h < width) {
      if (h >= n)
        return;
      for (std::size_t c = 0; c < dim; c += width) {
        const f32 a = V::load(x + c);
        V::store(x + c, V::add(V::template swapped<h>(a), V::template negate_high<h>(a)));
      }
      in_lanes<2 * h>(x, dim, n);
    }
  }
};

} // namespace
} // namespace intattn
