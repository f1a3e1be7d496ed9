#pragma once

// AVX-512 on any CPU with AVX2, by SIMDe, for sources that include <immintrin.h>: this directory comes before the
// compiler's own in the include path. Much of what our sources use is not in SIMDe 0.7, or not by its usual name: it is
// written below, over the halves of a vector or element by element.

#pragma GCC system_header
#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace intattn {
namespace {
namespace stand_in {

/// A vector as an array, of elements or of halves.
template <class E, class V> struct Elements {
  static constexpr std::size_t count = sizeof(V) / sizeof(E);
  E at[count];

  explicit Elements(const V& v) { std::memcpy(at, &v, sizeof(V)); }
  Elements() = default;
  operator V() const {
    V v;
    std::memcpy(&v, at, sizeof(V));
    return v;
  }
};

template <class V, class Half> V join(Half low, Half high) {
  Elements<Half, V> out;
  out.at[0] = low, out.at[1] = high;
  return out;
}

template <class E, class V> V load_where(std::uint32_t mask, const void* p) {
  Elements<E, V> out;
  for (std::size_t i = 0; i < out.count; ++i)
    if (out.at[i] = 0; mask >> i & 1)
      std::memcpy(&out.at[i], static_cast<const E*>(p) + i, sizeof(E));
  return out;
}

template <class E, class V> void store_where(void* p, std::uint32_t mask, V x) {
  const Elements<E, V> in(x);
  for (std::size_t i = 0; i < in.count; ++i)
    if (mask >> i & 1)
      std::memcpy(static_cast<E*>(p) + i, &in.at[i], sizeof(E));
}

/// Halves with halves, quarters with quarters, as compilers fold a vector.
template <class E, class V, class F> E reduce(V x, const F& f) {
  Elements<E, V> e(x);
  for (std::size_t half = e.count / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i)
      e.at[i] = f(e.at[i], e.at[i + half]);
  return e.at[0];
}

using Floats = Elements<__m256, __m512>;
using Integers = Elements<__m256i, __m512i>;
using Doubles = Elements<__m256d, __m512d>;

inline __mmask32 greater_words(__m512i a, __m512i b) {
  const Elements<std::int16_t, __m512i> x(a), y(b);
  __mmask32 mask = 0;
  for (std::size_t i = 0; i < x.count; ++i)
    mask |= __mmask32(x.at[i] > y.at[i]) << i;
  return mask;
}

inline __m512i shifted_words(__mmask32 mask, __m512i a, __m512i count) {
  Elements<std::uint16_t, __m512i> x(a);
  const Elements<std::uint16_t, __m512i> c(count);
  for (std::size_t i = 0; i < x.count; ++i)
    x.at[i] = (mask >> i & 1) && c.at[i] < 16 ? std::uint16_t(x.at[i] >> c.at[i]) : 0;
  return x;
}

inline __m512i high_products(__m512i a, __m512i b) {
  const Integers x(a), y(b);
  return join<__m512i>(_mm256_mulhi_epu16(x.at[0], y.at[0]), _mm256_mulhi_epu16(x.at[1], y.at[1]));
}

template <int rounding> __m256i to_half(__m512 x) {
  const Floats f(x);
  return join<__m256i>(_mm256_cvtps_ph(f.at[0], rounding), _mm256_cvtps_ph(f.at[1], rounding));
}
inline __m512 from_half(__m256i x) {
  const Elements<__m128i, __m256i> h(x);
  return join<__m512>(_mm256_cvtph_ps(h.at[0]), _mm256_cvtph_ps(h.at[1]));
}

inline __m512 to_floats(__m512i x) {
  const Integers i(x);
  return join<__m512>(_mm256_cvtepi32_ps(i.at[0]), _mm256_cvtepi32_ps(i.at[1]));
}
inline __m512i to_integers(__m512 x) {
  const Floats f(x);
  return join<__m512i>(_mm256_cvtps_epi32(f.at[0]), _mm256_cvtps_epi32(f.at[1]));
}
inline __m512i widened_bytes(__m128i x) {
  return join<__m512i>(_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8)));
}
inline __m512d to_doubles(__m256 x) {
  const Elements<__m128, __m256> f(x);
  return join<__m512d>(_mm256_cvtps_pd(f.at[0]), _mm256_cvtps_pd(f.at[1]));
}
inline __m256 narrowed(__m512d x) {
  const Doubles d(x);
  return join<__m256>(_mm256_cvtpd_ps(d.at[0]), _mm256_cvtpd_ps(d.at[1]));
}
template <int order> __m512 permuted(__m512 x) {
  const Floats f(x);
  return join<__m512>(_mm256_permute_ps(f.at[0], order), _mm256_permute_ps(f.at[1], order));
}

} // namespace stand_in
} // namespace
} // namespace intattn

// Macros: the compiler's header has functions of these names.
#undef _mm512_madd_epi16 // takes four arguments there
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#define _mm512_cvtepu32_ps(x) simde_mm512_cvtepu32_ps(x)
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(a, b, order) simde_mm512_shuffle_f32x4(a, b, order)
#define _mm512_cmpgt_epi16_mask(a, b) ::intattn::stand_in::greater_words(a, b)
#define _mm512_maskz_srlv_epi16(mask, a, count) ::intattn::stand_in::shifted_words(mask, a, count)
#define _mm512_mulhi_epu16(a, b) ::intattn::stand_in::high_products(a, b)
#undef _mm512_cvtps_ph
#define _mm512_cvtps_ph(x, rounding) ::intattn::stand_in::to_half<(rounding)>(x)
#define _mm512_cvtph_ps(x) ::intattn::stand_in::from_half(x)
#define _mm512_cvtepi32_ps(x) ::intattn::stand_in::to_floats(x)
#define _mm512_cvtps_epi32(x) ::intattn::stand_in::to_integers(x)
#define _mm512_cvtepi8_epi32(x) ::intattn::stand_in::widened_bytes(x)
#define _mm512_cvtps_pd(x) ::intattn::stand_in::to_doubles(x)
#define _mm512_cvtpd_ps(x) ::intattn::stand_in::narrowed(x)
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps(x, half) ::intattn::stand_in::Floats(x).at[half]
#undef _mm512_permute_ps
#define _mm512_permute_ps(x, order) ::intattn::stand_in::permuted<(order)>(x)
#define _mm512_maskz_loadu_ps(mask, p) ::intattn::stand_in::load_where<float, __m512>(mask, p)
#define _mm512_maskz_loadu_pd(mask, p) ::intattn::stand_in::load_where<double, __m512d>(mask, p)
#define _mm512_maskz_loadu_epi32(mask, p) ::intattn::stand_in::load_where<std::int32_t, __m512i>(mask, p)
#define _mm512_mask_storeu_ps(p, mask, x) ::intattn::stand_in::store_where<float, __m512>(p, mask, x)
#define _mm512_mask_storeu_pd(p, mask, x) ::intattn::stand_in::store_where<double, __m512d>(p, mask, x)
#define _mm512_mask_storeu_epi32(p, mask, x) ::intattn::stand_in::store_where<std::int32_t, __m512i>(p, mask, x)
#define _mm_mask_storeu_epi8(p, mask, x) ::intattn::stand_in::store_where<std::int8_t, __m128i>(p, mask, x)
#define _mm512_reduce_add_ps(x) ::intattn::stand_in::reduce<float, __m512>(x, [](float a, float b) { return a + b; })
#define _mm512_reduce_max_ps(x)                                                                                        \
  ::intattn::stand_in::reduce<float, __m512>(x, [](float a, float b) { return std::max(a, b); })
#define _mm512_reduce_max_epi32(x)                                                                                     \
  ::intattn::stand_in::reduce<std::int32_t, __m512i>(x, [](std::int32_t a, std::int32_t b) { return std::max(a, b); })
#define _mm512_reduce_max_epu32(x)                                                                                     \
  ::intattn::stand_in::reduce<std::uint32_t, __m512i>(x,                                                               \
                                                      [](std::uint32_t a, std::uint32_t b) { return std::max(a, b); })
