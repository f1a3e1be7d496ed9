#pragma once

// Float attention written once over a vector type. Each instruction set includes this file in its one translation unit and
// instantiates it with its own vector type; the unnamed namespace keeps the instantiations apart.
//
// A vector type `V` has: `f32`, `width` (floats), `rows` and `columns` (vectors) of a GEMM tile, and the static functions used below.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels.h"

namespace intattn {
namespace {

template <class V> using f32 = typename V::f32;

/// exp(x) for x <= 0 within 2 ulp; 0 below -87.
template <class V> inline f32<V> exp_of_non_positive(f32<V> x) {
  const auto clamped = V::max(x, V::set(-87.33654f));
  const auto n = V::round(V::mul(clamped, V::set(1.44269504f)));
  auto r = V::fma(n, V::set(-0.693145752f), clamped);
  r = V::fma(n, V::set(-1.42860677e-6f), r);
  auto p = V::set(1.38925374e-3f);
  p = V::fma(p, r, V::set(8.37312452e-3f));
  p = V::fma(p, r, V::set(4.16695364e-2f));
  p = V::fma(p, r, V::set(1.66664720e-1f));
  p = V::fma(p, r, V::set(0.499999851f));
  p = V::fma(p, r, V::set(1.0f));
  p = V::fma(p, r, V::set(1.0f));
  return V::zero_below(x, V::set(-87.33654f), V::scale_by_power(p, n));
}

/// float32 or float16 in memory, float32 in registers.
template <class V> struct Float32Storage {
  using type = float;
  static f32<V> load(const type* p) { return V::load(p); }
  static void store(type* p, f32<V> x) { V::store(p, x); }
};
template <class V> struct Float16Storage {
  using type = std::uint16_t;
  static f32<V> load(const type* p) { return V::load_half(p); }
  static void store(type* p, f32<V> x) { V::store_half(p, x); }
};

/// C[R][C vectors] += A[R][depth] B[depth][C vectors]; A is float32.
template <class V, class S, int R, int C>
inline void multiply(const float* a, std::size_t a_stride, const typename S::type* b, std::size_t depth,
                     f32<V> (&accumulator)[R][C]) {
  for (std::size_t k = 0; k < depth; ++k) {
    f32<V> column[C];
    for (int c = 0; c < C; ++c)
      column[c] = S::load(b + (k * C + std::size_t(c)) * V::width);
    for (int r = 0; r < R; ++r) {
      const auto broadcast = V::set(a[std::size_t(r) * a_stride + k]);
      for (int c = 0; c < C; ++c)
        accumulator[r][c] = V::fma(broadcast, column[c], accumulator[r][c]);
    }
  }
}

/// Calls f with the number of rows of each GEMM tile as a compile-time constant.
template <int R, class F> inline void for_row_tiles(std::size_t rows, F&& f) {
  std::size_t row = 0;
  for (; row + R <= rows; row += R)
    f.template tile<R>(row);
  if constexpr (R > 1) {
    if (row < rows)
      for_last_rows<R - 1>(row, rows - row, f);
  }
}

template <int R, class F> inline void for_last_rows(std::size_t row, std::size_t rows, F&& f) {
  if (rows == R) {
    f.template tile<R>(row);
    return;
  }
  if constexpr (R > 1)
    for_last_rows<R - 1>(row, rows, f);
}

} // namespace
} // namespace intattn
