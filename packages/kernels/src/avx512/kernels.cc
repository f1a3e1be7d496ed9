// AVX-512 with VNNI. vpdpbusd multiplies unsigned by signed bytes: keys are stored as k + 128, which adds 128 times the
// sum of the query to every score of a row and so cancels against the row maximum; probabilities are unsigned by
// nature.

#include "kernels.h"
#include "avx512/vector.h"
#include "simd/float_rows.h"
#include "simd/float_tiles.h"
#include "simd/softmax_rows.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

constexpr std::size_t lanes = 16;
constexpr int tile_rows = 6;
constexpr int tile_vectors = 4;
constexpr std::size_t key_tile = tile_vectors * lanes;
constexpr std::size_t depth_group = 4;
/// Keys per pass over the accumulators: 16 KB of V stay in L1 from one tile of rows to the next.
constexpr std::size_t key_block = 256;

__m512i load(const void* p) { return _mm512_loadu_si512(p); }
void store(void* p, __m512i x) { _mm512_storeu_si512(p, x); }

/// Hides that a value was loaded: GCC otherwise loads it again at each of its uses, because stores in between might
/// have changed it.
INTATTN_INLINE inline void keep_in_register([[maybe_unused]] __m512i& x) {
#if !INTATTN_STAND_IN
  asm("" : "+v"(x));
#endif
}

__m512i broadcast4(const void* p) {
  std::int32_t bytes;
  __builtin_memcpy(&bytes, p, 4);
  return _mm512_set1_epi32(bytes);
}

enum class Signed { broadcast, vectors };

/// sum[R][C vectors] += A[R][4 * groups] B[groups][C vectors of 16 x 4 bytes]: A is broadcast, B is packed.
template <Signed S, int R, int C>
INTATTN_INLINE inline void multiply(const std::uint8_t* a, std::size_t a_stride, const std::uint8_t* b,
                                    std::size_t groups, __m512i (&sum)[R * C]) {
  for (std::size_t g = 0; g < groups; ++g, a += 4, b += C * 64) {
    __m512i line[C];
    unroll<C>([&](auto c) INTATTN_INLINE {
      line[c] = load(b + c * 64);
      keep_in_register(line[c]);
    });
    unroll<R>([&](auto r) INTATTN_INLINE {
      const __m512i factor = broadcast4(a + std::size_t(r) * a_stride);
      unroll<C>([&](auto c) INTATTN_INLINE {
        __m512i& x = sum[r * C + c];
        x = S == Signed::broadcast ? _mm512_dpbusd_epi32(x, line[c], factor) : _mm512_dpbusd_epi32(x, factor, line[c]);
      });
    });
  }
}

void pack_query(const std::int8_t* rows, std::size_t stride, std::size_t count, std::size_t dim, void* packed) {
  const std::size_t depth = round_up(dim, depth_group);
  auto* out = static_cast<std::int8_t*>(packed);
  if (stride == depth) {
    __builtin_memcpy(out, rows, count * depth);
    return;
  }
  for (std::size_t row = 0; row < count; ++row)
    __builtin_memcpy(out + row * depth, rows + row * stride, depth);
}

/// Transposes a 16 x 16 matrix of 32-bit elements in registers.
void transpose(__m512i (&x)[16]) {
  __m512i y[16];
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      x[i + 2 * j] = _mm512_unpacklo_epi64(y[i + j], y[i + j + 2]);
      x[i + 2 * j + 1] = _mm512_unpackhi_epi64(y[i + j], y[i + j + 2]);
    }
  // x[4 i + j], lane l: column 4 l + j of rows 4 i ... 4 i + 3
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(x[j], x[4 + j], 0x88), b = _mm512_shuffle_i32x4(x[j], x[4 + j], 0xdd);
    const __m512i c = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0x88),
                  d = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0xdd);
    y[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    y[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    y[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    y[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
  for (int i = 0; i < 16; ++i)
    x[i] = y[i];
}

void pack_key(const std::int8_t* rows, std::size_t stride, std::size_t dim, void* packed_tile) {
  auto* out = static_cast<std::uint8_t*>(packed_tile);
  const std::size_t groups = divide_up(dim, depth_group);
  const __m512i bias = _mm512_set1_epi8(-128);
  for (std::size_t first = 0; first < groups; first += 16)
    for (std::size_t vector = 0; vector < tile_vectors; ++vector) {
      __m512i x[16];
      for (std::size_t i = 0; i < 16; ++i)
        x[i] = _mm512_xor_si512(load(rows + (vector * 16 + i) * stride + first * 4), bias);
      transpose(x);
      const std::size_t count = groups - first < 16 ? groups - first : 16;
      for (std::size_t i = 0; i < count; ++i)
        store(out + ((first + i) * tile_vectors + vector) * 64, x[i]);
    }
}

void pack_value(const std::int8_t* rows, std::size_t stride, std::size_t dim, std::size_t tile, std::size_t padded_keys,
                void* packed) {
  const std::size_t padded_dim = round_up(dim, lanes);
  for (std::size_t column = 0; column < padded_dim; column += key_tile) {
    const std::size_t vectors = padded_dim - column < key_tile ? (padded_dim - column) / lanes : tile_vectors;
    auto* panel = static_cast<std::uint8_t*>(packed) + column * padded_keys + tile * key_tile * vectors * lanes;
    for (std::size_t position = 0; position < 16; ++position) {
      // Position l * 4 + v of a probability tile holds the four keys from 16 v + 4 l on: see index_softmax.
      const std::size_t key = 16 * (position & 3) + 4 * (position >> 2);
      const std::int8_t* source = rows + key * stride + column;
      const __m512i r0 = load(source), r1 = load(source + stride), r2 = load(source + 2 * stride),
                    r3 = load(source + 3 * stride);
      const __m512i low01 = _mm512_unpacklo_epi8(r0, r1), high01 = _mm512_unpackhi_epi8(r0, r1);
      const __m512i low23 = _mm512_unpacklo_epi8(r2, r3), high23 = _mm512_unpackhi_epi8(r2, r3);
      const __m512i q0 = _mm512_unpacklo_epi16(low01, low23), q1 = _mm512_unpackhi_epi16(low01, low23);
      const __m512i q2 = _mm512_unpacklo_epi16(high01, high23), q3 = _mm512_unpackhi_epi16(high01, high23);
      // Lane l of q_i holds columns 16 l + 4 i ... + 3.
      const __m512i a = _mm512_shuffle_i32x4(q0, q1, 0x44), b = _mm512_shuffle_i32x4(q2, q3, 0x44);
      const __m512i c = _mm512_shuffle_i32x4(q0, q1, 0xee), d = _mm512_shuffle_i32x4(q2, q3, 0xee);
      const __m512i columns[tile_vectors] = {_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd),
                                             _mm512_shuffle_i32x4(c, d, 0x88), _mm512_shuffle_i32x4(c, d, 0xdd)};
      for (std::size_t v = 0; v < vectors; ++v)
        store(panel + (position * vectors + v) * 64, columns[v]);
    }
  }
}

/// A finished register tile of scores on its way to memory.
struct Finished {
  std::int32_t* out;
  std::int32_t* lane_max; ///< null when maxima are not wanted
};

/// Stores row `row` of a finished tile and raises its lane maxima.
template <int R, int row>
INTATTN_INLINE inline void store_scores(const __m512i (&sum)[R * tile_vectors], const Finished& to,
                                        std::size_t stride) {
  constexpr int first = row * tile_vectors;
  unroll<tile_vectors>([&](auto c)
                           INTATTN_INLINE { store(to.out + row * stride + std::size_t(c) * lanes, sum[first + c]); });
  if (to.lane_max) {
    std::int32_t* most = to.lane_max + row * max_lanes;
    store(most, _mm512_max_epi32(_mm512_max_epi32(_mm512_max_epi32(sum[first], sum[first + 1]),
                                                  _mm512_max_epi32(sum[first + 2], sum[first + 3])),
                                 load(most)));
  }
}

constexpr int half_rows = tile_rows / 2;
constexpr int half_sums = half_rows * tile_vectors;

/// One step of depth for three rows.
INTATTN_INLINE inline void score_step(const std::uint8_t* query, std::size_t depth, const std::uint8_t* key,
                                      __m512i (&sum)[half_sums]) {
  multiply<Signed::broadcast, half_rows, tile_vectors>(query, depth, key, 1, sum);
}

/// Scores of three rows while the three rows before them, finished, are stored. A 512-bit store takes register file
/// bandwidth from vpdpbusd: all stores in one burst cost Zen 4 an eighth of its products at head_dim 64, spread out
/// they cost next to nothing.
INTATTN_INLINE inline void score_and_store(const std::uint8_t* query, std::size_t depth, const std::uint8_t* key,
                                           __m512i (&sum)[half_sums], const __m512i (&finished)[half_sums],
                                           const Finished& to, std::size_t stride) {
  unroll<half_sums>([&](auto i) INTATTN_INLINE { sum[i] = _mm512_setzero_si512(); });
  unroll<half_rows>([&](auto r) INTATTN_INLINE {
    score_step(query + 4 * r, depth, key + 64 * tile_vectors * r, sum);
    store_scores<half_rows, decltype(r)::value>(finished, to, stride);
  });
  multiply<Signed::broadcast, half_rows, tile_vectors>(
      query + 4 * half_rows, depth, key + 64 * tile_vectors * half_rows, depth / depth_group - half_rows, sum);
}

/// Whole tiles of six rows, in two halves that take turns at computing and storing.
void score_six_rows(const std::uint8_t* query, std::size_t steps_of_six, const std::uint8_t* key,
                    std::size_t tile_begin, std::size_t tile_end, std::size_t depth, std::int32_t* scores,
                    std::size_t stride, std::int32_t* lane_max) {
  __m512i upper[half_sums], lower[half_sums];
  // The first thing stored is nothing: minima, to a place that is written again.
  unroll<half_sums>([&](auto i) INTATTN_INLINE { lower[i] = _mm512_set1_epi32(INT32_MIN); });
  Finished last = {scores + tile_begin * key_tile, lane_max};
  for (std::size_t tile = tile_begin; tile < tile_end; ++tile) {
    const std::uint8_t* panel = key + tile * key_tile * depth;
    for (std::size_t step = 0; step < steps_of_six; ++step) {
      const std::size_t row = step * tile_rows;
      const std::uint8_t* q = query + row * depth;
      score_and_store(q, depth, panel, upper, lower, last, stride);
      last = {scores + row * stride + tile * key_tile, lane_max ? lane_max + row * max_lanes : nullptr};
      score_and_store(q + half_rows * depth, depth, panel, lower, upper, last, stride);
      last.out += half_rows * stride;
      if (lane_max)
        last.lane_max += half_rows * max_lanes;
    }
  }
  unroll<half_rows>([&](auto r) INTATTN_INLINE { store_scores<half_rows, decltype(r)::value>(lower, last, stride); });
}

void scores(const void* query, std::size_t rows, const void* packed_key, std::size_t tile_begin, std::size_t tile_end,
            std::size_t dim, std::int32_t* scores, std::size_t stride, std::int32_t* lane_max) {
  const std::size_t depth = round_up(dim, depth_group);
  const auto* q = static_cast<const std::uint8_t*>(query);
  const auto* key = static_cast<const std::uint8_t*>(packed_key);
  if (tile_begin == tile_end)
    return;
  std::size_t done = 0;
  if (depth / depth_group > half_rows && rows >= tile_rows) {
    done = rows / tile_rows * tile_rows;
    score_six_rows(q, rows / tile_rows, key, tile_begin, tile_end, depth, scores, stride, lane_max);
  }
  for (std::size_t tile = tile_begin; tile < tile_end; ++tile)
    in_steps<tile_rows>(rows - done, [&](std::size_t offset, auto r) {
      constexpr int R = decltype(r)::value;
      const std::size_t row = done + offset;
      __m512i sum[R * tile_vectors];
      unroll<R * tile_vectors>([&](auto i) INTATTN_INLINE { sum[i] = _mm512_setzero_si512(); });
      multiply<Signed::broadcast, R, tile_vectors>(q + row * depth, depth, key + tile * key_tile * depth,
                                                   depth / depth_group, sum);
      const Finished to = {scores + row * stride + tile * key_tile, lane_max ? lane_max + row * max_lanes : nullptr};
      unroll<R>([&](auto i) INTATTN_INLINE { store_scores<R, decltype(i)::value>(sum, to, stride); });
    });
}

void values(const void* probabilities, std::size_t probability_stride, std::size_t rows, const void* packed_value,
            std::size_t padded_keys, std::size_t key_begin, std::size_t key_end, std::size_t dim,
            std::int32_t* accumulators, std::size_t stride) {
  const auto* p = static_cast<const std::uint8_t*>(probabilities);
  const std::size_t padded_dim = round_up(dim, lanes);
  for (std::size_t column = 0; column < padded_dim; column += key_tile) {
    const std::size_t vectors = (padded_dim - column) / lanes;
    with_constant<tile_vectors>(vectors < tile_vectors ? vectors : tile_vectors, [&](auto c) {
      constexpr int C = decltype(c)::value;
      const auto* panel = static_cast<const std::uint8_t*>(packed_value) + column * padded_keys;
      for (std::size_t begin = key_begin; begin < key_end; begin += key_block) {
        const std::size_t keys = key_end - begin < key_block ? key_end - begin : key_block;
        in_steps<tile_rows>(rows, [&](std::size_t row, auto r) {
          constexpr int R = decltype(r)::value;
          std::int32_t* out = accumulators + row * stride + column;
          __m512i sum[R * C];
          const auto place = [&](int i, int c) { return out + std::size_t(i) * stride + std::size_t(c) * lanes; };
          if (begin > key_begin)
            unroll<R, C>([&](auto i, auto j) INTATTN_INLINE { sum[i * C + j] = load(place(i, j)); });
          else
            unroll<R * C>([&](auto i) INTATTN_INLINE { sum[i] = _mm512_setzero_si512(); });
          multiply<Signed::vectors, R, C>(p + row * probability_stride + begin, probability_stride,
                                          panel + begin * C * lanes, keys / depth_group, sum);
          unroll<R, C>([&](auto i, auto j) INTATTN_INLINE { store(place(i, j), sum[i * C + j]); });
        });
      }
    });
  }
}

/// Section 3 on 32 scores at a time. vpmulhrsw, (a b + 2^14) >> 15, is a rounding shift right by n when b = 2^(15 - n).
template <bool shift_right> struct Indexer {
  __m512i row_max, threshold, multiplier, rounding_shift, shift;

  Indexer(std::int32_t max, const IndexParameters& index)
      : row_max(_mm512_set1_epi32(max)), threshold(_mm512_set1_epi16(short(lane_threshold(index)))),
        multiplier(_mm512_set1_epi16(short(2 * index.multiplier))),
        rounding_shift(_mm512_set1_epi16(short(1 << (30 - index.weight_shift)))),
        // 15 bits to the left already take every distance but 0 past the threshold.
        shift(_mm512_set1_epi32(shift_right         ? index.shift
                                : index.shift < -15 ? 15
                                                    : -index.shift)) {}

  __m512i distance(const std::int32_t* scores) const {
    const __m512i d = _mm512_sub_epi32(row_max, load(scores));
    if constexpr (shift_right)
      return _mm512_srlv_epi32(d, shift);
    else
      return _mm512_sllv_epi32(_mm512_min_epu32(d, _mm512_set1_epi32(0xffff)), shift);
  }

  /// Indices as 16-bit lanes, ordered as vpackusdw interleaves; the first `n` count, the others fall off the table.
  __m512i indices(const std::int32_t* scores, std::size_t n) const {
    __m512i a = distance(scores), b = distance(scores + lanes);
    if (n < 2 * lanes) {
      const __m512i far = _mm512_set1_epi32(0xffff);
      a = _mm512_mask_mov_epi32(far, Avx512::first(n), a);
      b = _mm512_mask_mov_epi32(far, Avx512::first(n > lanes ? n - lanes : 0), b);
    }
    const __m512i clipped = _mm512_min_epu16(_mm512_packus_epi32(a, b), threshold);
    return _mm512_mulhrs_epi16(_mm512_mulhi_epu16(clipped, multiplier), rounding_shift);
  }
};

/// The sum of all lanes modulo 2^32.
std::uint32_t total(__m512i x) {
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return std::uint32_t(_mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1))));
}

/// A byte table of 16 * count entries.
template <int count> struct ByteTable {
  __m512i part[count];
  explicit ByteTable(const std::uint8_t* entries) {
    for (int i = 0; i < count; ++i)
      part[i] = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(entries + 16 * i)));
  }
  __m512i operator()(__m512i index) const {
    if constexpr (count <= 4) {
      __m512i x = _mm512_shuffle_epi8(part[0], index);
      if constexpr (count >= 2)
        x = _mm512_mask_shuffle_epi8(x, _mm512_test_epi8_mask(index, _mm512_set1_epi8(16)), part[1], index);
      if constexpr (count == 4) {
        __m512i y = _mm512_shuffle_epi8(part[2], index);
        y = _mm512_mask_shuffle_epi8(y, _mm512_test_epi8_mask(index, _mm512_set1_epi8(16)), part[3], index);
        x = _mm512_mask_mov_epi8(x, _mm512_test_epi8_mask(index, _mm512_set1_epi8(32)), y);
      }
      return x;
    } else {
      const __m512i low = _mm512_and_si512(index, _mm512_set1_epi8(15));
      const __m512i high = _mm512_sub_epi8(index, low);
      __m512i x = _mm512_setzero_si512();
      for (int i = 0; i < count; ++i)
        x = _mm512_mask_shuffle_epi8(x, _mm512_cmpeq_epi8_mask(high, _mm512_set1_epi8(char(16 * i))), part[i], low);
      return x;
    }
  }
};

template <int count> void replace_by_table(std::uint8_t* bytes, std::size_t n, const std::uint8_t* entries) {
  const ByteTable<count> table(entries);
  for (std::size_t i = 0; i < n; i += 64)
    store(bytes + i, table(load(bytes + i)));
}

/// Table `natural` of 16 * tables entries: writes weights, or indices when weights are to be normalized.
template <bool shift_right, int tables>
RowSums natural_row(const std::int32_t* scores, std::int32_t max, std::uint32_t visible, const WeightTable& table,
                    const IndexParameters& index, bool write_indices, std::uint8_t* out) {
  const Indexer<shift_right> indexer(max, index);
  const ByteTable<tables> weights(table.plane);
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sum = _mm512_setzero_si512();
  const auto block = [&](std::size_t i, std::size_t n) {
    const __m512i position =
        _mm512_packus_epi16(indexer.indices(scores + i, n), indexer.indices(scores + i + 32, n > 32 ? n - 32 : 0));
    const __m512i weight = weights(position);
    sum = _mm512_dpbusd_epi32(sum, weight, ones);
    store(out + i, write_indices ? position : weight);
  };
  std::size_t i = 0;
  for (; i + 64 <= visible; i += 64)
    block(i, 64);
  if (i < visible)
    block(i, visible - i);
  return {total(sum), total(sum)};
}

/// Table `exp2`: writes the plane, or indices when weights are to be normalized.
template <bool shift_right>
RowSums exp2_row(const std::int32_t* scores, std::int32_t max, std::uint32_t visible, const WeightTable& table,
                 const IndexParameters& index, bool write_indices, std::uint8_t* out) {
  const Indexer<shift_right> indexer(max, index);
  const __m512i fraction = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(table.fraction)));
  const __m512i byte_ones = _mm512_set1_epi8(1), word_ones = _mm512_set1_epi16(1);
  const __m512i zero = _mm512_setzero_si512();
  __m512i weight_sum = zero, plane_sum = zero;
  const auto weight_of = [&](__m512i position) {
    // vpermw takes the low five bits of the index; both halves of `fraction` are alike.
    const __m512i mantissa = _mm512_permutexvar_epi16(position, fraction);
    return _mm512_avg_epu16(_mm512_srlv_epi16(mantissa, _mm512_srli_epi16(position, 4)), zero);
  };
  const auto plane_of = [&](__m512i weight) { return _mm512_mulhrs_epi16(weight, _mm512_set1_epi16(1 << 9)); };
  const auto block = [&](std::size_t i, std::size_t n) {
    const __m512i p0 = indexer.indices(scores + i, n), p1 = indexer.indices(scores + i + 32, n > 32 ? n - 32 : 0);
    const __m512i w0 = weight_of(p0), w1 = weight_of(p1);
    weight_sum = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(weight_sum, w0, word_ones), w1, word_ones);
    const __m512i plane = _mm512_packus_epi16(plane_of(w0), plane_of(w1));
    plane_sum = _mm512_dpbusd_epi32(plane_sum, plane, byte_ones);
    store(out + i, write_indices ? _mm512_packus_epi16(p0, p1) : plane);
  };
  std::size_t i = 0;
  for (; i + 64 <= visible; i += 64)
    block(i, 64);
  if (i < visible)
    block(i, visible - i);
  return {total(weight_sum), total(plane_sum)};
}

std::int32_t row_maximum(const std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent) {
  __m512i most = extent.lane_end ? load(lane_max) : _mm512_set1_epi32(INT32_MIN);
  for (std::size_t i = extent.lane_end; i < extent.visible; i += lanes)
    most = _mm512_mask_max_epi32(most, Avx512::first(extent.visible - i), most, load(scores + i));
  return _mm512_reduce_max_epi32(most);
}

void clear_tail(std::uint8_t* out, const RowExtent& extent) {
  for (std::size_t i = round_up(extent.visible, key_tile); i < extent.padded; i += 64)
    store(out + i, _mm512_setzero_si512());
}

template <bool shift_right>
RowSums index_row(const std::int32_t* scores, std::int32_t max, const RowExtent& extent, const WeightTable& table,
                  const IndexParameters& index, std::uint8_t* out) {
  const bool normalize = table.normalization == Normalization::integer;
  const std::size_t written = round_up(extent.visible, key_tile);
  alignas(64) std::uint8_t normalized[256] = {};
  if (table.kind == Table::exp2) {
    const RowSums sums = exp2_row<shift_right>(scores, max, extent.visible, table, index, normalize, out);
    if (normalize) {
      normalize_table(table, sums.weight, normalized);
      replace_by_table<16>(out, written, normalized);
    }
    return sums;
  }
  RowSums sums;
  const auto natural = [&](auto count) {
    constexpr int tables = decltype(count)::value;
    sums = natural_row<shift_right, tables>(scores, max, extent.visible, table, index, normalize, out);
    if (normalize) {
      normalize_table(table, sums.weight, normalized);
      replace_by_table<tables>(out, written, normalized);
    }
  };
  if (table.bits == 4)
    natural(constant<1>{});
  else if (table.bits == 5)
    natural(constant<2>{});
  else
    natural(constant<4>{});
  return sums;
}

RowSums index_softmax(const std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent,
                      const WeightTable& table, const IndexParameters& index, void* probabilities) {
  auto* out = static_cast<std::uint8_t*>(probabilities);
  const std::int32_t max = row_maximum(scores, lane_max, extent);
  const RowSums sums = index.shift > 0 ? index_row<true>(scores, max, extent, table, index, out)
                                       : index_row<false>(scores, max, extent, table, index, out);
  clear_tail(out, extent);
  return sums;
}

void float_softmax(std::int32_t* scores, const std::int32_t* lane_max, const RowExtent& extent, float logit_scale,
                   void* probabilities) {
  auto* out = static_cast<std::uint8_t*>(probabilities);
  const __m512i max = _mm512_set1_epi32(row_maximum(scores, lane_max, extent));
  const __m512 negative_scale = _mm512_set1_ps(-logit_scale);
  __m512 sum = _mm512_setzero_ps();
  for (std::size_t i = 0; i < extent.visible; i += lanes) {
    const __m512 distance = _mm512_cvtepu32_ps(_mm512_sub_epi32(max, load(scores + i)));
    const __m512 e = _mm512_maskz_mov_ps(Avx512::first(extent.visible - i),
                                         exp_non_positive<Avx512>(_mm512_mul_ps(distance, negative_scale)));
    sum = _mm512_add_ps(sum, e);
    store(scores + i, _mm512_castps_si512(e));
  }
  const std::size_t written = round_up(extent.visible, key_tile);
  for (std::size_t i = round_up(extent.visible, lanes); i < written; i += lanes)
    store(scores + i, _mm512_setzero_si512());
  const __m512 factor = _mm512_set1_ps(127 / _mm512_reduce_add_ps(sum));
  const auto probability = [&](std::size_t i) {
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_castsi512_ps(load(scores + i)), factor));
  };
  for (std::size_t i = 0; i < written; i += 64)
    store(out + i, _mm512_packus_epi16(_mm512_packus_epi32(probability(i), probability(i + 16)),
                                       _mm512_packus_epi32(probability(i + 32), probability(i + 48))));
  clear_tail(out, extent);
}

void unpack_probabilities(const void* probabilities, std::size_t keys, std::uint8_t* out) {
  const auto* p = static_cast<const std::uint8_t*>(probabilities);
  for (std::size_t key = 0; key < keys; ++key) {
    const std::size_t vector = key >> 4 & 3, lane = key >> 2 & 3;
    out[key] = p[(key & ~std::size_t{63}) + 16 * lane + 4 * vector + (key & 3)];
  }
}

constexpr Kernels kernels = {
    key_tile,
    depth_group,
    lanes,
    tile_rows,
    1,
    FloatRows<Avx512>::kernels(),
    pack_query,
    pack_key,
    pack_value,
    scores,
    index_softmax_rows<1, index_softmax>,
    float_softmax_rows<1, float_softmax>,
    unpack_row<1, unpack_probabilities>,
    index_softmax_row<key_tile, index_softmax, unpack_probabilities>,
    values,
    FloatTiles<Avx512, Float32Storage<Avx512>>::kernels(),
    FloatTiles<Avx512, Float16Storage<Avx512>>::kernels(),
};

} // namespace

const Kernels* avx512vnni_kernels() { return &kernels; }

} // namespace intattn
