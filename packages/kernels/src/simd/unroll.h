#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

/// For lambdas passed to `unroll`: with constant indices from the start, GCC keeps arrays of vectors in registers;
/// arrays indexed by loops that it unrolls itself are written back to memory in every round.
#define INTATTN_INLINE __attribute__((always_inline))

namespace intattn {
namespace { // compiled anew for each instruction set

template <int N> using constant = std::integral_constant<int, N>;

template <class F, int... I> INTATTN_INLINE inline void unroll(const F& f, std::integer_sequence<int, I...>) {
  (f(constant<I>{}), ...);
}

/// f(constant<0>) ... f(constant<N - 1>), straight-line code.
template <int N, class F> INTATTN_INLINE inline void unroll(const F& f) {
  unroll(f, std::make_integer_sequence<int, N>{});
}

/// f(constant<row>, constant<column>) for all R x C pairs, straight-line code.
template <int R, int C, class F> INTATTN_INLINE inline void unroll(const F& f) {
  unroll<R * C>([&](auto i)
                    INTATTN_INLINE { f(constant<decltype(i)::value / C>{}, constant<decltype(i)::value % C>{}); });
}

/// Calls f(constant<n>) for the run-time n in 1 ... N.
template <int N, class F> inline void with_constant(std::size_t n, const F& f) {
  if constexpr (N > 1) {
    if (n < N)
      return with_constant<N - 1>(n, f);
  }
  f(constant<N>{});
}

/// Cuts `count` into steps of N and one last shorter step: f(offset, constant<step>).
template <int N, class F> inline void in_steps(std::size_t count, const F& f) {
  std::size_t offset = 0;
  for (; offset + N <= count; offset += N)
    f(offset, constant<N>{});
  if (offset < count)
    with_constant<N>(count - offset, [&](auto n) { f(offset, n); });
}

} // namespace
} // namespace intattn
