#pragma once

// Products of version 2 on x86, written once over a vector type `V` (avx2/block_vector.h, avx512/block_vector.h) and a
// kind of product: words two a lane, or bytes four a lane.

#include <immintrin.h>

#include "block/block_kernels.h"
#include "kernels.h"
#include "simd/block_softmax.h"
#include "simd/unroll.h"

namespace intattn {
namespace { // compiled anew for each instruction set

inline __m128i load_bytes(const std::int8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

/// 16-bit operands, vpmaddwd: queries of 15 bits, planes of 14, and everything below.
template <class V> struct WordProducts {
  static constexpr std::size_t depth = 2;
  static constexpr std::size_t element = 2;
  static constexpr std::size_t key_extra = 0;
  static constexpr BlockProducts::RowWritten key_written = nullptr;

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
    constexpr std::size_t columns = V::tile_vectors * V::lanes;
    const std::size_t pairs = divide_up(dim, depth);
    for (std::size_t key = 0; key < block_keys; key += 8, rows += 8 * stride) {
      unsigned char* out = packed + (key / columns * pairs * columns + key % columns) * 4;
      for (std::size_t pair = 0; pair < pairs; pair += 8) {
        __m128i x[8], y[8];
        for (std::size_t i = 0; i < 8; ++i)
          x[i] = load_bytes(rows + i * stride + 2 * pair);
        const auto zip_words = [](const __m128i(&from)[8], __m128i(&to)[8]) INTATTN_INLINE {
          for (int i = 0; i < 4; ++i) {
            to[2 * i] = _mm_unpacklo_epi16(from[i], from[i + 4]);
            to[2 * i + 1] = _mm_unpackhi_epi16(from[i], from[i + 4]);
          }
        };
        zip_words(x, y);
        zip_words(y, x);
        zip_words(x, y);
        for (std::size_t i = 0; i < 8 && pair + i < pairs; ++i, out += 4 * columns)
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_cvtepi8_epi16(y[i]));
      }
    }
  }

  /// Up to 16 columns of a panel, two keys that stand together in a plane.
  static void pack_columns(const std::int8_t* rows, std::size_t stride, std::size_t place, std::size_t columns,
                           unsigned char*& packed) {
    const std::int8_t* source = rows + V::key_at(2 * place) * stride;
    const __m128i even = load_bytes(source), odd = load_bytes(source + stride);
    const __m128i pairs[2] = {_mm_unpacklo_epi8(even, odd), _mm_unpackhi_epi8(even, odd)};
    for (std::size_t i = 0; i < columns / 8; ++i, packed += 32)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(packed), _mm256_cvtepi8_epi16(pairs[i]));
  }

  /// Keys of a plane stand together by `depth`: their place, and which of them it is.
  struct InPlane {
    std::size_t place, which;
  };
  static InPlane in_plane(std::size_t key) {
    std::size_t position = 0;
    while (V::key_at(position) != key)
      ++position;
    return {position / depth, position % depth};
  }

  INTATTN_INLINE static void accumulate(typename V::integers& sum, typename V::integers factor,
                                        typename V::integers line) {
    V::accumulate(sum, V::multiply_words(factor, line));
  }

  using Words = typename V::words;
  static constexpr int word_vectors = int(block_keys / V::Softmax::lanes);
  struct Plane {
    static void store(unsigned char* plane, const Words (&h)[word_vectors]) {
      unroll<word_vectors>([&](auto i) INTATTN_INLINE { V::Softmax::store(plane + sizeof(Words) * i, h[i]); });
    }
  };
  static void unpack(const void* plane, std::uint16_t* out) {
    for (std::size_t position = 0; position < block_keys; ++position)
      __builtin_memcpy(out + V::key_at(position), static_cast<const unsigned char*>(plane) + 2 * position, 2);
  }
};

/// 8-bit operands: unsigned queries q + 128 with signed keys, unsigned planes with signed values. `Dot` adds four
/// products to each lane, in the order that is written.
template <class V, class Dot> struct ByteProducts {
  static constexpr std::size_t depth = 4;
  static constexpr std::size_t element = 1;
  /// Behind the keys of a block: -128 times the sum of each.
  static constexpr std::size_t key_extra = block_keys * sizeof(std::int32_t);
  static void key_written(const std::int8_t*, const std::int8_t* row, std::size_t dim, std::size_t key,
                          unsigned char* packed) {
    std::int32_t sum = 0;
    for (std::size_t c = 0; c < dim; ++c)
      sum += row[c];
    sum *= -128;
    __builtin_memcpy(packed + block_keys * round_up(dim, depth) + 4 * key, &sum, 4);
  }

  static void pack_query(const void* rows, unsigned, std::size_t stride, std::size_t count, std::size_t dim,
                         void* packed) {
    const std::size_t padded = round_up(dim, depth);
    auto* out = static_cast<std::uint8_t*>(packed);
    for (std::size_t row = 0; row < count; ++row, out += padded)
      for (std::size_t c = 0; c < padded; ++c)
        out[c] = std::uint8_t(static_cast<const std::int8_t*>(rows)[row * stride + c] + 128);
  }

  static void pack_key(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    constexpr std::size_t columns = V::tile_vectors * V::lanes;
    const std::size_t quads = divide_up(dim, depth), padded = round_up(dim, 16);
    auto* sums = packed + block_keys * quads * depth;
    const __m128i offset = _mm_set1_epi8(char(0x80));
    for (std::size_t key = 0; key < block_keys; key += 4, rows += 4 * stride) {
      unsigned char* out = packed + (key / columns * quads * columns + key % columns) * depth;
      __m128i sum[4] = {};
      for (std::size_t c = 0; c < padded; c += 16) {
        __m128i x[4];
        for (std::size_t i = 0; i < 4; ++i) {
          x[i] = load_bytes(rows + i * stride + c);
          sum[i] = _mm_add_epi64(sum[i], _mm_sad_epu8(_mm_xor_si128(x[i], offset), _mm_setzero_si128()));
        }
        const __m128i low01 = _mm_unpacklo_epi32(x[0], x[1]), high01 = _mm_unpackhi_epi32(x[0], x[1]);
        const __m128i low23 = _mm_unpacklo_epi32(x[2], x[3]), high23 = _mm_unpackhi_epi32(x[2], x[3]);
        const __m128i transposed[4] = {_mm_unpacklo_epi64(low01, low23), _mm_unpackhi_epi64(low01, low23),
                                       _mm_unpacklo_epi64(high01, high23), _mm_unpackhi_epi64(high01, high23)};
        for (std::size_t i = 0; i < 4 && c + 4 * i < dim; ++i, out += columns * depth)
          _mm_storeu_si128(reinterpret_cast<__m128i*>(out), transposed[i]);
      }
      for (std::size_t i = 0; i < 4; ++i) {
        const auto bytes = std::int32_t(_mm_cvtsi128_si32(sum[i]) + _mm_cvtsi128_si32(_mm_srli_si128(sum[i], 8)));
        const std::int32_t start = -128 * (bytes - 128 * std::int32_t(padded));
        __builtin_memcpy(sums + 4 * (key + i), &start, 4);
      }
    }
  }

  static void pack_columns(const std::int8_t* rows, std::size_t stride, std::size_t place, std::size_t columns,
                           unsigned char*& packed) {
    const std::int8_t* source = rows + V::quad_key(place) * stride;
    const __m128i r0 = load_bytes(source), r1 = load_bytes(source + stride), r2 = load_bytes(source + 2 * stride),
                  r3 = load_bytes(source + 3 * stride);
    const __m128i low01 = _mm_unpacklo_epi8(r0, r1), low23 = _mm_unpacklo_epi8(r2, r3);
    const __m128i high01 = _mm_unpackhi_epi8(r0, r1), high23 = _mm_unpackhi_epi8(r2, r3);
    const __m128i quads[4] = {_mm_unpacklo_epi16(low01, low23), _mm_unpackhi_epi16(low01, low23),
                              _mm_unpacklo_epi16(high01, high23), _mm_unpackhi_epi16(high01, high23)};
    __builtin_memcpy(packed, quads, 4 * columns);
    packed += 4 * columns;
  }

  struct InPlane {
    std::size_t place, which;
  };
  static InPlane in_plane(std::size_t key) {
    std::size_t place = 0;
    while (V::quad_key(place) != key / depth * depth)
      ++place;
    return {place, key % depth};
  }

  INTATTN_INLINE static void accumulate(typename V::integers& sum, typename V::integers factor,
                                        typename V::integers line) {
    Dot::accumulate(sum, factor, line);
  }

  using Words = typename V::words;
  static constexpr int word_vectors = int(block_keys / V::Softmax::lanes);
  struct Plane {
    static void store(unsigned char* plane, const Words (&h)[word_vectors]) {
      unroll<word_vectors / 2>([&](auto i) INTATTN_INLINE {
        V::Softmax::store(plane + sizeof(Words) * i, V::to_bytes(h[2 * i], h[2 * i + 1]));
      });
    }
  };
  static void unpack(const void* plane, std::uint16_t* out) {
    for (std::size_t i = 0; i < block_keys; ++i)
      out[V::quad_key(i / 4) + i % 4] = static_cast<const unsigned char*>(plane)[i];
  }
};

template <class V, class P> struct Products {
  using integers = typename V::integers;
  using floats = typename V::floats;
  static constexpr std::size_t lanes = V::lanes;
  static constexpr int tile_rows = V::tile_rows, tile_vectors = V::tile_vectors;
  static constexpr std::size_t tile_columns = tile_vectors * lanes;
  static constexpr std::size_t line = 4 * lanes; ///< bytes of a vector

  static std::size_t query_bytes(std::size_t dim) { return round_up(dim, P::depth) * P::element; }
  static std::size_t key_block(std::size_t dim) {
    return block_keys * round_up(dim, P::depth) * P::element + P::key_extra;
  }
  static std::size_t value_block(std::size_t dim) { return block_keys * round_up(dim, lanes) * P::element; }

  /// Panels of columns; a panel holds all keys of a block.
  static void pack_value(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed) {
    const std::size_t padded = round_up(dim, lanes);
    for (std::size_t column = 0; column < padded; column += tile_columns) {
      const std::size_t end = column + tile_columns < padded ? column + tile_columns : padded;
      for (std::size_t place = 0; place < block_keys / P::depth; ++place)
        for (std::size_t c = column; c < end; c += 16)
          P::pack_columns(rows + c, stride, place, end - c < 16 ? end - c : 16, packed);
    }
  }

  static std::size_t key_place(std::size_t dim, std::size_t key, std::size_t channel) {
    const std::size_t tile = key / tile_columns, groups = divide_up(dim, P::depth);
    const std::size_t group = (tile * groups + channel / P::depth) * tile_columns + key % tile_columns;
    return (group * P::depth + channel % P::depth) * P::element;
  }
  static std::size_t value_place(std::size_t dim, std::size_t key, std::size_t channel) {
    const std::size_t padded = round_up(dim, lanes), panel = channel / tile_columns * tile_columns;
    const std::size_t width = padded - panel < tile_columns ? padded - panel : tile_columns;
    const auto at = P::in_plane(key);
    return (panel * block_keys + (at.place * width + channel - panel) * P::depth + at.which) * P::element;
  }

  /// sum[R][C vectors] += A[R][depth * groups] B[groups][C vectors]
  template <int R, int C>
  INTATTN_INLINE static void multiply(const unsigned char* a, std::size_t a_stride, const unsigned char* b,
                                      std::size_t groups, integers (&sum)[R * C]) {
    for (std::size_t g = 0; g < groups; ++g, a += 4, b += C * line) {
      integers vectors[C];
      unroll<C>([&](auto c) INTATTN_INLINE {
        vectors[c] = V::load(b + c * line);
        V::pin(vectors[c]);
      });
      unroll<R>([&](auto r) INTATTN_INLINE {
        integers factor = V::broadcast4(a + std::size_t(r) * a_stride);
        V::pin(factor);
        unroll<C>([&](auto c) INTATTN_INLINE { P::accumulate(sum[r * C + c], factor, vectors[c]); });
      });
    }
  }

  /// One register tile of scores. A function of its own, in which GCC finds registers for all sums.
  template <int R>
  __attribute__((noinline)) static void
  score_tile(const unsigned char* query, const unsigned char* keys, std::size_t groups, const unsigned char* key_sums,
             const float* key_scale, const float* unit, float* out, std::size_t stride, float* lane_max) {
    integers sum[R * tile_vectors];
    unroll<R, tile_vectors>([&](auto r, auto c) INTATTN_INLINE {
      sum[r * tile_vectors + c] = P::key_extra ? V::load(key_sums + c * line) : V::zero();
    });
    multiply<R, tile_vectors>(query, groups * 4, keys, groups, sum);
    floats scale[tile_vectors];
    unroll<tile_vectors>([&](auto c) INTATTN_INLINE { scale[c] = V::load_floats(key_scale + c * lanes); });
    unroll<R>([&](auto i) INTATTN_INLINE {
      const floats of_row = V::broadcast(unit + i);
      floats most = V::broadcast(lowest);
      unroll<tile_vectors>([&](auto c) INTATTN_INLINE {
        const floats x = V::mul(V::mul(V::to_floats(sum[i * tile_vectors + c]), scale[c]), of_row);
        V::store_floats(out + c * lanes, x);
        most = V::max(most, x);
      });
      out += stride;
      if (lane_max) {
        V::store_floats(lane_max, V::max(most, V::load_floats(lane_max)));
        lane_max += maximum_lanes;
      }
    });
  }

  static void scores(const ScoreTask& task) {
    const std::size_t groups = divide_up(task.dim, P::depth), stride = query_bytes(task.dim);
    const std::size_t block_bytes = key_block(task.dim), tile_bytes = groups * tile_vectors * line;
    const auto* query = static_cast<const unsigned char*>(task.query);
    for (std::size_t block = task.block_begin; block < task.block_end; ++block)
      for (std::size_t tile = 0; tile < block_keys / tile_columns; ++tile) {
        if (block * block_keys + tile * tile_columns >= task.key_end)
          break;
        const unsigned char* keys = task.keys + block * block_bytes + tile * tile_bytes;
        const unsigned char* sums = task.keys + (block + 1) * block_bytes - P::key_extra + tile * tile_columns * 4;
        const std::size_t column = block * block_keys + tile * tile_columns;
        in_steps<tile_rows>(task.rows, [&](std::size_t row, auto r) {
          constexpr int R = decltype(r)::value;
          score_tile<R>(query + row * stride, keys, groups, sums, task.key_scale + column, task.unit + row,
                        task.x + row * task.stride + column, task.stride,
                        task.lane_max ? task.lane_max + row * maximum_lanes : nullptr);
        });
      }
  }

  /// One register tile over the 64 keys of a block.
  template <int R, int C>
  __attribute__((noinline)) static void value_tile(const unsigned char* planes, std::size_t plane_stride,
                                                   const unsigned char* values, const float* factor,
                                                   std::size_t factor_stride, float* out, std::size_t stride) {
    integers sum[R * C];
    unroll<R * C>([&](auto i) INTATTN_INLINE { sum[i] = V::zero(); });
    multiply<R, C>(planes, plane_stride, values, block_keys / P::depth, sum);
    unroll<R>([&](auto i) INTATTN_INLINE {
      const floats f = V::broadcast(factor);
      unroll<C>([&](auto j) INTATTN_INLINE {
        float* to = out + j * lanes;
        // The product by a power of two is exact.
        V::store_floats(to, V::multiply_add(V::to_floats(sum[i * C + j]), f, V::load_floats(to)));
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
        const float* factors = task.factor + row * task.factor_stride + block;
        bool any = false;
        for (int i = 0; i < R; ++i)
          any |= factors[std::size_t(i) * task.factor_stride] != 0;
        if (!any)
          return;
        for (std::size_t column = 0; column < padded; column += tile_columns)
          with_constant<tile_vectors>(
              (padded - column < tile_columns ? padded - column : tile_columns) / lanes, [&](auto c) {
                value_tile<R, decltype(c)::value>(planes + row * task.plane_stride, task.plane_stride,
                                                  task.values + block * block_bytes + column * block_keys * P::element,
                                                  factors, task.factor_stride, task.sum + row * task.stride + column,
                                                  task.stride);
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
    p.pack_value = pack_value;
    p.key_place = key_place;
    p.value_place = value_place;
    p.number_bytes = P::element;
    p.key_written = P::key_written;
    p.scores = scores;
    p.softmax = block_softmax<typename V::Softmax, typename P::Plane>;
    p.values = values;
    p.unpack = P::unpack;
    return p;
  }

private:
  static constexpr float lowest_score = -__builtin_inff();
  static constexpr const float* lowest = &lowest_score;
};

} // namespace
} // namespace intattn
