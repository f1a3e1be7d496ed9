#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "block/block_kernels.h"

namespace intattn {
namespace {

/// All 64 positions of a block; the type of simd/block_softmax.h. Positions are keys.
struct ScalarWords {
  struct words {
    std::int32_t v[block_keys];
  };
  static constexpr std::size_t lanes = block_keys;

  static float broadcast(float x) { return x; }
  static std::int32_t mulhrs(std::int32_t a, std::int32_t b) { return (a * b + 16384) >> 15; }

  template <class F> static words each(const F& f) {
    words out;
    for (std::size_t i = 0; i < block_keys; ++i)
      out.v[i] = f(i);
    return out;
  }

  static words distances(const float* x, float max) {
    return each([&](std::size_t i) {
      const float d = max - x[i];
      return std::int32_t(std::nearbyint(d < 65535 ? d : 65535));
    });
  }
  static words min(const words& a, const words& b) {
    return each([&](std::size_t i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  static words max(const words& a, const words& b) {
    return each([&](std::size_t i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  static unsigned minimum(const words& a) {
    std::int32_t least = a.v[0];
    for (const std::int32_t x : a.v)
      least = x < least ? x : least;
    return unsigned(least);
  }
  static unsigned maximum(const words& a) {
    std::int32_t most = 0;
    for (const std::int32_t x : a.v)
      most = x > most ? x : most;
    return unsigned(most);
  }
  static words zero() { return {}; }
  /// 64 numbers of 16 bits; by memcpy, because they take the place of scores.
  template <class T> static words load(const T* p) {
    T in[block_keys];
    std::memcpy(in, p, sizeof in);
    return each([&](std::size_t i) { return std::int32_t(in[i]); });
  }
  template <class T> static void store(T* p, const words& x) {
    T out[block_keys];
    for (std::size_t i = 0; i < block_keys; ++i)
      out[i] = T(x.v[i]);
    std::memcpy(p, out, sizeof out);
  }

  static int fold(const ValueScales& scales, const float* x, words (&folded)[1]) {
    const auto counts = [&](std::size_t i) {
      return x[i] > -std::numeric_limits<float>::infinity() && scales.mantissa[i] > 0;
    };
    int top = no_exponent;
    for (std::size_t i = 0; i < block_keys; ++i)
      if (counts(i) && scales.exponent[i] > top)
        top = scales.exponent[i];
    folded[0] = each([&](std::size_t i) {
      const int distance = top - scales.exponent[i];
      return counts(i) ? scales.mantissa[i] >> (distance < 15 ? distance : 15) : 0;
    });
    return top;
  }

  static words weight(const words& d, unsigned exponent) {
    return each([&](std::size_t i) {
      const std::int32_t f = (d.v[i] & 1023) << 5;
      const std::int32_t m = 32640 - mulhrs(f, 21948 - mulhrs(f, 5664));
      const int octaves = (d.v[i] >> 10) - int(exponent), r = octaves < 15 ? octaves : 15;
      return (m + (1 << r)) >> (r + 1);
    });
  }
  static words mulhrs(const words& a, const words& b) {
    return each([&](std::size_t i) { return mulhrs(a.v[i], b.v[i]); });
  }

  static std::uint32_t no_sum() { return 0; }
  static std::uint32_t add_up(std::uint32_t sum, const words& w) {
    for (const std::int32_t x : w.v)
      sum += std::uint32_t(x);
    return sum;
  }
  static std::uint32_t total(std::uint32_t sum) { return sum; }

  static auto rounding(unsigned shift, int limit) {
    return [=](const words& u) {
      return each([&](std::size_t i) {
        const std::int32_t h = (u.v[i] + (std::int32_t(1u << shift) >> 1)) >> shift;
        return h < limit ? h : limit;
      });
    };
  }
};

} // namespace
} // namespace intattn
