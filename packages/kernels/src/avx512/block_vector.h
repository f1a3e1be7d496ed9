#pragma once

// Vectors of 512 bits for x86/block_products.h and simd/block_softmax.h.

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#include "block/block_kernels.h"
#include "simd/unroll.h"

namespace intattn {
namespace { // compiled anew for each instruction set

/// Thirty-two words; the type of simd/block_softmax.h.
struct Avx512Words {
  using words = __m512i;
  static constexpr std::size_t lanes = 32;

  static __m512 broadcast(float x) { return _mm512_set1_ps(x); }
  static __m512i distance(const float* x, __m512 max) {
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_sub_ps(max, _mm512_loadu_ps(x)), _mm512_set1_ps(65535)));
  }
  static words distances(const float* x, __m512 max) {
    return _mm512_packus_epi32(distance(x, max), distance(x + 16, max));
  }
  static words min(words a, words b) { return _mm512_min_epu16(a, b); }
  static words max(words a, words b) { return _mm512_max_epu16(a, b); }
  static unsigned minimum(words a) {
    const __m256i half = _mm256_min_epu16(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    return unsigned(_mm_extract_epi16(
        _mm_minpos_epu16(_mm_min_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1))), 0));
  }
  static unsigned maximum(words a) { return 0xffff ^ minimum(_mm512_xor_si512(a, _mm512_set1_epi16(-1))); }
  static words zero() { return _mm512_setzero_si512(); }
  static words load(const void* p) { return _mm512_loadu_si512(p); }
  static void store(void* p, words x) { _mm512_storeu_si512(p, x); }

  static int fold(const ValueScales& scales, const float* x, words (&folded)[2]) {
    __mmask32 counts[2];
    words exponent[2], top = _mm512_set1_epi16(no_exponent);
    unroll<2>([&](auto i) INTATTN_INLINE {
      const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
      const auto visible = [&](const float* p) INTATTN_INLINE {
        return _mm512_movm_epi32(_mm512_cmp_ps_mask(_mm512_loadu_ps(p), lowest, _CMP_GT_OQ));
      };
      folded[i] = load(scales.mantissa + lanes * i);
      counts[i] = _mm512_movepi16_mask(_mm512_packs_epi32(visible(x + lanes * i), visible(x + lanes * i + lanes / 2))) &
                  _mm512_cmpgt_epi16_mask(folded[i], zero());
      exponent[i] = load(scales.exponent + lanes * i);
      top = _mm512_mask_max_epi16(top, counts[i], top, exponent[i]);
    });
    const int z = int(maximum(_mm512_xor_si512(top, _mm512_set1_epi16(no_exponent)))) + no_exponent;
    unroll<2>([&](auto i) INTATTN_INLINE {
      folded[i] =
          _mm512_maskz_srlv_epi16(counts[i], folded[i], _mm512_sub_epi16(_mm512_set1_epi16(short(z)), exponent[i]));
    });
    return z;
  }

  /// (m + 2^r) >> (r + 1) is the rounded average of m >> r and 0.
  static words weight(words d, unsigned exponent) {
    const words f = _mm512_and_si512(_mm512_slli_epi16(d, 5), _mm512_set1_epi16(0x7fe0));
    const words inner = _mm512_sub_epi16(_mm512_set1_epi16(21948), mulhrs(f, _mm512_set1_epi16(5664)));
    const words m = _mm512_sub_epi16(_mm512_set1_epi16(32640), mulhrs(f, inner));
    const words r = _mm512_sub_epi16(_mm512_srli_epi16(d, 10), _mm512_set1_epi16(short(exponent)));
    return _mm512_avg_epu16(_mm512_srlv_epi16(m, r), zero());
  }
  static words mulhrs(words a, words b) { return _mm512_mulhrs_epi16(a, b); }

  static __m512i no_sum() { return zero(); }
  static __m512i add_up(__m512i sum, words w) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(w, _mm512_set1_epi16(1)));
  }
  static std::uint32_t total(__m512i x) {
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return std::uint32_t(_mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1))));
  }

  static auto rounding(unsigned shift, int limit) {
    const __m128i count = _mm_cvtsi32_si128(int(shift));
    const words half = _mm512_set1_epi16(short((1u << shift) >> 1)), most = _mm512_set1_epi16(short(limit));
    return [=](words u)
               INTATTN_INLINE { return _mm512_min_epi16(_mm512_srl_epi16(_mm512_add_epi16(u, half), count), most); };
  }
};

struct Zmm {
  using integers = __m512i;
  using floats = __m512;
  using words = __m512i;
  using Softmax = Avx512Words;
  static constexpr std::size_t lanes = 16;
  static constexpr int tile_rows = 6, tile_vectors = 4;

  /// Of 32 keys, eight words of each quarter of a vector hold four from the first and four from the second half.
  static std::size_t key_at(std::size_t position) {
    const std::size_t i = position & 31, within = i & 7, quad = 4 * (i >> 3);
    return (position & ~std::size_t{31}) + quad + (within < 4 ? within : within + 12);
  }
  /// The first key of the quad that stands at this place of a plane of bytes.
  static std::size_t quad_key(std::size_t place) { return 16 * (place & 3) + 4 * (place >> 2); }
  static words to_bytes(words a, words b) { return _mm512_packus_epi16(a, b); }

  static integers zero() { return _mm512_setzero_si512(); }
  static integers load(const void* p) { return _mm512_loadu_si512(p); }
  static integers broadcast4(const void* p) {
    std::int32_t bytes;
    __builtin_memcpy(&bytes, p, 4);
    return _mm512_set1_epi32(bytes);
  }
  INTATTN_INLINE static void accumulate(integers& sum, integers x) {
    sum = _mm512_add_epi32(sum, x);
    pin(sum);
  }
  static integers multiply_words(integers a, integers b) { return _mm512_madd_epi16(a, b); }
  /// Keeps GCC to the order that is written, and from loading what it has in a register.
  INTATTN_INLINE static void pin([[maybe_unused]] integers& x) {
#if !INTATTN_STAND_IN
    asm volatile("" : "+v"(x));
#endif
  }

  static floats load_floats(const float* p) { return _mm512_loadu_ps(p); }
  static void store_floats(float* p, floats x) { _mm512_storeu_ps(p, x); }
  static floats broadcast(const float* p) { return _mm512_set1_ps(*p); }
  static floats to_floats(integers x) { return _mm512_cvtepi32_ps(x); }
  static floats mul(floats a, floats b) { return _mm512_mul_ps(a, b); }
  static floats max(floats a, floats b) { return _mm512_max_ps(a, b); }
  static floats multiply_add(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }
};

} // namespace
} // namespace intattn
