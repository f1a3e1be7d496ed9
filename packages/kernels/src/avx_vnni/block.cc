// Version 2 on AVX2 with VNNI in vectors of 256 bits: Intel's clients since Alder Lake, Zen 5.

#include "avx2/block_vector.h"
#include "avx2/vector.h"
#include "simd/block_rows.h"
#include "x86/block_products.h"

namespace intattn {
namespace {

struct Vnni {
  INTATTN_INLINE static void accumulate(__m256i& sum, __m256i factor, __m256i line) {
#if INTATTN_STAND_IN
    // Even and odd bytes as words: what the instruction adds up, on every CPU with AVX2.
    const __m256i low = _mm256_madd_epi16(_mm256_and_si256(factor, _mm256_set1_epi16(255)),
                                          _mm256_srai_epi16(_mm256_slli_epi16(line, 8), 8));
    const __m256i high = _mm256_madd_epi16(_mm256_srli_epi16(factor, 8), _mm256_srai_epi16(line, 8));
    Ymm::accumulate(sum, _mm256_add_epi32(low, high));
#else
    sum = _mm256_dpbusd_avx_epi32(sum, factor, line);
    Ymm::pin(sum);
#endif
  }
};

constexpr BlockProducts words = Products<Ymm, WordProducts<Ymm>>::table();
constexpr BlockProducts bytes = Products<Ymm, ByteProducts<Ymm, Vnni>>::table();

constexpr BlockKernels table() {
  BlockKernels k = BlockRows<Avx2>::kernels();
  k.key_at = Ymm::key_at;
  k.bytes = &bytes;
  k.words = &words;
  return k;
}

constexpr BlockKernels kernels = table();

} // namespace

const BlockKernels* avx_vnni_block_kernels() { return &kernels; }

} // namespace intattn
