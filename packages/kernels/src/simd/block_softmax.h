#pragma once

// Block softmax, sections 7 and 8 of the numeric specification, version 2, written once over a type `W` of 16-bit
// lanes: `W::lanes` of them in a vector, 64 a multiple of that.
//   Words W::distances(x, max): distances of the next `lanes` scores, in positions of the kernels' own
//   Plane::store(out, vectors): how planes lie in memory

#include <cstddef>
#include <cstdint>

#include "block/block_kernels.h"
#include "numerics/scale.h"
#include "simd/unroll.h"

namespace intattn {
namespace { // compiled anew for each instruction set

constexpr unsigned dead_exponent = 32;

inline unsigned bit_length(unsigned n) { return n ? 32 - unsigned(__builtin_clz(n)) : 0; }

/// 2^n, n within the range of normal numbers.
inline float power_of_two(int n) { return float_of_bits(std::uint32_t(n + 127) << 23); }

template <class W, class Plane> std::uint64_t block_softmax(const SoftmaxTask& task) {
  using Words = typename W::words;
  constexpr int vectors = int(block_keys / W::lanes);
  const auto max = W::broadcast(task.max);
  const int limit = (1 << task.plane_bits) - 1;
  std::uint64_t row_sum = 0;
  for (std::size_t block = task.block_begin; block < task.block_end; ++block) {
    const float* x = task.x + block * block_keys;
    const ValueScales& scales = task.scales[block];
    auto* plane = static_cast<unsigned char*>(task.planes) + block * block_keys * sizeof(float);
    const bool whole = block >= task.whole_begin && block < task.whole_end;

    Words d[vectors];
    unroll<vectors>([&](auto i) INTATTN_INLINE { d[i] = W::distances(x + i * W::lanes, max); });
    Words least = d[0];
    unroll<vectors>([&](auto i) INTATTN_INLINE { least = W::min(least, d[i]); });
    const unsigned exponent = W::minimum(least) >> 10;

    int top = scales.top;
    Words folded[vectors];
    if (whole) {
      unroll<vectors>([&](auto i) INTATTN_INLINE { folded[i] = W::load(scales.folded + i * W::lanes); });
    } else if (exponent < dead_exponent) {
      top = W::fold(scales, x, folded);
    }
    if (exponent >= dead_exponent) {
      task.factor[block] = 0;
      if (task.exponents)
        task.exponents[block] = {-1, no_exponent, 0};
      unroll<vectors>([&](auto i) INTATTN_INLINE { d[i] = W::zero(); });
      Plane::store(plane, d);
      continue;
    }

    auto sum = W::no_sum();
    Words most = W::zero();
    unroll<vectors>([&](auto i) INTATTN_INLINE {
      const Words w = W::weight(d[i], exponent);
      sum = W::add_up(sum, w);
      d[i] = W::mulhrs(w, folded[i]);
      most = W::max(most, d[i]);
    });
    row_sum += std::uint64_t(W::total(sum)) << (31 - exponent);
    const unsigned bits = bit_length(W::maximum(most));
    const unsigned shift = bits > task.plane_bits ? bits - task.plane_bits : 0;
    const auto rounding = W::rounding(shift, limit);
    unroll<vectors>([&](auto i) INTATTN_INLINE { d[i] = rounding(d[i]); });
    Plane::store(plane, d);
    task.factor[block] = top == no_exponent ? 0 : power_of_two(int(shift) - int(exponent) + top);
    if (task.exponents)
      task.exponents[block] = {std::int16_t(exponent), std::int16_t(top), std::int16_t(shift)};
  }
  return row_sum;
}

} // namespace
} // namespace intattn
