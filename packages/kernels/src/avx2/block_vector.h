#pragma once

// Vectors of 256 bits for x86/block_products.h and simd/block_softmax.h.

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#include "block/block_kernels.h"
#include "simd/unroll.h"

namespace intattn {
namespace { // compiled anew for each instruction set

/// Sixteen words; the type of simd/block_softmax.h.
struct Avx2Words {
  using words = __m256i;
  static constexpr std::size_t lanes = 16;

  static __m256 broadcast(float x) { return _mm256_set1_ps(x); }
  static __m256i distance(const float* x, __m256 max) {
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_sub_ps(max, _mm256_loadu_ps(x)), _mm256_set1_ps(65535)));
  }
  static words distances(const float* x, __m256 max) {
    return _mm256_packus_epi32(distance(x, max), distance(x + 8, max));
  }
  static words min(words a, words b) { return _mm256_min_epu16(a, b); }
  static words max(words a, words b) { return _mm256_max_epu16(a, b); }
  static unsigned minimum(words a) {
    return unsigned(_mm_extract_epi16(
        _mm_minpos_epu16(_mm_min_epu16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1))), 0));
  }
  static unsigned maximum(words a) { return 0xffff ^ minimum(_mm256_xor_si256(a, _mm256_set1_epi16(-1))); }
  static words zero() { return _mm256_setzero_si256(); }
  static words load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static void store(void* p, words x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

  /// 2^(15 - n) as unsigned words, n = 0 ... 15 in both bytes of each word; 0 beyond.
  static words power(words n) {
    const __m256i table =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(char(128), 64, 32, 16, 8, 4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i index = _mm256_xor_si256(n, _mm256_set1_epi16(8));
    return _mm256_shuffle_epi8(table, _mm256_adds_epu8(index, _mm256_set1_epi8(0x70)));
  }
  static words both_bytes(words n) {
    return _mm256_shuffle_epi8(
        n, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14)));
  }

  static int fold(const ValueScales& scales, const float* x, words (&folded)[4]) {
    words counts[4], exponent[4], top = _mm256_set1_epi16(no_exponent);
    unroll<4>([&](auto i) INTATTN_INLINE {
      const __m256 lowest = _mm256_set1_ps(-__builtin_inff());
      const auto visible = [&](const float* p) INTATTN_INLINE {
        return _mm256_castps_si256(_mm256_cmp_ps(_mm256_loadu_ps(p), lowest, _CMP_GT_OQ));
      };
      folded[i] = load(scales.mantissa + 16 * i);
      counts[i] = _mm256_and_si256(_mm256_packs_epi32(visible(x + 16 * i), visible(x + 16 * i + 8)),
                                   _mm256_cmpgt_epi16(folded[i], zero()));
      exponent[i] = load(scales.exponent + 16 * i);
      top = _mm256_max_epi16(top, _mm256_blendv_epi8(_mm256_set1_epi16(no_exponent), exponent[i], counts[i]));
    });
    const int z = int(maximum(_mm256_xor_si256(top, _mm256_set1_epi16(no_exponent)))) + no_exponent;
    unroll<4>([&](auto i) INTATTN_INLINE {
      const words distance =
          _mm256_min_epu16(_mm256_sub_epi16(_mm256_set1_epi16(short(z)), exponent[i]), _mm256_set1_epi16(15));
      const words doubled = _mm256_slli_epi16(_mm256_and_si256(folded[i], counts[i]), 1);
      folded[i] = _mm256_mulhi_epu16(doubled, power(both_bytes(distance)));
    });
    return z;
  }

  /// (m + 2^r) >> (r + 1) is m times 2^(14 - r), rounded by vpmulhrsw.
  static words weight(words d, unsigned exponent) {
    const words f = _mm256_and_si256(_mm256_slli_epi16(d, 5), _mm256_set1_epi16(0x7fe0));
    const words inner = _mm256_sub_epi16(_mm256_set1_epi16(21948), mulhrs(f, _mm256_set1_epi16(5664)));
    const words m = _mm256_sub_epi16(_mm256_set1_epi16(32640), mulhrs(f, inner));
    const words count = _mm256_sub_epi16(_mm256_srli_epi16(d, 10), _mm256_set1_epi16(short(int(exponent) - 1)));
    return mulhrs(m, power(both_bytes(count)));
  }
  static words mulhrs(words a, words b) { return _mm256_mulhrs_epi16(a, b); }

  static __m256i no_sum() { return zero(); }
  static __m256i add_up(__m256i sum, words w) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(w, _mm256_set1_epi16(1)));
  }
  static std::uint32_t total(__m256i x) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return std::uint32_t(_mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1))));
  }

  static auto rounding(unsigned shift, int limit) {
    const __m128i count = _mm_cvtsi32_si128(int(shift));
    const words half = _mm256_set1_epi16(short((1u << shift) >> 1)), most = _mm256_set1_epi16(short(limit));
    return [=](words u)
               INTATTN_INLINE { return _mm256_min_epi16(_mm256_srl_epi16(_mm256_add_epi16(u, half), count), most); };
  }
};

struct Ymm {
  using integers = __m256i;
  using floats = __m256;
  using words = __m256i;
  using Softmax = Avx2Words;
  static constexpr std::size_t lanes = 8;
  static constexpr int tile_rows = 6, tile_vectors = 2;

  /// vpackusdw puts keys 4 ... 7 of 16 behind keys 8 ... 11, and the other way around.
  static std::size_t key_at(std::size_t position) {
    const std::size_t i = position & 12;
    return i == 4 ? position + 4 : i == 8 ? position - 4 : position;
  }
  /// The first key of the quad that stands at this place of a plane of bytes: of 32 keys 0, 2, 4, 6, 1, 3, 5, 7.
  static std::size_t quad_key(std::size_t place) {
    const std::size_t i = place & 7;
    return 32 * (place >> 3) + 4 * (i < 4 ? 2 * i : 2 * i - 7);
  }
  static words to_bytes(words a, words b) { return _mm256_packus_epi16(a, b); }

  static integers zero() { return _mm256_setzero_si256(); }
  static integers load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static integers broadcast4(const void* p) {
    std::int32_t bytes;
    __builtin_memcpy(&bytes, p, 4);
    return _mm256_set1_epi32(bytes);
  }
  /// In place: GCC would add into another register and copy it back.
  INTATTN_INLINE static void accumulate(integers& sum, integers x) {
    asm volatile("vpaddd %1, %0, %0" : "+x"(sum) : "x"(x));
  }
  static integers multiply_words(integers a, integers b) { return _mm256_madd_epi16(a, b); }
  /// Keeps GCC to the order that is written: it would load all factors first and spill the sums.
  INTATTN_INLINE static void pin(integers& x) { asm volatile("" : "+x"(x)); }

  static floats load_floats(const float* p) { return _mm256_loadu_ps(p); }
  static void store_floats(float* p, floats x) { _mm256_storeu_ps(p, x); }
  static floats broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  static floats to_floats(integers x) { return _mm256_cvtepi32_ps(x); }
  static floats mul(floats a, floats b) { return _mm256_mul_ps(a, b); }
  static floats max(floats a, floats b) { return _mm256_max_ps(a, b); }
  static floats multiply_add(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }
};

} // namespace
} // namespace intattn
