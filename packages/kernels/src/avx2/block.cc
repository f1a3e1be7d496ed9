// Version 2 on AVX2. Products are vpmaddwd of 16-bit operands; `fast` multiplies bytes with vpmaddubsw, which its 7
// bits keep from saturating.

#include "block/block_kernels.h"

#include "avx2/vector.h"
#include "kernels.h"
#include "simd/block_rows.h"
#include "simd/block_softmax.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

constexpr std::size_t lanes = 8;
constexpr int tile_rows = 6;
constexpr int tile_vectors = 2;
constexpr std::size_t tile_columns = tile_vectors * lanes;
constexpr std::size_t key_tiles = block_keys / tile_columns;

__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void store(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

__m256i broadcast4(const void* p) {
  std::int32_t bytes;
  __builtin_memcpy(&bytes, p, 4);
  return _mm256_set1_epi32(bytes);
}

/// Keeps GCC to the order that is written: it would load all factors first and spill the sums.
INTATTN_INLINE inline void pin(__m256i& x) { asm volatile("" : "+x"(x)); }

/// vpackusdw puts keys 4 ... 7 of 16 behind keys 8 ... 11, and the other way around.
std::size_t key_at(std::size_t position) {
  const std::size_t i = position & 12;
  return i == 4 ? position + 4 : i == 8 ? position - 4 : position;
}

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
  static words load(const std::int16_t* p) { return intattn::load(p); }

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

struct WordPlane {
  static void store(unsigned char* plane, const __m256i (&h)[4]) {
    unroll<4>([&](auto i) INTATTN_INLINE { intattn::store(plane + 32 * i, h[i]); });
  }
};

/// Bytes; the quads of 32 keys stand in the order 0, 2, 4, 6, 1, 3, 5, 7.
struct BytePlane {
  static void store(unsigned char* plane, const __m256i (&h)[4]) {
    unroll<2>([&](auto i)
                  INTATTN_INLINE { intattn::store(plane + 32 * i, _mm256_packus_epi16(h[2 * i], h[2 * i + 1])); });
  }
};

/// Products of 16-bit operands, two a lane.
struct WordProducts {
  static constexpr std::size_t depth = 2;
  static constexpr std::size_t element = 2;
  static constexpr std::size_t key_extra = 0;
  using Plane = WordPlane;

  static void pack_query(const void* rows, unsigned bits, std::size_t stride, std::size_t count, std::size_t dim,
                         void* packed) {
    const std::size_t padded = round_up(dim, depth);
    auto* out = static_cast<std::int16_t*>(packed);
    for (std::size_t row = 0; row < count; ++row, out += padded)
      if (bits == 8) {
        const std::int8_t* in = static_cast<const std::int8_t*>(rows) + row * stride;
        for (std::size_t c = 0; c < padded; ++c)
          out[c] = in[c];
      } else {
        __builtin_memcpy(out, static_cast<const std::int16_t*>(rows) + row * stride, 2 * padded);
      }
  }

  static void pack_key(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    for (std::size_t tile = 0; tile < key_tiles; ++tile, rows += tile_columns * stride)
      for (std::size_t c = 0; c < dim; c += depth, packed += 64) {
        alignas(32) std::int8_t pairs[2 * tile_columns];
        for (std::size_t key = 0; key < tile_columns; ++key)
          __builtin_memcpy(pairs + 2 * key, rows + key * stride + c, 2);
        for (int v = 0; v < tile_vectors; ++v)
          store(packed + 32 * v,
                _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(pairs + 16 * v))));
      }
  }

  static void pack_value(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    for (std::size_t column = 0; column < round_up(dim, lanes); column += tile_columns) {
      const bool both = round_up(dim, lanes) - column > lanes;
      for (std::size_t pair = 0; pair < block_keys / 2; ++pair) {
        const std::int8_t* source = rows + key_at(2 * pair) * stride + column;
        const __m128i even = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
        const __m128i odd = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + stride));
        store(packed, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(even, odd)));
        packed += 32;
        if (both) {
          store(packed, _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(even, odd)));
          packed += 32;
        }
      }
    }
  }

  template <int R> INTATTN_INLINE static void start(const unsigned char*, __m256i (&sum)[R * tile_vectors]) {
    unroll<R * tile_vectors>([&](auto i) INTATTN_INLINE { sum[i] = _mm256_setzero_si256(); });
  }
  INTATTN_INLINE static __m256i multiply(__m256i sum, __m256i factor, __m256i line) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(factor, line));
  }

  static void unpack(const void* plane, std::uint16_t* out) {
    for (std::size_t position = 0; position < block_keys; ++position)
      __builtin_memcpy(out + key_at(position), static_cast<const unsigned char*>(plane) + 2 * position, 2);
  }
};

/// Products of bytes, four a lane: unsigned queries q + 128 with keys of 7 bits, planes of 7 bits with values.
struct ByteProducts {
  static constexpr std::size_t depth = 4;
  static constexpr std::size_t element = 1;
  /// Behind the keys of a block: -128 times the sum of each.
  static constexpr std::size_t key_extra = block_keys * sizeof(std::int32_t);
  using Plane = BytePlane;

  static void pack_query(const void* rows, unsigned, std::size_t stride, std::size_t count, std::size_t dim,
                         void* packed) {
    const std::size_t padded = round_up(dim, depth);
    auto* out = static_cast<std::uint8_t*>(packed);
    for (std::size_t row = 0; row < count; ++row, out += padded)
      for (std::size_t c = 0; c < padded; ++c)
        out[c] = std::uint8_t(static_cast<const std::int8_t*>(rows)[row * stride + c] + 128);
  }

  static void pack_key(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    auto* sums = packed + block_keys * round_up(dim, depth);
    for (std::size_t key = 0; key < block_keys; ++key) {
      std::int32_t sum = 0;
      for (std::size_t c = 0; c < dim; ++c)
        sum += rows[key * stride + c];
      sum *= -128;
      __builtin_memcpy(sums + 4 * key, &sum, 4);
    }
    for (std::size_t tile = 0; tile < key_tiles; ++tile, rows += tile_columns * stride)
      for (std::size_t c = 0; c < dim; c += depth)
        for (std::size_t key = 0; key < tile_columns; ++key, packed += 4)
          __builtin_memcpy(packed, rows + key * stride + c, 4);
  }

  /// The first key of the quad that stands at this place of a plane.
  static std::size_t quad_key(std::size_t place) {
    const std::size_t i = place & 7;
    return 32 * (place >> 3) + 4 * (i < 4 ? 2 * i : 2 * i - 7);
  }

  static void pack_value(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    for (std::size_t column = 0; column < round_up(dim, lanes); column += tile_columns) {
      const std::size_t columns = round_up(dim, lanes) - column > lanes ? tile_columns : lanes;
      for (std::size_t place = 0; place < block_keys / 4; ++place) {
        const std::int8_t* source = rows + quad_key(place) * stride + column;
        const auto row = [&](std::size_t i) {
          return _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + i * stride));
        };
        const __m128i r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3);
        const __m128i low01 = _mm_unpacklo_epi8(r0, r1), low23 = _mm_unpacklo_epi8(r2, r3);
        const __m128i high01 = _mm_unpackhi_epi8(r0, r1), high23 = _mm_unpackhi_epi8(r2, r3);
        const __m128i quads[4] = {_mm_unpacklo_epi16(low01, low23), _mm_unpackhi_epi16(low01, low23),
                                  _mm_unpacklo_epi16(high01, high23), _mm_unpackhi_epi16(high01, high23)};
        __builtin_memcpy(packed, quads, 4 * columns);
        packed += 4 * columns;
      }
    }
  }

  template <int R> INTATTN_INLINE static void start(const unsigned char* sums, __m256i (&sum)[R * tile_vectors]) {
    if (!sums)
      return WordProducts::start<R>(nullptr, sum);
    unroll<R, tile_vectors>([&](auto r, auto c) INTATTN_INLINE { sum[r * tile_vectors + c] = load(sums + 32 * c); });
  }
  INTATTN_INLINE static __m256i multiply(__m256i sum, __m256i factor, __m256i line) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(factor, line), _mm256_set1_epi16(1)));
  }

  static void unpack(const void* plane, std::uint16_t* out) {
    for (std::size_t i = 0; i < block_keys; ++i)
      out[quad_key(i / 4) + i % 4] = static_cast<const unsigned char*>(plane)[i];
  }
};

template <class P> struct Products {
  static constexpr std::size_t line = 32; ///< bytes of a vector

  static std::size_t query_bytes(std::size_t dim) { return round_up(dim, P::depth) * P::element; }
  static std::size_t key_block(std::size_t dim) {
    return block_keys * round_up(dim, P::depth) * P::element + P::key_extra;
  }
  static std::size_t value_block(std::size_t dim) { return block_keys * round_up(dim, lanes) * P::element; }

  /// sum[R][C vectors] += A[R][depth * groups] B[groups][C vectors]
  template <int R, int C>
  INTATTN_INLINE static void multiply(const unsigned char* a, std::size_t a_stride, const unsigned char* b,
                                      std::size_t groups, __m256i (&sum)[R * C]) {
    for (std::size_t g = 0; g < groups; ++g, a += 4, b += C * line) {
      __m256i vectors[C];
      unroll<C>([&](auto c) INTATTN_INLINE {
        vectors[c] = load(b + c * line);
        pin(vectors[c]);
      });
      unroll<R>([&](auto r) INTATTN_INLINE {
        __m256i factor = broadcast4(a + std::size_t(r) * a_stride);
        pin(factor);
        unroll<C>([&](auto c) INTATTN_INLINE {
          sum[r * C + c] = P::multiply(sum[r * C + c], factor, vectors[c]);
          pin(sum[r * C + c]);
        });
      });
    }
  }

  template <int R>
  __attribute__((noinline)) static void score_tile(const unsigned char* query, const unsigned char* keys,
                                                   std::size_t groups, const unsigned char* key_sums,
                                                   const float* key_scale, const float* unit, float* out,
                                                   std::size_t stride, float* lane_max) {
    __m256i sum[R * tile_vectors];
    P::template start<R>(key_sums, sum);
    multiply<R, tile_vectors>(query, groups * 4, keys, groups, sum);
    const __m256 scale[tile_vectors] = {_mm256_loadu_ps(key_scale), _mm256_loadu_ps(key_scale + lanes)};
    unroll<R>([&](auto i) INTATTN_INLINE {
      const __m256 of_row = _mm256_broadcast_ss(unit + i);
      __m256 x[tile_vectors];
      unroll<tile_vectors>([&](auto c) INTATTN_INLINE {
        x[c] = _mm256_mul_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum[i * tile_vectors + c]), scale[c]), of_row);
        _mm256_storeu_ps(out + std::size_t(c) * lanes, x[c]);
      });
      out += stride;
      if (lane_max) {
        _mm256_storeu_ps(lane_max, _mm256_max_ps(_mm256_max_ps(x[0], x[1]), _mm256_loadu_ps(lane_max)));
        lane_max += maximum_lanes;
      }
    });
  }

  static void scores(const ScoreTask& task) {
    const std::size_t groups = divide_up(task.dim, P::depth), stride = query_bytes(task.dim);
    const std::size_t block_bytes = key_block(task.dim), tile_bytes = groups * tile_vectors * line;
    const auto* query = static_cast<const unsigned char*>(task.query);
    for (std::size_t block = task.block_begin; block < task.block_end; ++block)
      for (std::size_t tile = 0; tile < key_tiles; ++tile) {
        const unsigned char* keys = task.keys + block * block_bytes + tile * tile_bytes;
        const unsigned char* sums =
            P::key_extra ? task.keys + (block + 1) * block_bytes - P::key_extra + tile * tile_columns * 4 : nullptr;
        const std::size_t column = block * block_keys + tile * tile_columns;
        in_steps<tile_rows>(task.rows, [&](std::size_t row, auto r) {
          constexpr int R = decltype(r)::value;
          score_tile<R>(query + row * stride, keys, groups, sums, task.key_scale + column, task.unit + row,
                        task.x + row * task.stride + column, task.stride,
                        task.lane_max ? task.lane_max + row * maximum_lanes : nullptr);
        });
      }
  }

  /// One register tile over the 64 keys of a block. A function of its own, in which GCC finds registers for all sums.
  template <int R, int C>
  __attribute__((noinline)) static void value_tile(const unsigned char* planes, std::size_t plane_stride,
                                                   const unsigned char* values, const float* factor,
                                                   std::size_t factor_stride, float* out, std::size_t stride) {
    __m256i sum[R * C];
    unroll<R * C>([&](auto i) INTATTN_INLINE { sum[i] = _mm256_setzero_si256(); });
    multiply<R, C>(planes, plane_stride, values, block_keys / P::depth, sum);
    unroll<R>([&](auto i) INTATTN_INLINE {
      const __m256 f = _mm256_broadcast_ss(factor);
      unroll<C>([&](auto j) INTATTN_INLINE {
        float* to = out + std::size_t(j) * lanes;
        _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[i * C + j]), f, _mm256_loadu_ps(to)));
      });
      factor += factor_stride;
      out += stride;
    });
  }

  static void values(const ValueTask& task) {
    const std::size_t padded = round_up(task.dim, lanes), block_bytes = value_block(task.dim);
    for (std::size_t row = 0; row < task.rows; ++row)
      __builtin_memset(task.sum + row * task.stride, 0, padded * sizeof(float));
    for (std::size_t block = task.block_begin; block < task.block_end; ++block) {
      const auto* planes = static_cast<const unsigned char*>(task.planes) + block * block_keys * sizeof(float);
      in_steps<tile_rows>(task.rows, [&](std::size_t row, auto r) {
        constexpr int R = decltype(r)::value;
        __m256 any = _mm256_setzero_ps();
        unroll<R>([&](auto i) INTATTN_INLINE {
          any = _mm256_or_ps(any,
                             _mm256_broadcast_ss(task.factor + (row + std::size_t(i)) * task.factor_stride + block));
        });
        if (_mm256_testz_si256(_mm256_castps_si256(any), _mm256_castps_si256(any)))
          return;
        const float* factors = task.factor + row * task.factor_stride + block;
        for (std::size_t column = 0; column < padded; column += tile_columns)
          with_constant<tile_vectors>(padded - column < tile_columns ? 1 : tile_vectors, [&](auto c) {
            value_tile<R, decltype(c)::value>(planes + row * task.plane_stride, task.plane_stride,
                                              task.values + block * block_bytes + column * block_keys * P::element,
                                              factors, task.factor_stride,
                                              task.sum + row * task.stride + column, task.stride);
          });
      });
    }
  }

  static constexpr BlockProducts table() {
    BlockProducts p = {};
    p.row_tile = tile_rows;
    p.column_group = lanes;
    p.query_bytes = query_bytes;
    p.key_block = key_block;
    p.value_block = value_block;
    p.pack_query = P::pack_query;
    p.pack_key = P::pack_key;
    p.pack_value = P::pack_value;
    p.scores = scores;
    p.softmax = block_softmax<Avx2Words, typename P::Plane>;
    p.values = values;
    p.unpack = P::unpack;
    return p;
  }
};

constexpr BlockProducts word_products = Products<WordProducts>::table(),
                        byte_products = Products<ByteProducts>::table();

constexpr BlockKernels table() {
  BlockKernels k = {};
  k.key_at = key_at;
  k.butterflies = BlockRows<Avx2>::butterflies;
  k.multiply = BlockRows<Avx2>::multiply;
  k.subtract = BlockRows<Avx2>::subtract;
  k.scale = BlockRows<Avx2>::scale;
  k.maximum = BlockRows<Avx2>::maximum;
  k.quantize = BlockRows<Avx2>::quantize;
  k.narrow = &byte_products;
  k.words = &word_products;
  return k;
}

constexpr BlockKernels kernels = table();

} // namespace

const BlockKernels* avx2_block_kernels() { return &kernels; }

} // namespace intattn
