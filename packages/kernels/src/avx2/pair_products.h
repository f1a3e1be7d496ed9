#pragma once

// Caches on AVX2: a byte for each number, multiplied by vpmaddwd without widening. Two keys, or two channels of V,
// share a word: A with its highest bit changed, so that it is A + 128, below B. With v = 256 B + A + 128
//   full = sum of v q - 128 sum of q = 256 sB + sA, low = sum of (v & 255) q - 128 sum of q = sA, sB = (full - low) >>
//   8;
// full may wrap, full - low does not as long as |sB| < 2^23: headDim up to 511 with queries of 8 bits.

#include "avx2/block_vector.h"
#include "x86/block_products.h"

namespace intattn {
namespace {

struct PairProducts {
  static constexpr std::size_t most_dim = 511;
  static constexpr std::size_t lanes = 8, columns = 2 * lanes, line = 32;
  static constexpr int tile_rows = 4;
  using Words = WordProducts<Ymm>;

  static std::size_t key_block(std::size_t dim) { return block_keys * round_up(dim, 2); }
  static std::size_t value_block(std::size_t dim) { return block_keys * round_up(dim, columns); }

  /// Byte of a number: `group` of columns, `step` of two along the sum.
  static std::size_t place(std::size_t group, std::size_t steps, std::size_t along, std::size_t column) {
    return ((group * steps + along / 2) * lanes + column % lanes) * 4 + along % 2 * 2 + column / lanes;
  }
  static std::size_t key_place(std::size_t dim, std::size_t key, std::size_t channel) {
    return place(key / columns, divide_up(dim, 2), channel, key % columns);
  }
  static std::size_t value_place(std::size_t, std::size_t key, std::size_t channel) {
    const auto at = Words::in_plane(key);
    return place(channel / columns, block_keys / 2, 2 * at.place + at.which, channel % columns);
  }

  static void pack_key(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    for (std::size_t key = 0; key < block_keys; ++key) {
      const std::int8_t* row = rows + key * stride;
      unsigned char* out = packed + key_place(dim, key, 0);
      const unsigned char flip = key % columns < lanes ? 0x80 : 0;
      for (std::size_t c = 0; c < dim; c += 2, out += line) {
        out[0] = static_cast<unsigned char>(row[c]) ^ flip;
        out[2] = static_cast<unsigned char>(row[c + 1]) ^ flip;
      }
    }
  }

  static void pack_value(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    const std::size_t padded = round_up(dim, columns);
    for (std::size_t key = 0; key < block_keys; ++key)
      for (std::size_t panel = 0; panel < padded; panel += columns) {
        const std::int8_t* row = rows + key * stride + panel;
        unsigned char* out = packed + value_place(dim, key, panel);
        for (std::size_t c = 0; c < lanes; ++c) {
          out[4 * c] = static_cast<unsigned char>(row[c]) ^ 0x80;
          out[4 * c + 1] = static_cast<unsigned char>(row[c + lanes]);
        }
      }
  }

  /// Sums of R rows over G groups of sixteen columns, which follow one another by `group_bytes`.
  template <int R, int G, class Store>
  INTATTN_INLINE static void multiply(const unsigned char* a, std::size_t a_stride, const unsigned char* b,
                                      std::size_t group_bytes, std::size_t steps, const std::int32_t* start,
                                      const Store& store) {
    __m256i full[R * G], low[R * G];
    unroll<R, G>([&](auto r, auto g)
                     INTATTN_INLINE { full[r * G + g] = low[r * G + g] = _mm256_set1_epi32(start[r]); });
    const __m256i mask = _mm256_set1_epi16(255);
    for (std::size_t step = 0; step < steps; ++step, a += 4, b += line) {
      __m256i v[G], masked[G];
      unroll<G>([&](auto g) INTATTN_INLINE {
        _mm_prefetch(reinterpret_cast<const char*>(b + g * group_bytes + ahead), _MM_HINT_T0);
        v[g] = Ymm::load(b + g * group_bytes);
        masked[g] = _mm256_and_si256(v[g], mask);
      });
      unroll<R>([&](auto r) INTATTN_INLINE {
        const __m256i factor = Ymm::broadcast4(a + std::size_t(r) * a_stride);
        unroll<G>([&](auto g) INTATTN_INLINE {
          Ymm::accumulate(full[r * G + g], _mm256_madd_epi16(v[g], factor));
          Ymm::accumulate(low[r * G + g], _mm256_madd_epi16(masked[g], factor));
        });
      });
    }
    unroll<R, G>([&](auto r, auto g) INTATTN_INLINE {
      const int i = r * G + g;
      store(r, g, low[i], _mm256_srai_epi32(_mm256_sub_epi32(full[i], low[i]), 8));
    });
  }

  template <int R, int G>
  __attribute__((noinline)) static void score_tile(const unsigned char* query, std::size_t query_stride,
                                                   const unsigned char* keys, std::size_t group_bytes,
                                                   std::size_t steps, const std::int32_t* start, const float* key_scale,
                                                   const float* unit, float* x, std::size_t stride, float* lane_max) {
    multiply<R, G>(query, query_stride, keys, group_bytes, steps, start,
                   [&](auto r, auto g, __m256i low, __m256i high) INTATTN_INLINE {
                     const __m256 of_row = _mm256_broadcast_ss(unit + r);
                     const float* scale = key_scale + g * columns;
                     float* to = x + std::size_t(r) * stride + g * columns;
                     const auto scaled = [&](__m256i sum, const float* of_key) INTATTN_INLINE {
                       return _mm256_mul_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(of_key)), of_row);
                     };
                     const __m256 first = scaled(low, scale), second = scaled(high, scale + lanes);
                     _mm256_storeu_ps(to, first);
                     _mm256_storeu_ps(to + lanes, second);
                     if (lane_max) {
                       float* most = lane_max + std::size_t(r) * maximum_lanes;
                       _mm256_storeu_ps(most, _mm256_max_ps(_mm256_max_ps(first, second), _mm256_loadu_ps(most)));
                     }
                   });
  }

  static void scores(const ScoreTask& task) {
    const std::size_t steps = divide_up(task.dim, 2), stride = 4 * steps, group_bytes = steps * line;
    const auto* query = static_cast<const unsigned char*>(task.query);
    std::int32_t start[64];
    for (std::size_t row = 0; row < task.rows; ++row) {
      std::int32_t sum = 0;
      const auto* q = reinterpret_cast<const std::int16_t*>(query + row * stride);
      for (std::size_t c = 0; c < 2 * steps; ++c)
        sum += q[c];
      start[row] = -128 * sum;
    }
    for (std::size_t block = task.block_begin; block < task.block_end; ++block)
      in_steps<tile_rows>(task.rows, [&](std::size_t row, auto r) {
        constexpr int R = decltype(r)::value, G = R == 1 ? 4 : R == 2 ? 2 : 1;
        for (std::size_t group = 0; group < block_keys / columns; group += G) {
          const std::size_t column = block * block_keys + group * columns;
          if (column >= task.key_end)
            break;
          score_tile<R, G>(query + row * stride, stride, task.keys + (block * 4 + group) * group_bytes, group_bytes,
                           steps, start + row, task.key_scale + column, task.unit + row,
                           task.x + row * task.stride + column, task.stride,
                           task.lane_max ? task.lane_max + row * maximum_lanes : nullptr);
        }
      });
  }

  template <int R, int G>
  __attribute__((noinline)) static void value_tile(const unsigned char* planes, std::size_t plane_stride,
                                                   const unsigned char* values, const std::int32_t* start,
                                                   const float* factor, std::size_t factor_stride, float* sum,
                                                   std::size_t stride) {
    constexpr std::size_t steps = block_keys / 2;
    multiply<R, G>(planes, plane_stride, values, steps * line, steps, start,
                   [&](auto r, auto g, __m256i low, __m256i high) INTATTN_INLINE {
                     const __m256 f = _mm256_broadcast_ss(factor + std::size_t(r) * factor_stride);
                     float* to = sum + std::size_t(r) * stride + g * columns;
                     // The product by a power of two is exact.
                     _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(low), f, _mm256_loadu_ps(to)));
                     to += lanes;
                     _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(high), f, _mm256_loadu_ps(to)));
                   });
  }

  static std::int32_t sum_of(const unsigned char* plane) {
    __m256i sum = _mm256_setzero_si256();
    for (std::size_t i = 0; i < 2 * block_keys; i += line)
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(Ymm::load(plane + i), _mm256_set1_epi16(1)));
    return std::int32_t(Avx2Words::total(sum));
  }

  static void values(const ValueTask& task) {
    const std::size_t padded = round_up(task.dim, columns), block_bytes = value_block(task.dim);
    for (std::size_t row = 0; row < task.rows; ++row)
      __builtin_memset(task.sum + row * task.stride, 0, padded * sizeof(float));
    for (std::size_t block = task.block_begin; block < task.block_end; ++block) {
      const auto* of_block = static_cast<const unsigned char*>(task.planes) + block * block_keys * sizeof(float);
      in_steps<tile_rows>(task.rows, [&](std::size_t row, auto r) {
        constexpr int R = decltype(r)::value, most = R == 1 ? 4 : R == 2 ? 2 : 1;
        const unsigned char* planes = of_block + row * task.plane_stride;
        const float* factors = task.factor + row * task.factor_stride + block;
        std::int32_t start[R];
        bool any = false;
        for (int i = 0; i < R; ++i) {
          start[i] = -128 * sum_of(planes + std::size_t(i) * task.plane_stride);
          any |= factors[std::size_t(i) * task.factor_stride] != 0;
        }
        if (!any)
          return;
        for (std::size_t panel = 0; panel < padded / columns; panel += most)
          with_constant<most>(padded / columns - panel < most ? padded / columns - panel : most, [&](auto g) {
            value_tile<R, decltype(g)::value>(
                planes, task.plane_stride, task.values + block * block_bytes + panel * columns * block_keys, start,
                factors, task.factor_stride, task.sum + row * task.stride + panel * columns, task.stride);
          });
      });
    }
  }

  static constexpr BlockProducts table() {
    BlockProducts p = Products<Ymm, Words>::table();
    p.row_tile = tile_rows;
    p.column_group = columns;
    p.key_block = key_block;
    p.value_block = value_block;
    p.pack_key = pack_key;
    p.pack_value = pack_value;
    p.key_place = key_place;
    p.value_place = value_place;
    p.number_bytes = 1;
    p.even_flip = 0x80;
    p.scores = scores;
    p.values = values;
    return p;
  }

private:
  /// Bytes from a load to what is fetched for later.
  static constexpr std::size_t ahead = 6144;
};

} // namespace
} // namespace intattn
