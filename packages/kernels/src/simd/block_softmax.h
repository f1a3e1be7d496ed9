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

/// What the first pass over a block leaves to the second, in place of its scores: distances, and how its value rows
/// are scaled where the row does not see them all.
struct Measured {
  std::uint16_t distance[block_keys];
  std::int16_t folded[block_keys];
};
static_assert(sizeof(Measured) == block_keys * sizeof(float));

/// Two passes over a few blocks at a time: what one block has to wait for (its exponent, its largest weight) is ready
/// by the time it is needed.
template <class W, class Plane> std::uint64_t block_softmax(const SoftmaxTask& task) {
  using Words = typename W::words;
  constexpr int vectors = int(block_keys / W::lanes);
  constexpr std::size_t blocks_at_once = 8;
  const auto max = W::broadcast(task.max);
  const int limit = (1 << task.plane_bits) - 1;
  std::uint64_t row_sum = 0;
  for (std::size_t begin = task.block_begin; begin < task.block_end; begin += blocks_at_once) {
    const std::size_t end = begin + blocks_at_once < task.block_end ? begin + blocks_at_once : task.block_end;
    unsigned exponents[blocks_at_once];
    const std::int16_t* folds[blocks_at_once];
    int tops[blocks_at_once];
    for (std::size_t block = begin; block < end; ++block) {
      const float* x = task.x + block * block_keys;
      auto* to = reinterpret_cast<Measured*>(static_cast<unsigned char*>(task.planes) + block * sizeof(Measured));
      const ValueScales& scales = task.scales[block];
      Words d[vectors], folded[vectors];
      unroll<vectors>([&](auto i) INTATTN_INLINE { d[i] = W::distances(x + i * W::lanes, max); });
      folds[block - begin] = scales.folded;
      tops[block - begin] = scales.top;
      if (block < task.whole_begin || block >= task.whole_end) {
        tops[block - begin] = W::fold(scales, x, folded);
        unroll<vectors>([&](auto i) INTATTN_INLINE { W::store(to->folded + i * W::lanes, folded[i]); });
        folds[block - begin] = to->folded;
      }
      Words least = d[0];
      unroll<vectors>([&](auto i) INTATTN_INLINE {
        least = W::min(least, d[i]);
        W::store(to->distance + i * W::lanes, d[i]);
      });
      exponents[block - begin] = W::minimum(least) >> 10;
    }

    for (std::size_t block = begin; block < end; ++block) {
      auto* plane = static_cast<unsigned char*>(task.planes) + block * sizeof(Measured);
      const auto& from = *reinterpret_cast<const Measured*>(plane);
      const unsigned exponent = exponents[block - begin];
      const int top = tops[block - begin];
      Words u[vectors];
      if (exponent >= dead_exponent) {
        task.factor[block] = 0;
        if (task.exponents)
          task.exponents[block] = {-1, no_exponent, 0};
        unroll<vectors>([&](auto i) INTATTN_INLINE { u[i] = W::zero(); });
        Plane::store(plane, u);
        continue;
      }
      auto sum = W::no_sum();
      Words most = W::zero();
      unroll<vectors>([&](auto i) INTATTN_INLINE {
        const Words w = W::weight(W::load(from.distance + i * W::lanes), exponent);
        sum = W::add_up(sum, w);
        u[i] = W::mulhrs(w, W::load(folds[block - begin] + i * W::lanes));
        most = W::max(most, u[i]);
      });
      row_sum += std::uint64_t(W::total(sum)) << (31 - exponent);
      const unsigned bits = bit_length(W::maximum(most));
      const unsigned shift = bits > task.plane_bits ? bits - task.plane_bits : 0;
      const auto rounding = W::rounding(shift, limit);
      unroll<vectors>([&](auto i) INTATTN_INLINE { u[i] = rounding(u[i]); });
      Plane::store(plane, u);
      task.factor[block] = top == no_exponent ? 0 : power_of_two(int(shift) - int(exponent) + top);
      if (task.exponents)
        task.exponents[block] = {std::int16_t(exponent), std::int16_t(top), std::int16_t(shift)};
    }
  }
  return row_sum;
}

} // namespace
} // namespace intattn
