#pragma once

// IndexSoftmax for every NEON core, sections 3 to 5 of the numeric specification. Scores become indices into the
// exponential table, indices become weights and their sums; with integer normalization the indices are kept and become
// probabilities in a second pass. C++14, no feature beyond armv8-a; dot products where the compiler has them.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../numerics/weight_table.h"

namespace intattn {
namespace { // compiled anew for each instruction set

// d16 = min(d >> shift, t) of section 3 for eight scores, in signed 16-bit lanes. They saturate at 32767 instead of t:
// from t on every table has zeros. Lanes belong to two rows in turn, [a b a b ...], which may be one and the same.

inline int32x4_t row_lanes(std::int32_t a, std::int32_t b) { return vzip1q_s32(vdupq_n_s32(a), vdupq_n_s32(b)); }

/// Shifts by 1 ... 8 bits, the same in both rows: those with which int8 products of up to 256 dimensions reach the
/// threshold; more dimensions shift by a variable. Distances from 2^31 on saturate, which here is exact.
template <int bits> struct ShiftByConstant {
  ShiftByConstant(const IndexParameters&, const IndexParameters&) {}
  int16x8_t operator()(int32x4_t maximum, int32x4_t x, int32x4_t y) const {
    return vqshrn_high_n_s32(vqshrn_n_s32(vqsubq_s32(maximum, x), bits), vqsubq_s32(maximum, y), bits);
  }
};

/// Any shift: the result is the high half of d << (16 - shift), which saturates at 32 bits.
struct ShiftByVariable {
  int32x4_t left;
  ShiftByVariable(const IndexParameters& a, const IndexParameters& b) : left(row_lanes(left_of(a), left_of(b))) {}
  int16x8_t operator()(int32x4_t maximum, int32x4_t x, int32x4_t y) const {
    const uint16x8_t high = vuzp2q_u16(shifted(vsubq_s32(maximum, x)), shifted(vsubq_s32(maximum, y)));
    return vreinterpretq_s16_u16(vminq_u16(high, vdupq_n_u16(32767)));
  }

private:
  static std::int32_t left_of(const IndexParameters& index) {
    return index.shift < -15 ? 31 : index.shift > 48 ? -32 : 16 - index.shift;
  }
  uint16x8_t shifted(int32x4_t d) const { return vreinterpretq_u16_u32(vqshlq_u32(vreinterpretq_u32_s32(d), left)); }
};

/// Calls f with the type of shift that suits both rows; only what the presets use is compiled for constant shifts.
template <class F>
inline auto with_shift(const IndexParameters& a, const IndexParameters& b, std::false_type, const F& f) {
  return f(ShiftByVariable(a, b));
}
template <class F>
inline auto with_shift(const IndexParameters& a, const IndexParameters& b, std::true_type, const F& f) {
  switch (a.shift == b.shift ? a.shift : 0) {
  case 1:
    return f(ShiftByConstant<1>(a, b));
  case 2:
    return f(ShiftByConstant<2>(a, b));
  case 3:
    return f(ShiftByConstant<3>(a, b));
  case 4:
    return f(ShiftByConstant<4>(a, b));
  case 5:
    return f(ShiftByConstant<5>(a, b));
  case 6:
    return f(ShiftByConstant<6>(a, b));
  case 7:
    return f(ShiftByConstant<7>(a, b));
  case 8:
    return f(ShiftByConstant<8>(a, b));
  default:
    return f(ShiftByVariable(a, b));
  }
}

/// Adds the bytes of `x` to the lanes of `sum`, four to a lane.
inline uint32x4_t add_bytes(uint32x4_t sum, uint8x16_t x) {
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_u32(sum, x, vdupq_n_u8(1));
#else
  return vpadalq_u16(sum, vpaddlq_u8(x));
#endif
}

// The product (d16 * M) >> 15 of section 3 has 15 bits, at the threshold 14. The index follows from it by a rounding
// shift; it may exceed the table, whose entries are zero from the last step on.

/// What integer normalization divides by. Rows that see nothing, whose sum is zero, get probabilities too, which mean
/// nothing and are cleared.
inline std::uint32_t divisor_of(const RowSums& sums) { return sums.weight ? sums.weight : 1; }

/// Table `natural` of 2^bits entries: bits = 4, 5 or 6.
template <int bits> struct NaturalWeights {
  static constexpr int registers = bits == 6 ? 4 : 2; ///< of a table
  using ConstantShifts = std::integral_constant<bool, bits == 5>;
  using ConstantShiftsOfIndices = ConstantShifts;
  using Entries = uint8x16x4_t; ///< the first `registers` count

  Entries weights;

  explicit NaturalWeights(const WeightTable& table) : weights(load(table.plane)) {}

  /// The high bytes of the products, with b = 6 after rounding; what b = 5 and 4 still shift is rounded there.
  static uint8x16_t indices(int16x8_t product_a, int16x8_t product_b) {
    if (bits == 6)
      return vuzp2q_u8(rounded(product_a), rounded(product_b));
    return vrshrq_n_u8(vuzp2q_u8(vreinterpretq_u8_s16(product_a), vreinterpretq_u8_s16(product_b)),
                       bits < 6 ? 6 - bits : 1);
  }

  static uint8x16_t look_up(const Entries& entries, uint8x16_t index) {
    return registers == 4 ? vqtbl4q_u8(entries, index)
                          : vqtbl2q_u8(uint8x16x2_t{{entries.val[0], entries.val[1]}}, index);
  }

  /// Sums of 16 lanes; the lower and the upper eight may belong to two rows.
  struct Sums {
    uint32x4_t weight = vdupq_n_u32(0);
    RowSums lower() const { return both(vget_low_u32(weight)); }
    RowSums upper() const { return both(vget_high_u32(weight)); }

  private:
    static RowSums both(uint32x2_t lanes) { return {vaddv_u32(lanes), vaddv_u32(lanes)}; }
  };

  /// h of 16 indices; adds them up.
  uint8x16_t plane(uint8x16_t index, Sums& sums) const {
    const uint8x16_t weight = look_up(weights, index);
    sums.weight = add_bytes(sums.weight, weight);
    return weight;
  }

  /// h of eight indices of two rows in turn: eight bytes of each row.
  uint8x16_t plane_of_pair(uint8x16_t index, Sums& sums) const {
    const uint8x16_t by_row = vcombine_u8(vcreate_u8(0x0e0c0a0806040200), vcreate_u8(0x0f0d0b0907050301));
    return plane(vqtbl1q_u8(index, by_row), sums);
  }

  /// Probabilities by index for the sums of some rows, section 5: 255 W / row_sum, rounded to nearest, half up. Exact
  /// in float32: what is no half lies at least 1 / (2 row_sum) from one, and the factor, which lifts the halves, and
  /// the rounding errors together move a quotient by less than 255 * 255 * 2^-18 / row_sum.
  template <int rows> static void normalize(const WeightTable& table, const RowSums* sums, Entries (&entries)[rows]) {
    float32x4_t factor[rows];
    for (int row = 0; row < rows; ++row)
      factor[row] = vdupq_n_f32(255 * (1 + 1 / 524288.0f) / float(divisor_of(sums[row]))); // 1 + 2^-19
    for (int i = 0; i < registers; ++i) {
      float32x4_t weight[4];
      for (int j = 0; j < 4; ++j)
        weight[j] = vcvtq_f32_u32(vmovl_u16(vld1_u16(table.weight + 16 * i + 4 * j)));
      for (int row = 0; row < rows; ++row) {
        const auto quotients = [&](int j) {
          return vreinterpretq_u16_u32(vcvtaq_u32_f32(vmulq_f32(weight[j], factor[row])));
        };
        const uint16x8_t low = vuzp1q_u16(quotients(0), quotients(1)), high = vuzp1q_u16(quotients(2), quotients(3));
        entries[row].val[i] = vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high));
      }
    }
  }

private:
  static Entries load(const std::uint8_t* p) {
    return {{vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}};
  }
  static uint8x16_t rounded(int16x8_t product) { return vreinterpretq_u8_s16(vaddq_s16(product, vdupq_n_s16(128))); }
};

/// Table `exp2`.
struct Exp2Weights {
  using ConstantShifts = std::true_type;
  using ConstantShiftsOfIndices = std::false_type;

  uint8x16_t low, high; ///< bytes of F
  uint8x16_t all = vdupq_n_u8(255);

  explicit Exp2Weights(const WeightTable& table) {
    const uint8x16_t a = vreinterpretq_u8_u16(vld1q_u16(table.fraction)),
                     b = vreinterpretq_u8_u16(vld1q_u16(table.fraction + 8));
    low = vuzp1q_u8(a, b);
    high = vuzp2q_u8(a, b);
    asm("" : "+w"(all)); // a constant known to be all ones makes clang replace the subtraction by more instructions
  }

  static uint8x16_t indices(int16x8_t product_a, int16x8_t product_b) {
    return vqrshrn_high_n_u16(vqrshrn_n_u16(vreinterpretq_u16_s16(product_a), 6), vreinterpretq_u16_s16(product_b), 6);
  }

  struct Sums {
    uint32x4_t lower_weight = vdupq_n_u32(0), upper_weight = vdupq_n_u32(0), plane = vdupq_n_u32(0);
    RowSums lower() const { return {vaddvq_u32(lower_weight), vaddv_u32(vget_low_u32(plane))}; }
    RowSums upper() const { return {vaddvq_u32(upper_weight), vaddv_u32(vget_high_u32(plane))}; }
  };

  uint8x16_t plane(uint8x16_t index, Sums& sums) const {
    const uint8x16_t f = vandq_u8(index, vdupq_n_u8(15)), k = vshrq_n_u8(index, 4);
    const uint8x16_t f_low = vqtbl1q_u8(low, f), f_high = vqtbl1q_u8(high, f);
    // Shifts are signed bytes at the bottom of a lane: 255 - k shifts right by k + 1.
    return planes(vzip1q_u8(f_low, f_high), vsubl_u8(vget_low_u8(all), vget_low_u8(k)), vzip2q_u8(f_low, f_high),
                  vsubl_high_u8(all, k), sums);
  }

  /// h of eight indices of two rows in turn: eight bytes of each row, which are the even and the odd ones.
  uint8x16_t plane_of_pair(uint8x16_t index, Sums& sums) const {
    const uint8x16_t f = vandq_u8(index, vdupq_n_u8(15));
    const uint16x8_t right = vreinterpretq_u16_u8(vmvnq_u8(vshrq_n_u8(index, 4)));
    const uint8x16_t f_low = vqtbl1q_u8(low, f), f_high = vqtbl1q_u8(high, f);
    return planes(vtrn1q_u8(f_low, f_high), right, vtrn2q_u8(f_low, f_high), vshrq_n_u16(right, 8), sums);
  }

  /// Probabilities by index.
  struct Entries {
    alignas(16) std::uint8_t by_index[256];
  };
  static uint8x16_t look_up(const Entries& entries, uint8x16_t index) {
    uint8x16_t x = vdupq_n_u8(0);
    for (int i = 0; i < 256; i += 64)
      x = vqtbx4q_u8(x, vld1q_u8_x4(entries.by_index + i), vsubq_u8(index, vdupq_n_u8(std::uint8_t(i))));
    return x;
  }
  template <int rows> static void normalize(const WeightTable& table, const RowSums* sums, Entries (&entries)[rows]) {
    for (int row = 0; row < rows; ++row) {
      std::memset(entries[row].by_index, 0, sizeof entries[row].by_index);
      normalize_table(table, divisor_of(sums[row]), entries[row].by_index);
    }
  }

private:
  static uint8x16_t planes(uint8x16_t f0, uint16x8_t right0, uint8x16_t f1, uint16x8_t right1, Sums& sums) {
    const uint16x8_t w0 = vrshlq_u16(vreinterpretq_u16_u8(f0), vreinterpretq_s16_u16(right0)),
                     w1 = vrshlq_u16(vreinterpretq_u16_u8(f1), vreinterpretq_s16_u16(right1));
    sums.lower_weight = vpadalq_u16(sums.lower_weight, w0);
    sums.upper_weight = vpadalq_u16(sums.upper_weight, w1);
    const uint8x16_t h = vrshrn_high_n_u16(vrshrn_n_u16(w0, 6), w1, 6);
    sums.plane = add_bytes(sums.plane, h);
    return h;
  }
};

/// Indices of 16 scores of two rows in turn.
template <class Weights, class Shift> struct Indices {
  int32x4_t maximum;
  int16x8_t multiplier;
  Shift shift;

  Indices(std::int32_t maximum_a, const IndexParameters& a, std::int32_t maximum_b, const IndexParameters& b)
      : maximum(row_lanes(maximum_a, maximum_b)),
        multiplier(vreinterpretq_s16_u32(vdupq_n_u32(b.multiplier << 16 | a.multiplier))), shift(a, b) {}

  uint8x16_t operator()(const int32x4x4_t& scores) const {
    return Weights::indices(product(scores.val[0], scores.val[1]), product(scores.val[2], scores.val[3]));
  }

private:
  int16x8_t product(int32x4_t x, int32x4_t y) const { return vqdmulhq_s16(shift(maximum, x, y), multiplier); }
};

/// First pass over a row: writes indices or the plane.
template <class Weights, bool write_indices, class Shift>
inline RowSums weigh_row(const std::int32_t* scores, std::size_t count, std::int32_t maximum, const WeightTable& table,
                         const IndexParameters& index, std::uint8_t* out) {
  const Weights weights(table);
  const Indices<Weights, Shift> indices_of(maximum, index, maximum, index);
  typename Weights::Sums sums;
  const auto block = [&](const std::int32_t* from, std::uint8_t* to) __attribute__((always_inline)) {
    const uint8x16_t indices = indices_of(vld1q_s32_x4(from)), plane = weights.plane(indices, sums);
    vst1q_u8(to, write_indices ? indices : plane);
  };
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    block(scores + i, out + i);
    block(scores + i + 16, out + i + 16);
    block(scores + i + 32, out + i + 32);
    block(scores + i + 48, out + i + 48);
  }
  for (; i + 16 <= count; i += 16)
    block(scores + i, out + i);
  RowSums total = {0, 0};
  if (i < count) {
    // What is missing in the last 16 is filled up with the maximum, whose weight is known.
    std::int32_t tail[16];
    std::uint8_t bytes[16];
    for (std::size_t j = 0; j < 16; ++j)
      tail[j] = i + j < count ? scores[i + j] : maximum;
    block(tail, bytes);
    std::memcpy(out + i, bytes, count - i);
    const auto filled = std::uint32_t(16 - (count - i));
    total = {0 - filled * table.weight[0], 0 - filled * table.plane[0]};
  }
  const RowSums lower = sums.lower(), upper = sums.upper();
  return {total.weight + lower.weight + upper.weight, total.plane + lower.plane + upper.plane};
}

template <class Weights> struct WeightsType {
  using type = Weights;
};

/// Calls f with the type of weights of this table.
template <class F> inline auto with_weights(const WeightTable& table, const F& f) {
  if (table.kind == Table::exp2)
    return f(WeightsType<Exp2Weights>());
  if (table.bits == 4)
    return f(WeightsType<NaturalWeights<4>>());
  if (table.bits == 5)
    return f(WeightsType<NaturalWeights<5>>());
  return f(WeightsType<NaturalWeights<6>>());
}

/// Second pass with integer normalization: indices become probabilities in place.
template <class Weights>
inline void replace_indices(std::uint8_t* bytes, std::size_t count, const typename Weights::Entries& entries) {
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64)
    for (int j = 0; j < 64; j += 16)
      vst1q_u8(bytes + i + j, Weights::look_up(entries, vld1q_u8(bytes + i + j)));
  for (; i + 16 <= count; i += 16)
    vst1q_u8(bytes + i, Weights::look_up(entries, vld1q_u8(bytes + i)));
  if (i < count) {
    std::uint8_t tail[16] = {};
    std::memcpy(tail, bytes + i, count - i);
    vst1q_u8(tail, Weights::look_up(entries, vld1q_u8(tail)));
    std::memcpy(bytes + i, tail, count - i);
  }
}

template <class Weights>
inline RowSums index_softmax_row_with(const std::int32_t* scores, std::size_t count, std::int32_t maximum,
                                      const WeightTable& table, const IndexParameters& index, std::uint8_t* out) {
  if (table.normalization == Normalization::deferred)
    return with_shift(index, index, typename Weights::ConstantShifts(), [&](auto shift) {
      return weigh_row<Weights, false, decltype(shift)>(scores, count, maximum, table, index, out);
    });
  const RowSums sums = with_shift(index, index, typename Weights::ConstantShiftsOfIndices(), [&](auto shift) {
    return weigh_row<Weights, true, decltype(shift)>(scores, count, maximum, table, index, out);
  });
  typename Weights::Entries entries[1];
  Weights::normalize(table, &sums, entries);
  replace_indices<Weights>(out, count, entries[0]);
  return sums;
}

/// The largest of `count` >= 1 scores.
inline std::int32_t row_maximum(const std::int32_t* scores, std::size_t count) {
  if (count < 4) {
    std::int32_t most = scores[0];
    for (std::size_t i = 1; i < count; ++i)
      most = scores[i] > most ? scores[i] : most;
    return most;
  }
  // The last vector may overlap the one before.
  int32x4_t a = vld1q_s32(scores + count - 4), b = a, c = a, d = a;
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    a = vmaxq_s32(a, vld1q_s32(scores + i));
    b = vmaxq_s32(b, vld1q_s32(scores + i + 4));
    c = vmaxq_s32(c, vld1q_s32(scores + i + 8));
    d = vmaxq_s32(d, vld1q_s32(scores + i + 12));
  }
  for (; i + 4 <= count; i += 4)
    a = vmaxq_s32(a, vld1q_s32(scores + i));
  return vmaxvq_s32(vmaxq_s32(vmaxq_s32(a, b), vmaxq_s32(c, d)));
}

/// IndexSoftmax of one row of `count` >= 1 scores whose largest is `maximum`. Reads `count` scores and writes `count`
/// bytes, neither aligned nor overlapping: the plane h with deferred normalization, probabilities P with integer.
inline RowSums index_softmax_row(const std::int32_t* scores, std::size_t count, std::int32_t maximum,
                                 const WeightTable& table, const IndexParameters& index, std::uint8_t* out) {
  return with_weights(table, [&](auto weights) {
    return index_softmax_row_with<typename decltype(weights)::type>(scores, count, maximum, table, index, out);
  });
}

} // namespace
} // namespace intattn
