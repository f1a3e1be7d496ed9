#pragma once

// Float attention, written once over a vector type `V` and a storage type `S`. Every instruction set includes this file
// in its one translation unit; the unnamed namespace keeps the instantiations apart, so that no code for a newer CPU is
// shared by the linker.

#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

/// exp(x) for x <= 0, within 2 ulp; 0 below -87; NaN of a NaN.
template <class V> inline typename V::f32 exp_non_positive(typename V::f32 x) {
  const auto lowest = V::set(-87.0f);
  const auto clamped = V::max(lowest, x);
  const auto n = V::round(V::mul(clamped, V::set(1.44269504f)));
  auto r = V::fma(n, V::set(-0.693145752f), clamped);
  r = V::fma(n, V::set(-1.42860677e-6f), r);
  auto p = V::set(0.00138145988f);
  p = V::fma(p, r, V::set(0.00836871658f));
  p = V::fma(p, r, V::set(0.0416683890f));
  p = V::fma(p, r, V::set(0.166665211f));
  p = V::fma(p, r, V::set(0.49999994f));
  p = V::fma(p, r, V::set(1.0f));
  p = V::fma(p, r, V::set(1.0f));
  return V::zero_where_less(x, lowest, V::times_power_of_two(p, n));
}

template <class V> struct Float32Storage {
  using element = float;
  static typename V::f32 load(const element* p) { return V::load(p); }
  static void store(element* p, typename V::f32 x) { V::store(p, x); }
  /// What a value is once stored.
  static typename V::f32 rounded(typename V::f32 x) { return x; }
};

template <class V> struct Float16Storage {
  using element = std::uint16_t;
  static typename V::f32 load(const element* p) { return V::load_half(p); }
  static void store(element* p, typename V::f32 x) { V::store_half(p, x); }
  /// What a value is once stored; beyond the range of float16 its largest number.
  static typename V::f32 rounded(typename V::f32 x) {
    return V::round_to_half(V::min(V::max(x, V::set(-65504)), V::set(65504)));
  }
};

/// `V` needs: f32, width, rows and columns (in vectors) of a register tile, set, load, store, load_half, store_half,
/// round_to_half, add, mul, fma, min, max, multiplies_by_lane (and then fma_lane), round, zero_where_less,
/// times_power_of_two, sum, maximum.
template <class V, class S> struct FloatTiles {
  using f32 = typename V::f32;
  using element = typename S::element;
  static constexpr std::size_t width = V::width;
  static constexpr std::size_t key_tile = V::columns * width;
  /// Keys per pass over the accumulators: the slice of V stays in L1.
  static constexpr std::size_t depth_block = 128;

  static void pack_key(const float* rows, std::size_t count, std::size_t dim, void* packed_tile) {
    auto* out = static_cast<element*>(packed_tile);
    alignas(64) float column[key_tile] = {};
    for (std::size_t k = 0; k < dim; ++k) {
      for (std::size_t key = 0; key < count; ++key)
        column[key] = rows[key * dim + k];
      for (std::size_t c = 0; c < key_tile; c += width)
        S::store(out + k * key_tile + c, V::load(column + c));
    }
  }

  static void pack_value(const float* rows, std::size_t count, std::size_t dim, std::size_t tile,
                         std::size_t padded_keys, void* packed) {
    auto* out = static_cast<element*>(packed);
    const std::size_t padded_dim = round_up(dim, width);
    for (std::size_t column = 0; column < padded_dim; column += key_tile) {
      const std::size_t columns = padded_dim - column < key_tile ? padded_dim - column : key_tile;
      element* panel = out + column * padded_keys + tile * key_tile * columns;
      for (std::size_t key = 0; key < key_tile; ++key)
        for (std::size_t c = 0; c < columns; c += width)
          S::store(panel + key * columns + c,
                   key < count ? load_some(rows + key * dim + column + c, dim - (column + c)) : V::set(0));
    }
  }

  static void scores(const float* query, std::size_t rows, const void* packed_key, std::size_t tile_begin,
                     std::size_t tile_end, std::size_t dim, float scale, void* scores, std::size_t stride,
                     float* lane_max) {
    for (std::size_t tile = tile_begin; tile < tile_end; ++tile) {
      const auto* key = static_cast<const element*>(packed_key) + tile * key_tile * dim;
      in_steps<V::rows>(rows, [&](std::size_t row, auto r) {
        constexpr int R = decltype(r)::value;
        constexpr int C = V::columns;
        f32 sum[R * C];
        unroll<R * C>([&](auto i) INTATTN_INLINE { sum[i] = V::set(0); });
        multiply<R, C>(query + row * dim, dim, key, dim, sum);
        auto* out = static_cast<element*>(scores) + row * stride + tile * key_tile;
        unroll<R, C>([&](auto i, auto c) INTATTN_INLINE {
          f32& x = sum[i * C + c];
          x = S::rounded(V::mul(x, V::set(scale)));
          S::store(out + std::size_t(i) * stride + std::size_t(c) * width, x);
        });
        if (lane_max)
          unroll<R>([&](auto i) INTATTN_INLINE {
            float* lanes = lane_max + (row + std::size_t(i)) * max_lanes;
            f32 most = V::load(lanes);
            unroll<C>([&](auto c) INTATTN_INLINE { most = V::max(most, sum[i * C + c]); });
            V::store(lanes, most);
          });
      });
    }
  }

  static float softmax(void* scores, const float* lane_max, const RowExtent& extent, float* scratch) {
    constexpr bool normalize = sizeof(element) == 2;
    auto* row = static_cast<element*>(scores);
    constexpr float lowest = -std::numeric_limits<float>::infinity();
    f32 top = V::set(lowest);
    if (extent.lane_end)
      for (std::size_t lane = 0; lane < max_lanes; lane += width)
        top = V::max(top, V::load(lane_max + lane));
    for_vectors(extent.lane_end, extent.visible,
                [&](std::size_t i, std::size_t n) { top = V::max(top, load_row(row + i, n, lowest)); });
    const f32 row_max = V::set(V::maximum(top));
    const f32 negative_max = V::mul(row_max, V::set(-1));

    f32 sum = V::set(0);
    float* exponentials = normalize ? scratch : reinterpret_cast<float*>(row);
    for_vectors(0, extent.visible, [&](std::size_t i, std::size_t n) {
      f32 e = exp_non_positive<V>(V::add(load_row(row + i, n, lowest), negative_max));
      sum = V::add(sum, e);
      V::store(exponentials + i, e);
    });
    const float total = V::sum(sum);
    if constexpr (normalize) {
      const f32 factor = V::set(1 / total);
      for_vectors(0, extent.visible,
                  [&](std::size_t i, std::size_t) { S::store(row + i, V::mul(V::load(scratch + i), factor)); });
    }
    for (std::size_t i = extent.visible; i < extent.padded; ++i)
      row[i] = 0;
    return normalize ? 1 : 1 / total;
  }

  static void values(const void* probabilities, std::size_t probability_stride, std::size_t rows,
                     const void* packed_value, std::size_t padded_keys, std::size_t key_end, std::size_t dim,
                     float* accumulators, std::size_t stride) {
    const std::size_t padded_dim = round_up(dim, width);
    for (std::size_t column = 0; column < padded_dim; column += key_tile) {
      const std::size_t vectors = (padded_dim - column) / width;
      with_constant<V::columns>(vectors < V::columns ? vectors : V::columns, [&](auto c) {
        constexpr int C = decltype(c)::value;
        const auto* panel = static_cast<const element*>(packed_value) + column * padded_keys;
        for (std::size_t begin = 0; begin < key_end; begin += depth_block) {
          const std::size_t depth = key_end - begin < depth_block ? key_end - begin : depth_block;
          in_steps<V::rows>(rows, [&](std::size_t row, auto r) {
            constexpr int R = decltype(r)::value;
            f32 sum[R * C];
            float* out = accumulators + row * stride + column;
            const auto place = [&](int i, int j) { return out + std::size_t(i) * stride + std::size_t(j) * width; };
            unroll<R * C>([&](auto i) INTATTN_INLINE { sum[i] = V::set(0); });
            const auto* p = static_cast<const element*>(probabilities) + row * probability_stride + begin;
            if constexpr (sizeof(element) == 2) {
              alignas(64) float block[R][depth_block];
              for (int i = 0; i < R; ++i)
                for (std::size_t k = 0; k < depth; k += width)
                  V::store(block[i] + k, S::load(p + std::size_t(i) * probability_stride + k));
              multiply<R, C>(block[0], depth_block, panel + begin * C * width, depth, sum);
            } else {
              multiply<R, C>(p, probability_stride, panel + begin * C * width, depth, sum);
            }
            // Blocks are summed from zero and added up, which keeps the rounding errors of long sequences small.
            unroll<R, C>([&](auto i, auto j) INTATTN_INLINE {
              const f32 before = begin ? V::load(place(i, j)) : V::set(0);
              V::store(place(i, j), V::add(before, sum[i * C + j]));
            });
          });
        }
      });
    }
  }

  static constexpr FloatKernels kernels() { return {sizeof(element), pack_key, pack_value, scores, softmax, values}; }

private:
  /// sum[R][C vectors] += A[R][depth] B[depth][C vectors]
  template <int R, int C>
  INTATTN_INLINE static inline void multiply(const float* a, std::size_t a_stride, const element* b, std::size_t depth,
                                             f32 (&sum)[R * C]) {
    std::size_t k = 0;
    if constexpr (V::multiplies_by_lane)
      for (; k + width <= depth; k += width, a += width, b += width * C * width) {
        f32 factors[R];
        unroll<R>([&](auto r) INTATTN_INLINE { factors[r] = V::load(a + std::size_t(r) * a_stride); });
        unroll<int(width), C>([&](auto lane, auto c) INTATTN_INLINE {
          const f32 line = S::load(b + (lane * C + c) * int(width));
          unroll<R>([&](auto r) INTATTN_INLINE {
            sum[r * C + c] = V::template fma_lane<decltype(lane)::value>(line, factors[r], sum[r * C + c]);
          });
        });
      }
    for (; k < depth; ++k, ++a, b += C * width) {
      f32 line[C];
      unroll<C>([&](auto c) INTATTN_INLINE { line[c] = S::load(b + c * int(width)); });
      unroll<R>([&](auto r) INTATTN_INLINE {
        const f32 factor = V::set(a[std::size_t(r) * a_stride]);
        unroll<C>([&](auto c) INTATTN_INLINE { sum[r * C + c] = V::fma(factor, line[c], sum[r * C + c]); });
      });
    }
  }

  /// f(i, n) for each vector of [begin, end), n of its elements inside.
  template <class F> static inline void for_vectors(std::size_t begin, std::size_t end, const F& f) {
    std::size_t i = begin;
    for (; i + width <= end; i += width)
      f(i, width);
    if (i < end)
      f(i, end - i);
  }

  static inline f32 load_row(const element* p, std::size_t n, float rest) {
    const f32 x = S::load(p);
    if (n == width)
      return x;
    alignas(64) float lanes[width];
    V::store(lanes, x);
    for (std::size_t i = n; i < width; ++i)
      lanes[i] = rest;
    return V::load(lanes);
  }

  static inline f32 load_some(const float* p, std::size_t n) {
    if (n >= width)
      return V::load(p);
    alignas(64) float lanes[width] = {};
    for (std::size_t i = 0; i < n; ++i)
      lanes[i] = p[i];
    return V::load(lanes);
  }
};

} // namespace
} // namespace intattn
