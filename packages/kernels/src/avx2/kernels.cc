// AVX2 has no exact 8-bit dot product (vpmaddubsw saturates), so operands are packed as 16 bits and multiplied with
// vpmaddwd.

#include "kernels.h"
#include "avx2/vector.h"
#include "simd/float_rows.h"
#include "simd/float_tiles.h"
#include "simd/softmax_rows.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

constexpr std::size_t lanes = 8;
constexpr int tile_rows = 6;
constexpr int tile_vectors = 2;
constexpr std::size_t key_tile = tile_vectors * lanes;
constexpr std::size_t depth_group = 2;
/// Keys per pass over the accumulators: the slice of V stays in L1.
constexpr std::size_t key_block = 256;

__m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void store(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

__m256i broadcast_pair(const std::int16_t* p) {
  std::int32_t pair;
  __builtin_memcpy(&pair, p, 4);
  return _mm256_set1_epi32(pair);
}

/// sum[R][C vectors] += A[R][2 * groups] B[groups][C vectors of 8 x 2 words]
template <int R, int C>
INTATTN_INLINE inline void multiply(const std::int16_t* a, std::size_t a_stride, const std::int16_t* b,
                                    std::size_t groups, __m256i (&sum)[R * C]) {
  for (std::size_t g = 0; g < groups; ++g, a += 2, b += C * 16) {
    __m256i line[C];
    unroll<C>([&](auto c) INTATTN_INLINE { line[c] = load(b + c * 16); });
    unroll<R>([&](auto r) INTATTN_INLINE {
      const __m256i factor = broadcast_pair(a + std::size_t(r) * a_stride);
      unroll<C>([&](auto c) INTATTN_INLINE {
        sum[r * C + c] = _mm256_add_epi32(sum[r * C + c], _mm256_madd_epi16(factor, line[c]));
      });
    });
  }
}

void pack_query(const std::int8_t* rows, std::size_t stride, std::size_t count, std::size_t dim, void* packed) {
  const std::size_t depth = round_up(dim, depth_group);
  auto* out = static_cast<std::int16_t*>(packed);
  for (std::size_t row = 0; row < count; ++row)
    for (std::size_t k = 0; k < depth; ++k)
      out[row * depth + k] = rows[row * stride + k];
}

void pack_key(const std::int8_t* rows, std::size_t stride, std::size_t dim, void* packed_tile) {
  auto* out = static_cast<std::int16_t*>(packed_tile);
  for (std::size_t g = 0; g < divide_up(dim, depth_group); ++g) {
    alignas(32) std::int8_t pairs[2 * key_tile];
    for (std::size_t key = 0; key < key_tile; ++key)
      __builtin_memcpy(pairs + 2 * key, rows + key * stride + 2 * g, 2);
    for (std::size_t v = 0; v < tile_vectors; ++v)
      store(out + (g * tile_vectors + v) * 16,
            _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(pairs + 16 * v))));
  }
}

/// vpackusdw puts keys 4 ... 7 of a tile of 16 behind keys 8 ... 11, and the other way around.
constexpr std::size_t key_at(std::size_t position) {
  return (position & 12) == 4 ? position + 4 : (position & 12) == 8 ? position - 4 : position;
}

void pack_value(const std::int8_t* rows, std::size_t stride, std::size_t dim, std::size_t tile, std::size_t padded_keys,
                void* packed) {
  const std::size_t padded_dim = round_up(dim, lanes);
  for (std::size_t column = 0; column < padded_dim; column += key_tile) {
    const std::size_t vectors = padded_dim - column < key_tile ? 1 : tile_vectors;
    auto* panel = static_cast<std::int16_t*>(packed) + column * padded_keys + tile * key_tile * vectors * lanes;
    for (std::size_t pair = 0; pair < key_tile / 2; ++pair) {
      const std::int8_t* source = rows + key_at(2 * pair) * stride + column;
      const __m128i even = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
      const __m128i odd = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + stride));
      store(panel + pair * vectors * 16, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(even, odd)));
      if (vectors == 2)
        store(panel + (pair * 2 + 1) * 16, _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(even, odd)));
    }
  }
}

void scores(const void* query, std::size_t rows, const void* packed_key, std::size_t tile_begin, std::size_t tile_end,
            std::size_t dim, std::int32_t* scores, std::size_t stride, std::int32_t* lane_max) {
  const std::size_t depth = round_up(dim, depth_group);
  const auto* q = static_cast<const std::int16_t*>(query);
  for (std::size_t tile = tile_begin; tile < tile_end; ++tile) {
    const auto* key = static_cast<const std::int16_t*>(packed_key) + tile * key_tile * depth;
    in_steps<tile_rows>(rows, [&](std::size_t row, auto r) {
      constexpr int R = decltype(r)::value;
      __m256i sum[R * tile_vectors];
      unroll<R * tile_vectors>([&](auto i) INTATTN_INLINE { sum[i] = _mm256_setzero_si256(); });
      multiply<R, tile_vectors>(q + row * depth, depth, key, depth / depth_group, sum);
      std::int32_t* out = scores + row * stride + tile * key_tile;
      unroll<R, tile_vectors>([&](auto i, auto c) INTATTN_INLINE {
        store(out + std::size_t(i) * stride + std::size_t(c) * lanes, sum[i * tile_vectors + c]);
      });
      if (lane_max)
        unroll<R>([&](auto i) INTATTN_INLINE {
          std::int32_t* most = lane_max + (row + std::size_t(i)) * max_lanes;
          store(most, _mm256_max_epi32(_mm256_max_epi32(sum[i * 2], sum[i * 2 + 1]), load(most)));
        });
    });
  }
}

void values(const void* probabilities, std::size_t probability_stride, std::size_t rows, const void* packed_value,
            std::size_t padded_keys, std::size_t key_begin, std::size_t key_end, std::size_t dim,
            std::int32_t* accumulators, std::size_t stride) {
  const auto* p = static_cast<const std::int16_t*>(probabilities);
  const std::size_t padded_dim = round_up(dim, lanes);
  for (std::size_t column = 0; column < padded_dim; column += key_tile)
    with_constant<tile_vectors>(padded_dim - column < key_tile ? 1 : tile_vectors, [&](auto c) {
      constexpr int C = decltype(c)::value;
      const auto* panel = static_cast<const std::int16_t*>(packed_value) + column * padded_keys;
      for (std::size_t begin = key_begin; begin < key_end; begin += key_block) {
        const std::size_t keys = key_end - begin < key_block ? key_end - begin : key_block;
        in_steps<tile_rows>(rows, [&](std::size_t row, auto r) {
          constexpr int R = decltype(r)::value;
          std::int32_t* out = accumulators + row * stride + column;
          __m256i sum[R * C];
          const auto place = [&](int i, int c) { return out + std::size_t(i) * stride + std::size_t(c) * lanes; };
          if (begin > key_begin)
            unroll<R, C>([&](auto i, auto j) INTATTN_INLINE { sum[i * C + j] = load(place(i, j)); });
          else
            unroll<R * C>([&](auto i) INTATTN_INLINE { sum[i] = _mm256_setzero_si256(); });
          multiply<R, C>(p + row * probability_stride + begin, probability_stride, panel + begin * C * lanes,
                         keys / depth_group, sum);
          unroll<R, C>([&](auto i, auto j) INTATTN_INLINE { store(place(i, j), sum[i * C + j]); });
        });
      }
    });
}

std::int32_t maximum(__m256i x) {
  __m128i s = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

std::uint32_t total(__m256i x) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return std::uint32_t(_mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1))));
}

std::int32_t row_maximum(const std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent) {
  const __m256i lowest = _mm256_set1_epi32(INT32_MIN);
  __m256i most = extent.lane_end ? load(lane_max) : lowest;
  for (std::size_t i = extent.lane_end; i < extent.visible; i += lanes)
    most = _mm256_max_epi32(most, _mm256_blendv_epi8(lowest, load(scores + i), Avx2::first(extent.visible - i)));
  return maximum(most);
}

/// Section 3 on 16 scores at a time. vpmulhrsw, (a b + 2^14) >> 15, is a rounding shift right by n when b = 2^(15 - n).
template <bool shift_right> struct Indexer {
  __m256i row_max, threshold, multiplier, rounding_shift;
  __m128i shift;

  Indexer(std::int32_t max, const IndexParameters& index)
      : row_max(_mm256_set1_epi32(max)), threshold(_mm256_set1_epi16(short(lane_threshold(index)))),
        multiplier(_mm256_set1_epi16(short(2 * index.multiplier))),
        rounding_shift(_mm256_set1_epi16(short(1 << (30 - index.weight_shift)))),
        // 15 bits to the left already take every distance but 0 past the threshold.
        shift(_mm_cvtsi32_si128(shift_right         ? index.shift
                                : index.shift < -15 ? 15
                                                    : -index.shift)) {}

  __m256i distance(const std::int32_t* scores) const {
    const __m256i d = _mm256_sub_epi32(row_max, load(scores));
    if constexpr (shift_right)
      return _mm256_srl_epi32(d, shift);
    else
      return _mm256_sll_epi32(_mm256_min_epu32(d, _mm256_set1_epi32(0xffff)), shift);
  }

  /// Indices as 16-bit lanes in the order of `key_at`; the first `n` count, the others fall off the table.
  __m256i operator()(const std::int32_t* scores, std::size_t n) const {
    __m256i a = distance(scores), b = distance(scores + lanes);
    if (n < key_tile) {
      const __m256i far = _mm256_set1_epi32(0xffff);
      a = _mm256_blendv_epi8(far, a, Avx2::first(n));
      b = _mm256_blendv_epi8(far, b, Avx2::first(n > lanes ? n - lanes : 0));
    }
    const __m256i clipped = _mm256_min_epu16(_mm256_packus_epi32(a, b), threshold);
    return _mm256_mulhrs_epi16(_mm256_mulhi_epu16(clipped, multiplier), rounding_shift);
  }
};

__m256i byte_table(const std::uint8_t* entries) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(entries)));
}

/// A byte table of 16 * count entries, looked up by 16-bit lanes.
template <int count> struct ByteTable {
  __m256i part[count];
  explicit ByteTable(const std::uint8_t* entries) {
    for (int i = 0; i < count; ++i)
      part[i] = byte_table(entries + 16 * i);
  }
  __m256i operator()(__m256i index) const {
    // The high byte of each lane selects nothing.
    const __m256i control = _mm256_or_si256(index, _mm256_set1_epi16(short(0x8000)));
    __m256i x = _mm256_shuffle_epi8(part[0], control);
    if constexpr (count >= 2)
      x = _mm256_blendv_epi8(x, _mm256_shuffle_epi8(part[1], control), _mm256_slli_epi16(index, 3));
    if constexpr (count == 4) {
      const __m256i y = _mm256_blendv_epi8(_mm256_shuffle_epi8(part[2], control), _mm256_shuffle_epi8(part[3], control),
                                           _mm256_slli_epi16(index, 3));
      x = _mm256_blendv_epi8(x, y, _mm256_slli_epi16(index, 2));
    }
    return x;
  }
};

/// Weights of table `exp2`, 16 at a time: ((F[i & 15] >> k) + 1) >> 1 with k = i >> 4 is the rounding shift of F by k +
/// 1, so vpmulhrsw by 2^(14 - k).
struct Exp2Weights {
  __m256i fraction_low, fraction_high, power_low, power_high;
  explicit Exp2Weights(const WeightTable& table) {
    std::uint8_t bytes[4][16];
    for (int i = 0; i < 16; ++i) {
      const int fraction = table.fraction[i], power = (1 << 14) >> i;
      bytes[0][i] = std::uint8_t(fraction), bytes[1][i] = std::uint8_t(fraction >> 8);
      bytes[2][i] = std::uint8_t(power), bytes[3][i] = std::uint8_t(power >> 8);
    }
    fraction_low = byte_table(bytes[0]), fraction_high = byte_table(bytes[1]);
    power_low = byte_table(bytes[2]), power_high = byte_table(bytes[3]);
  }
  __m256i operator()(__m256i index) const {
    const __m256i f = _mm256_and_si256(index, _mm256_set1_epi16(15)), k = _mm256_srli_epi16(index, 4);
    return _mm256_mulhrs_epi16(words(fraction_low, fraction_high, f), words(power_low, power_high, k));
  }

private:
  static __m256i words(__m256i low, __m256i high, __m256i index) {
    const __m256i low_control = _mm256_or_si256(index, _mm256_set1_epi16(short(0x8000)));
    const __m256i high_control = _mm256_or_si256(_mm256_slli_epi16(index, 8), _mm256_set1_epi16(0x0080));
    return _mm256_or_si256(_mm256_shuffle_epi8(low, low_control), _mm256_shuffle_epi8(high, high_control));
  }
};

template <class F> void for_tiles(std::uint32_t visible, const F& f) {
  std::size_t i = 0;
  for (; i + key_tile <= visible; i += key_tile)
    f(i, key_tile);
  if (i < visible)
    f(i, visible - i);
}

template <bool shift_right, int tables>
RowSums natural_row(const std::int32_t* scores, std::int32_t max, const RowExtent& extent, const WeightTable& table,
                    const IndexParameters& index, std::uint16_t* out) {
  const Indexer<shift_right> indices(max, index);
  const ByteTable<tables> weights(table.plane);
  const bool normalize = table.normalization == Normalization::integer;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sum = _mm256_setzero_si256();
  for_tiles(extent.visible, [&](std::size_t i, std::size_t n) {
    const __m256i position = indices(scores + i, n);
    const __m256i weight = weights(position);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(weight, ones));
    store(out + i, normalize ? position : weight);
  });
  const RowSums sums = {total(sum), total(sum)};
  if (normalize) {
    alignas(32) std::uint8_t normalized[256] = {};
    normalize_table(table, sums.weight, normalized);
    const ByteTable<tables> probabilities(normalized);
    for_tiles(extent.visible, [&](std::size_t i, std::size_t) { store(out + i, probabilities(load(out + i))); });
  }
  return sums;
}

template <bool shift_right>
RowSums exp2_row(const std::int32_t* scores, std::int32_t max, const RowExtent& extent, const WeightTable& table,
                 const IndexParameters& index, std::uint16_t* out) {
  const Indexer<shift_right> indices(max, index);
  const Exp2Weights weights(table);
  const bool normalize = table.normalization == Normalization::integer;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i weight_sum = _mm256_setzero_si256(), plane_sum = weight_sum;
  for_tiles(extent.visible, [&](std::size_t i, std::size_t n) {
    const __m256i position = indices(scores + i, n);
    const __m256i weight = weights(position);
    const __m256i plane = _mm256_mulhrs_epi16(weight, _mm256_set1_epi16(1 << 9));
    weight_sum = _mm256_add_epi32(weight_sum, _mm256_madd_epi16(weight, ones));
    plane_sum = _mm256_add_epi32(plane_sum, _mm256_madd_epi16(plane, ones));
    store(out + i, normalize ? position : plane);
  });
  const RowSums sums = {total(weight_sum), total(plane_sum)};
  if (normalize) {
    std::uint8_t normalized[256];
    normalize_table(table, sums.weight, normalized);
    for (std::size_t i = 0; i < round_up(extent.visible, key_tile); ++i)
      out[i] = normalized[out[i]];
  }
  return sums;
}

template <bool shift_right>
RowSums index_row(const std::int32_t* scores, std::int32_t max, const RowExtent& extent, const WeightTable& table,
                  const IndexParameters& index, std::uint16_t* out) {
  if (table.kind == Table::exp2)
    return exp2_row<shift_right>(scores, max, extent, table, index, out);
  if (table.bits == 4)
    return natural_row<shift_right, 1>(scores, max, extent, table, index, out);
  if (table.bits == 5)
    return natural_row<shift_right, 2>(scores, max, extent, table, index, out);
  return natural_row<shift_right, 4>(scores, max, extent, table, index, out);
}

void clear_tail(std::uint16_t* out, const RowExtent& extent) {
  for (std::size_t i = round_up(extent.visible, key_tile); i < extent.padded; i += key_tile)
    store(out + i, _mm256_setzero_si256());
}

RowSums index_softmax(const std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent,
                      const WeightTable& table, const IndexParameters& index, void* probabilities) {
  auto* out = static_cast<std::uint16_t*>(probabilities);
  const std::int32_t max = row_maximum(scores, lane_max, extent);
  const RowSums sums = index.shift > 0 ? index_row<true>(scores, max, extent, table, index, out)
                                       : index_row<false>(scores, max, extent, table, index, out);
  clear_tail(out, extent);
  return sums;
}

void float_softmax(std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent, float logit_scale,
                   void* probabilities) {
  auto* out = static_cast<std::uint16_t*>(probabilities);
  const __m256i max = _mm256_set1_epi32(row_maximum(scores, lane_max, extent));
  const __m256 negative_scale = _mm256_set1_ps(-logit_scale);
  const std::size_t written = round_up(extent.visible, key_tile);
  __m256 sum = _mm256_setzero_ps();
  for (std::size_t i = 0; i < written; i += lanes) {
    // The distance of two scores of up to 1024 products stays far below 2^31.
    const __m256 distance = _mm256_cvtepi32_ps(_mm256_sub_epi32(max, load(scores + i)));
    const __m256 e = _mm256_and_ps(_mm256_castsi256_ps(Avx2::first(extent.visible > i ? extent.visible - i : 0)),
                                   exp_non_positive<Avx2>(_mm256_mul_ps(distance, negative_scale)));
    sum = _mm256_add_ps(sum, e);
    store(scores + i, _mm256_castps_si256(e));
  }
  const __m256 factor = _mm256_set1_ps(127 / Avx2::sum(sum));
  const auto probability = [&](std::size_t i) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_castsi256_ps(load(scores + i)), factor));
  };
  for (std::size_t i = 0; i < written; i += key_tile)
    store(out + i, _mm256_packus_epi32(probability(i), probability(i + lanes)));
  clear_tail(out, extent);
}

void unpack_probabilities(const void* probabilities, std::size_t keys, std::uint8_t* out) {
  const auto* p = static_cast<const std::uint16_t*>(probabilities);
  for (std::size_t position = 0; position < round_up(keys, key_tile); ++position) {
    const std::size_t key = (position & ~(key_tile - 1)) + key_at(position & (key_tile - 1));
    if (key < keys)
      out[key] = std::uint8_t(p[position]);
  }
}

constexpr Kernels kernels = {
    key_tile,
    depth_group,
    lanes,
    tile_rows,
    2,
    FloatRows<Avx2>::kernels(),
    pack_query,
    pack_key,
    pack_value,
    scores,
    index_softmax_rows<2, index_softmax>,
    float_softmax_rows<2, float_softmax>,
    unpack_row<2, unpack_probabilities>,
    index_softmax_row<key_tile, index_softmax, unpack_probabilities>,
    values,
    FloatTiles<Avx2, Float32Storage<Avx2>>::kernels(),
    FloatTiles<Avx2, Float16Storage<Avx2>>::kernels(),
};

} // namespace

const Kernels* avx2_kernels() { return &kernels; }

} // namespace intattn
