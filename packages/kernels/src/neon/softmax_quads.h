#pragma once

// The softmax of strips whose scores lie as smmla leaves them and whose probabilities lie as usmmla takes them, four
// rows at a time. A quad of rows 0 ... 3 has, for every eight keys,
// - scores: the row pairs (0, 1) and (2, 3), each four vectors [a b a b] of two keys;
// - probabilities: the same row pairs, each 16 bytes [eight keys of one row, eight of the other].
// Scores of a quad lie together; in probabilities the quads of a tile alternate every eight keys.

#include "kernels.h"
#include "neon/index_softmax.h"
#include "neon/matrix_pack.h"
#include "neon/vector.h"
#include "simd/float_tiles.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

constexpr std::size_t quad_scores = 32; ///< of eight keys
constexpr std::size_t quad_bytes = 32;  ///< of eight keys
constexpr std::size_t quad_keys = 16;   ///< rows are done in steps of so many keys

/// Where one quad of a strip lies. Rows that do not exist are taken to be like the last one.
struct Quad {
  std::int32_t* scores;
  std::uint8_t* probabilities;
  const std::int32_t* most; ///< lane maxima of the two row pairs
  std::size_t step;         ///< bytes from eight keys to the next eight in probabilities
  std::size_t padded, lane_end;
  std::size_t row[quad_rows];
  std::uint32_t visible[quad_rows];

  Quad(const SoftmaxStrip& strip, std::size_t first_row) : padded(strip.padded), lane_end(strip.lane_end) {
    const std::size_t tile_row = first_row / (tile_quads * quad_rows) * (tile_quads * quad_rows);
    const std::size_t quad = (first_row - tile_row) / quad_rows;
    const std::size_t left = divide_up(strip.rows - tile_row, quad_rows);
    step = (left < tile_quads ? left : tile_quads) * quad_bytes;
    scores = strip.scores + first_row * strip.score_stride;
    probabilities =
        static_cast<std::uint8_t*>(strip.probabilities) + tile_row * strip.probability_stride + quad * quad_bytes;
    most = strip.lane_max + tile_row * max_lanes + quad * 8;
    for (std::size_t i = 0; i < quad_rows; ++i) {
      row[i] = first_row + i < strip.rows ? first_row + i : strip.rows - 1;
      visible[i] = strip.visible[row[i]];
    }
  }

  std::int32_t* scores_at(std::size_t key) const { return scores + key / 8 * quad_scores; }
  std::uint8_t* probabilities_at(std::size_t key) const { return probabilities + key / 8 * step; }

  /// Keys that all four rows see, in whole steps.
  std::size_t visible_to_all() const {
    std::size_t least = padded;
    for (const std::uint32_t v : visible)
      least = v < least ? v : least;
    return least / quad_keys * quad_keys;
  }
};

/// Lanes [a b a b] whose keys, first and first + 1, do not count for the rows of a pair.
inline uint32x4_t masked(const std::uint32_t* visible, std::size_t first) {
  const auto key = std::uint32_t(first);
  return vcgeq_u32(vcombine_u32(vdup_n_u32(key), vdup_n_u32(key + 1)),
                   vcombine_u32(vld1_u32(visible), vld1_u32(visible)));
}

/// The largest visible score of each row.
inline void quad_maxima(const Quad& quad, std::int32_t (&maximum)[quad_rows]) {
  for (int pair = 0; pair < 2; ++pair) {
    int32x4_t most = quad.lane_end ? vld1q_s32(quad.most + 4 * pair) : vdupq_n_s32(INT32_MIN);
    for (std::size_t key = quad.lane_end; key < quad.padded; key += 2) {
      const int32x4_t x = vld1q_s32(quad.scores_at(key) + 16 * pair + key % 8 * 2);
      most = vmaxq_s32(most, vbslq_s32(masked(quad.visible + 2 * pair, key), vdupq_n_s32(INT32_MIN), x));
    }
    vst1_s32(maximum + 2 * pair, vmax_s32(vget_low_s32(most), vget_high_s32(most)));
  }
}

/// Eight keys of two rows out of sixteen of each: the first or the last ones. In assembly because clang copies one
/// operand to insert the other into it.
inline uint8x16_t first_eight(uint8x16_t a, uint8x16_t b) {
  uint8x16_t x;
  asm("zip1 %0.2d, %1.2d, %2.2d" : "=w"(x) : "w"(a), "w"(b));
  return x;
}
inline uint8x16_t last_eight(uint8x16_t a, uint8x16_t b) {
  return vreinterpretq_u8_u64(vzip2q_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
}

/// Rows have different lengths under a causal mask. What a row does not see is given the row's maximum, whose weight is
/// known, before the passes, and is cleared after them.
inline void mask_scores(const Quad& quad, const std::int32_t (&maximum)[quad_rows]) {
  for (std::size_t key = quad.visible_to_all(); key < quad.padded; key += 2)
    for (int pair = 0; pair < 2; ++pair) {
      std::int32_t* p = quad.scores_at(key) + 16 * pair + key % 8 * 2;
      const int32x4_t most = row_lanes(maximum[2 * pair], maximum[2 * pair + 1]);
      vst1q_s32(p, vbslq_s32(masked(quad.visible + 2 * pair, key), most, vld1q_s32(p)));
    }
}

inline void clear_masked(const Quad& quad) {
  for (std::size_t row = 0; row < quad_rows; ++row)
    for (std::size_t key = quad.visible[row] / 8 * 8; key < quad.padded; key += 8) {
      std::uint8_t* bytes = quad.probabilities_at(key) + 8 * row;
      for (std::size_t i = quad.visible[row] > key ? quad.visible[row] - key : 0; i < 8; ++i)
        bytes[i] = 0;
    }
}

/// The quad's maxima, parameters and weights in the forms its passes want.
template <class Weights, class Shift> struct QuadIndices {
  Indices<Weights, Shift> rows01, rows23;

  QuadIndices(const Quad& quad, const std::int32_t (&maximum)[quad_rows], const IndexParameters* index)
      : rows01(maximum[0], index[quad.row[0]], maximum[1], index[quad.row[1]]),
        rows23(maximum[2], index[quad.row[2]], maximum[3], index[quad.row[3]]) {}
};

/// Indices of the next eight keys of two rows. The empty statement ends the computation before the next one begins:
/// clang otherwise interleaves several and keeps tables in memory for want of registers.
template <class Weights, class Shift>
INTATTN_INLINE inline uint8x16_t next_indices(const Indices<Weights, Shift>& indices_of, const std::int32_t*& scores) {
  uint8x16_t x = indices_of(vld1q_s32_x4(scores));
  scores += 16;
  asm("" : "+r"(scores), "+w"(x));
  return x;
}

/// Deferred normalization: writes the plane.
template <class Weights, class Shift>
inline void weigh_quad(const Quad& quad, const std::int32_t (&maximum)[quad_rows], const WeightTable& table,
                       const IndexParameters* index, RowSums (&sums)[quad_rows]) {
  const Weights weights(table);
  const QuadIndices<Weights, Shift> indices(quad, maximum, index);
  typename Weights::Sums rows01, rows23;
  const std::int32_t* scores = quad.scores;
  std::uint8_t* out = quad.probabilities;
  const std::size_t step = quad.step;
  for (std::size_t n = quad.padded / quad_keys; n > 0; --n)
    unroll<2>([&](auto) INTATTN_INLINE {
      const uint8x16_t a = weights.plane_of_pair(next_indices(indices.rows01, scores), rows01),
                       b = weights.plane_of_pair(next_indices(indices.rows23, scores), rows23);
      vst1q_u8(out, a);
      vst1q_u8(out + 16, b);
      out += step;
    });
  sums[0] = rows01.lower();
  sums[1] = rows01.upper();
  sums[2] = rows23.lower();
  sums[3] = rows23.upper();
}

/// Integer normalization, first pass: indices of sixteen keys, row after row, take the place of the scores.
template <class Weights, class Shift>
inline void index_quad(const Quad& quad, const std::int32_t (&maximum)[quad_rows], const WeightTable& table,
                       const IndexParameters* index, RowSums (&sums)[quad_rows]) {
  const Weights weights(table);
  const QuadIndices<Weights, Shift> indices(quad, maximum, index);
  typename Weights::Sums total[quad_rows];
  const std::int32_t* scores = quad.scores;
  auto* out = reinterpret_cast<std::uint8_t*>(quad.scores);
  for (std::size_t n = quad.padded / quad_keys; n > 0; --n) {
    const uint8x16_t first01 = next_indices(indices.rows01, scores), first23 = next_indices(indices.rows23, scores),
                     last01 = next_indices(indices.rows01, scores), last23 = next_indices(indices.rows23, scores);
    const uint8x16x4_t rows = {{vuzp1q_u8(first01, last01), vuzp2q_u8(first01, last01), vuzp1q_u8(first23, last23),
                                vuzp2q_u8(first23, last23)}};
    unroll<4>([&](auto i) INTATTN_INLINE { weights.plane(rows.val[i], total[i]); });
    vst1q_u8_x4(out, rows);
    out += quad_rows * quad_keys;
  }
  for (std::size_t i = 0; i < quad_rows; ++i) {
    const RowSums lower = total[i].lower(), upper = total[i].upper();
    sums[i] = {lower.weight + upper.weight, lower.plane + upper.plane};
  }
}

/// Second pass: sixteen indices a row become probabilities as usmmla takes them.
template <class Weights>
inline void normalize_quad(const Quad& quad, const WeightTable& table, const RowSums (&sums)[quad_rows]) {
  typename Weights::Entries entries[quad_rows];
  Weights::normalize(table, sums, entries);
  const auto* indices = reinterpret_cast<const std::uint8_t*>(quad.scores);
  std::uint8_t* out = quad.probabilities;
  const std::size_t step = quad.step;
  for (std::size_t n = quad.padded / quad_keys; n > 0; --n) {
    const uint8x16x4_t rows = vld1q_u8_x4(indices);
    const auto row = [&](int i) INTATTN_INLINE { return Weights::look_up(entries[i], rows.val[i]); };
    const uint8x16_t a = row(0), b = row(1), c = row(2), d = row(3);
    vst1q_u8(out, first_eight(a, b));
    vst1q_u8(out + 16, first_eight(c, d));
    out += step;
    vst1q_u8(out, last_eight(a, b));
    vst1q_u8(out + 16, last_eight(c, d));
    out += step;
    indices += quad_rows * quad_keys;
  }
}

template <class Weights>
inline void index_softmax_quad(const Quad& quad, const WeightTable& table, const IndexParameters* index,
                               RowSums* strip_sums) {
  std::int32_t maximum[quad_rows];
  quad_maxima(quad, maximum);
  const bool masks = quad.visible_to_all() < quad.padded;
  if (masks)
    mask_scores(quad, maximum);
  RowSums sums[quad_rows];
  const bool normalize = table.normalization == Normalization::integer;
  bool same = true;
  for (std::size_t i = 1; i < quad_rows; ++i)
    same = same && index[quad.row[i]].shift == index[quad.row[0]].shift;
  IndexParameters other = index[quad.row[1]];
  if (!same)
    other.shift = index[quad.row[0]].shift + 1; // any that is not the first
  if (normalize)
    with_shift(index[quad.row[0]], other, typename Weights::ConstantShiftsOfIndices(),
               [&](auto shift) { index_quad<Weights, decltype(shift)>(quad, maximum, table, index, sums); });
  else
    with_shift(index[quad.row[0]], other, typename Weights::ConstantShifts(),
               [&](auto shift) { weigh_quad<Weights, decltype(shift)>(quad, maximum, table, index, sums); });
  for (std::size_t i = 0; i < quad_rows; ++i) {
    const auto filled = std::uint32_t(quad.padded - quad.visible[i]);
    sums[i].weight -= filled * table.weight[0];
    sums[i].plane -= filled * table.plane[0];
  }
  if (normalize)
    normalize_quad<Weights>(quad, table, sums);
  if (masks)
    clear_masked(quad);
  for (std::size_t i = quad_rows; i-- > 0;) // a row that does not exist before the one it repeats
    strip_sums[quad.row[i]] = sums[i];
}

inline void index_softmax_quads(const SoftmaxStrip& strip, const WeightTable& table, const IndexParameters* index,
                                RowSums* sums) {
  for (std::size_t row = 0; row < strip.rows; row += quad_rows) {
    const Quad quad(strip, row);
    with_weights(table,
                 [&](auto weights) { index_softmax_quad<typename decltype(weights)::type>(quad, table, index, sums); });
  }
}

/// Pipeline int8.
inline void float_softmax_quads(const SoftmaxStrip& strip, const float* logit_scale) {
  for (std::size_t first = 0; first < strip.rows; first += quad_rows) {
    const Quad quad(strip, first);
    std::int32_t maximum[quad_rows];
    quad_maxima(quad, maximum);
    float32x4_t factor[2];
    for (int pair = 0; pair < 2; ++pair) {
      const std::size_t a = 2 * std::size_t(pair), b = a + 1;
      const int32x4_t most = row_lanes(maximum[a], maximum[b]);
      const float32x4_t scale =
          vzip1q_f32(vdupq_n_f32(-logit_scale[quad.row[a]]), vdupq_n_f32(-logit_scale[quad.row[b]]));
      float32x4_t sum = vdupq_n_f32(0);
      const std::size_t all = quad.visible_to_all();
      for (std::size_t key = 0; key < quad.padded; key += 8) {
        std::int32_t* p = quad.scores_at(key) + 16 * pair;
        for (std::size_t i = 0; i < 4; ++i) {
          const uint32x4_t distance = vreinterpretq_u32_s32(vsubq_s32(most, vld1q_s32(p + 4 * i)));
          float32x4_t e = exp_non_positive<Neon>(vmulq_f32(vcvtq_f32_u32(distance), scale));
          if (key >= all)
            e = vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(e), masked(quad.visible + a, key + 2 * i)));
          sum = vaddq_f32(sum, e);
          vst1q_s32(p + 4 * i, vreinterpretq_s32_f32(e));
        }
      }
      const float32x2_t both = vadd_f32(vget_low_f32(sum), vget_high_f32(sum));
      // Rows that see nothing: all their exponentials are zero.
      const float32x2_t one_at_least = vbsl_f32(vceqz_f32(both), vdup_n_f32(1), both);
      const float32x2_t each = vdiv_f32(vdup_n_f32(127), one_at_least);
      factor[pair] = vcombine_f32(each, each);
    }
    for (std::size_t key = 0; key < quad.padded; key += 8)
      for (int pair = 0; pair < 2; ++pair) {
        const std::int32_t* p = quad.scores_at(key) + 16 * pair;
        const auto rounded = [&](int i) {
          return vcvtnq_s32_f32(vmulq_f32(vreinterpretq_f32_s32(vld1q_s32(p + 4 * i)), factor[pair]));
        };
        // Lanes are [a b a b]: narrowing takes first one row, then the other.
        const auto row = [&](bool second) {
          const auto pick = [&](int32x4_t x, int32x4_t y) {
            return vreinterpretq_s16_s32(second ? vuzp2q_s32(x, y) : vuzp1q_s32(x, y));
          };
          return vuzp1q_s16(pick(rounded(0), rounded(1)), pick(rounded(2), rounded(3)));
        };
        vst1q_u8(quad.probabilities_at(key) + 16 * pair,
                 vuzp1q_u8(vreinterpretq_u8_s16(row(false)), vreinterpretq_u8_s16(row(true))));
      }
  }
}

inline void unpack_quads(const void* probabilities, std::size_t stride, std::size_t rows, std::size_t row,
                         std::size_t keys, std::uint8_t* out) {
  const std::size_t tile_row = row / (tile_quads * quad_rows) * (tile_quads * quad_rows);
  const std::size_t left = divide_up(rows - tile_row, quad_rows), quads = left < tile_quads ? left : tile_quads;
  const std::size_t i = row % quad_rows;
  const auto* p = static_cast<const std::uint8_t*>(probabilities) + tile_row * stride +
                  (row - tile_row) / quad_rows * quad_bytes + 8 * i;
  for (std::size_t key = 0; key < keys; ++key)
    out[key] = p[key / 8 * quads * quad_bytes + key % 8];
}

} // namespace
} // namespace intattn
