#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace intattn {
namespace {

/// Sixteen floats; the vector type of simd/float_rows.h and simd/float_tiles.h.
struct Avx512 {
  using f32 = __m512;
  using i32 = __m512i;
  struct f64x {
    __m512d low, high;
  };
  static constexpr std::size_t width = 16;
  static constexpr int rows = 6, columns = 4;

  static __mmask16 first(std::size_t n) { return n >= width ? __mmask16(0xffff) : __mmask16((1u << n) - 1); }

  static f32 set(float x) { return _mm512_set1_ps(x); }
  static f32 load(const float* p) { return _mm512_loadu_ps(p); }
  static f32 load_some(const float* p, std::size_t n) {
    return n >= width ? load(p) : _mm512_maskz_loadu_ps(first(n), p);
  }
  static void store(float* p, f32 x) { _mm512_storeu_ps(p, x); }
  static void store_some(float* p, std::size_t n, f32 x) {
    if (n >= width)
      store(p, x);
    else
      _mm512_mask_storeu_ps(p, first(n), x);
  }
  static f32 load_half(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static void store_half(std::uint16_t* p, f32 x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static f32 round_to_half(f32 x) {
    return _mm512_cvtph_ps(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static f32 load_int8(const std::int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static f32 load_integers(const std::int32_t* p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
  static void store_int8(std::int8_t* p, std::size_t n, f32 x) {
    const __m128i bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x));
    if (n >= width)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
    else
      _mm_mask_storeu_epi8(p, first(n), bytes);
  }

  static void store_int8(std::int8_t* p, f32 a, f32 b, f32 c, f32 d) {
    const __m512i words_ab = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
    const __m512i words_cd = _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, _mm512_packs_epi16(words_ab, words_cd)));
  }

  static f32 add(f32 a, f32 b) { return _mm512_add_ps(a, b); }
  static f32 sub(f32 a, f32 b) { return _mm512_sub_ps(a, b); }
  static f32 mul(f32 a, f32 b) { return _mm512_mul_ps(a, b); }
  static f32 fma(f32 a, f32 b, f32 c) { return _mm512_fmadd_ps(a, b, c); }
  static constexpr bool multiplies_by_lane = false;
  static f32 min(f32 a, f32 b) { return _mm512_min_ps(a, b); }
  static f32 max(f32 a, f32 b) { return _mm512_max_ps(a, b); }
  static f32 round(f32 x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static f32 zero_where_less(f32 a, f32 b, f32 x) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ), x);
  }
  static f32 times_power_of_two(f32 x, f32 n) { return _mm512_scalef_ps(x, n); }
  static float sum(f32 x) { return _mm512_reduce_add_ps(x); }
  static float maximum(f32 x) { return _mm512_reduce_max_ps(x); }

  template <std::size_t h> static f32 swapped(f32 x) {
    if constexpr (h == 1)
      return _mm512_permute_ps(x, 0xb1);
    else if constexpr (h == 2)
      return _mm512_permute_ps(x, 0x4e);
    else
      return _mm512_shuffle_f32x4(x, x, h == 4 ? 0xb1 : 0x4e);
  }
  template <std::size_t h> static f32 negate_high(f32 x) {
    constexpr __mmask16 high = h == 1 ? 0xaaaa : h == 2 ? 0xcccc : h == 4 ? 0xf0f0 : 0xff00;
    const __m512i bits = _mm512_castps_si512(x);
    return _mm512_castsi512_ps(_mm512_mask_xor_epi32(bits, high, bits, _mm512_set1_epi32(int(0x80000000))));
  }

  static i32 zero_bits() { return _mm512_setzero_si512(); }
  static i32 abs_bits(f32 x) { return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)); }
  static i32 max_bits(i32 a, i32 b) { return _mm512_max_epu32(a, b); }
  static std::uint32_t maximum_bits(i32 x) { return _mm512_reduce_max_epu32(x); }
  static void raise_bits(std::uint32_t* p, std::size_t n, i32 x) {
    _mm512_mask_storeu_epi32(p, first(n), _mm512_max_epu32(x, _mm512_maskz_loadu_epi32(first(n), p)));
  }

  static f64x load_wide(const double* p, std::size_t n) {
    const __mmask16 m = first(n);
    return {_mm512_maskz_loadu_pd(__mmask8(m), p), _mm512_maskz_loadu_pd(__mmask8(m >> 8), p + 8)};
  }
  static void store_wide(double* p, std::size_t n, f64x x) {
    const __mmask16 m = first(n);
    _mm512_mask_storeu_pd(p, __mmask8(m), x.low);
    _mm512_mask_storeu_pd(p + 8, __mmask8(m >> 8), x.high);
  }
  static f32 narrow(f64x x, double factor) {
    const __m512d f = _mm512_set1_pd(factor);
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(_mm512_mul_pd(x.low, f))),
                              _mm512_cvtpd_ps(_mm512_mul_pd(x.high, f)), 1);
  }
  static f64x add_wide(f64x sum, f32 x) {
    return {_mm512_add_pd(sum.low, _mm512_cvtps_pd(_mm512_castps512_ps256(x))),
            _mm512_add_pd(sum.high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)))};
  }
};

} // namespace
} // namespace intattn
