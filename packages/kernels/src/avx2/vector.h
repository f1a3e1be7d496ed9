#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

namespace intattn {
namespace {

/// Eight floats; the vector type of simd/float_rows.h and simd/float_tiles.h.
struct Avx2 {
  using f32 = __m256;
  using i32 = __m256i;
  struct f64x {
    __m256d low, high;
  };
  static constexpr std::size_t width = 8;
  static constexpr int rows = 6, columns = 2;

  /// All ones in the first n lanes of 32 bits.
  static __m256i first(std::size_t n) {
    const int count = n >= width ? int(width) : int(n);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static __m256i first_wide(std::size_t n) {
    const long long count = n >= 4 ? 4 : static_cast<long long>(n);
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
  }

  static f32 set(float x) { return _mm256_set1_ps(x); }
  static f32 load(const float* p) { return _mm256_loadu_ps(p); }
  static f32 load_some(const float* p, std::size_t n) { return n >= width ? load(p) : _mm256_maskload_ps(p, first(n)); }
  static void store(float* p, f32 x) { _mm256_storeu_ps(p, x); }
  static void store_some(float* p, std::size_t n, f32 x) {
    if (n >= width)
      store(p, x);
    else
      _mm256_maskstore_ps(p, first(n), x);
  }
  static f32 load_half(const std::uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static void store_half(std::uint16_t* p, f32 x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static f32 round_to_half(f32 x) {
    return _mm256_cvtph_ps(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static f32 load_int8(const std::int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static f32 load_integers(const std::int32_t* p) {
    return _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static void store_int8(std::int8_t* p, std::size_t n, f32 x) {
    const __m256i q = _mm256_cvtps_epi32(x);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    const __m128i bytes = _mm_packs_epi16(words, words);
    if (n >= width) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
    } else {
      alignas(16) std::int8_t all[16];
      _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes);
      __builtin_memcpy(p, all, n);
    }
  }

  static void store_int8(std::int8_t* p, f32 a, f32 b, f32 c, f32 d) {
    const __m256i words_ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
    const __m256i words_cd = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words_ab, words_cd), order));
  }

  static f32 add(f32 a, f32 b) { return _mm256_add_ps(a, b); }
  static f32 sub(f32 a, f32 b) { return _mm256_sub_ps(a, b); }
  static f32 mul(f32 a, f32 b) { return _mm256_mul_ps(a, b); }
  static f32 fma(f32 a, f32 b, f32 c) { return _mm256_fmadd_ps(a, b, c); }
  static constexpr bool multiplies_by_lane = false;
  static f32 min(f32 a, f32 b) { return _mm256_min_ps(a, b); }
  static f32 max(f32 a, f32 b) { return _mm256_max_ps(a, b); }
  static f32 round(f32 x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static f32 zero_where_less(f32 a, f32 b, f32 x) { return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_NLT_UQ), x); }
  static f32 times_power_of_two(f32 x, f32 n) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23)));
  }
  static float sum(f32 x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static float maximum(f32 x) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }

  template <std::size_t h> static f32 swapped(f32 x) {
    if constexpr (h == 1)
      return _mm256_permute_ps(x, 0xb1);
    else if constexpr (h == 2)
      return _mm256_permute_ps(x, 0x4e);
    else
      return _mm256_permute2f128_ps(x, x, 1);
  }
  template <std::size_t h> static f32 negate_high(f32 x) {
    constexpr int m = int(0x80000000);
    return _mm256_xor_ps(x, _mm256_castsi256_ps(_mm256_setr_epi32(0, h == 1 ? m : 0, h == 2 ? m : 0, h < 4 ? m : 0,
                                                                  h == 4 ? m : 0, h != 2 ? m : 0, h != 1 ? m : 0, m)));
  }

  static i32 zero_bits() { return _mm256_setzero_si256(); }
  static i32 abs_bits(f32 x) { return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff)); }
  static i32 max_bits(i32 a, i32 b) { return _mm256_max_epu32(a, b); }
  static std::uint32_t maximum_bits(i32 x) {
    __m128i s = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    s = _mm_max_epu32(s, _mm_shuffle_epi32(s, 0x4e));
    return std::uint32_t(_mm_cvtsi128_si32(_mm_max_epu32(s, _mm_shuffle_epi32(s, 0xb1))));
  }
  static void raise_bits(std::uint32_t* p, std::size_t n, i32 x) {
    const __m256i m = first(n);
    auto* words = reinterpret_cast<int*>(p);
    _mm256_maskstore_epi32(words, m, _mm256_max_epu32(x, _mm256_maskload_epi32(words, m)));
  }

  static f64x load_wide(const double* p, std::size_t n) {
    return {_mm256_maskload_pd(p, first_wide(n)), _mm256_maskload_pd(p + 4, first_wide(n > 4 ? n - 4 : 0))};
  }
  static void store_wide(double* p, std::size_t n, f64x x) {
    _mm256_maskstore_pd(p, first_wide(n), x.low);
    _mm256_maskstore_pd(p + 4, first_wide(n > 4 ? n - 4 : 0), x.high);
  }
  static f32 narrow(f64x x, double factor) {
    const __m256d f = _mm256_set1_pd(factor);
    return _mm256_set_m128(_mm256_cvtpd_ps(_mm256_mul_pd(x.high, f)), _mm256_cvtpd_ps(_mm256_mul_pd(x.low, f)));
  }
  static f64x add_wide(f64x sum, f32 x) {
    return {_mm256_add_pd(sum.low, _mm256_cvtps_pd(_mm256_castps256_ps128(x))),
            _mm256_add_pd(sum.high, _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)))};
  }
};

} // namespace
} // namespace intattn
