// Version 2 on AVX2. Products are vpmaddwd of 16-bit operands; those of 7 bits multiply bytes with vpmaddubsw, which
// they cannot saturate.

#include "avx2/block_vector.h"
#include "avx2/pair_products.h"
#include "avx2/vector.h"
#include "simd/block_rows.h"
#include "x86/block_products.h"

namespace intattn {
namespace {

struct SevenBits {
  INTATTN_INLINE static void accumulate(__m256i& sum, __m256i factor, __m256i line) {
    Ymm::accumulate(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(factor, line), _mm256_set1_epi16(1)));
  }
};

constexpr BlockProducts words = Products<Ymm, WordProducts<Ymm>>::table();
constexpr BlockProducts narrow = Products<Ymm, ByteProducts<Ymm, SevenBits>>::table();

constexpr BlockProducts pairs = PairProducts::table();

constexpr BlockKernels table() {
  BlockKernels k = BlockRows<Avx2>::kernels();
  k.key_at = Ymm::key_at;
  k.pages = &pairs;
  k.pages_dim = PairProducts::most_dim;
  k.narrow = &narrow;
  k.words = &words;
  return k;
}

constexpr BlockKernels kernels = table();

} // namespace

const BlockKernels* avx2_block_kernels() { return &kernels; }

} // namespace intattn
