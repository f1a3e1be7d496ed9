// Version 2 on AVX-512 with VNNI.

#include "avx512/block_vector.h"
#include "avx512/vector.h"
#include "simd/block_rows.h"
#include "x86/block_products.h"

namespace intattn {
namespace {

struct Vnni {
  INTATTN_INLINE static void accumulate(__m512i& sum, __m512i factor, __m512i line) {
    sum = _mm512_dpbusd_epi32(sum, factor, line);
    Zmm::pin(sum);
  }
};

constexpr BlockProducts words = Products<Zmm, WordProducts<Zmm>>::table();
constexpr BlockProducts bytes = Products<Zmm, ByteProducts<Zmm, Vnni>>::table();

constexpr BlockKernels table() {
  BlockKernels k = BlockRows<Avx512>::kernels();
  k.key_at = Zmm::key_at;
  k.bytes = &bytes;
  k.words = &words;
  return k;
}

constexpr BlockKernels kernels = table();

} // namespace

const BlockKernels* avx512vnni_block_kernels() { return &kernels; }

} // namespace intattn
