#pragma once

// Block softmax on NEON, sections 7 and 8 of the numeric specification, version 2. One pass, where simd/block_softmax.h
// has two: conversions and narrowing saturate, shifts go by lane, and what is left is short. Positions are keys.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "block/block_kernels.h"
#include "simd/block_softmax.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

/// Eight 16-bit lanes.
struct NeonWords {
  using words = uint16x8_t;
  static constexpr int vectors = block_keys / 8;

  static words load(const std::int16_t* p) { return vreinterpretq_u16_s16(vld1q_s16(p)); }

  /// Both conversions saturate: infinity becomes 65535.
  static words distances(float32x4_t max, float32x4_t x0, float32x4_t x1) {
    const auto distance = [&](float32x4_t x) INTATTN_INLINE { return vcvtnq_u32_f32(vsubq_f32(max, x)); };
    return vqmovn_high_u32(vqmovn_u32(distance(x0)), distance(x1));
  }

  static int fold(const ValueScales& scales, const float* x, std::int16_t* folded) {
    const float32x4_t lowest = vdupq_n_f32(-std::numeric_limits<float>::infinity());
    uint16x8_t counts[vectors];
    int16x8_t top = vdupq_n_s16(no_exponent);
    unroll<vectors>([&](auto i) INTATTN_INLINE {
      const auto visible = [&](const float* p) INTATTN_INLINE { return vmovn_u32(vcgtq_f32(vld1q_f32(p), lowest)); };
      const int16x8_t mantissa = vld1q_s16(scales.mantissa + i * 8);
      counts[i] =
          vandq_u16(vcombine_u16(visible(x + i * 8), visible(x + i * 8 + 4)), vcgtq_s16(mantissa, vdupq_n_s16(0)));
      top = vmaxq_s16(top, vbslq_s16(counts[i], vld1q_s16(scales.exponent + i * 8), vdupq_n_s16(no_exponent)));
    });
    const std::int16_t z = vmaxvq_s16(top);
    unroll<vectors>([&](auto i) INTATTN_INLINE {
      // z - exponent may exceed what the signed type holds, where it counts for nothing.
      const uint16x8_t distance = vminq_u16(
          vreinterpretq_u16_s16(vsubq_s16(vdupq_n_s16(z), vld1q_s16(scales.exponent + i * 8))), vdupq_n_u16(15));
      const uint16x8_t mantissa = vandq_u16(load(scales.mantissa + i * 8), counts[i]);
      vst1q_u16(reinterpret_cast<std::uint16_t*>(folded) + i * 8,
                vshlq_u16(mantissa, vnegq_s16(vreinterpretq_s16_u16(distance))));
    });
    return z;
  }

  /// `left` is E - 1.
  static words weight(words d, int16x8_t left) {
    const int16x8_t f = vreinterpretq_s16_u16(vshlq_n_u16(vandq_u16(d, vdupq_n_u16(1023)), 5));
    const int16x8_t inner = vsubq_s16(vdupq_n_s16(21948), vqrdmulhq_s16(f, vdupq_n_s16(5664)));
    const int16x8_t m = vsubq_s16(vdupq_n_s16(32640), vqrdmulhq_s16(f, inner));
    // Shifts to the left by -(r + 1); those beyond the lane give 0.
    return vreinterpretq_u16_s16(vrshlq_s16(m, vsubq_s16(left, vreinterpretq_s16_u16(vshrq_n_u16(d, 10)))));
  }
  static words mulhrs(words a, words b) {
    return vreinterpretq_u16_s16(vqrdmulhq_s16(vreinterpretq_s16_u16(a), vreinterpretq_s16_u16(b)));
  }
};

/// Sections 7 and 8 of one row. `Plane::store(plane, u, left, bits)` shifts, rounds and limits.
template <class Plane> inline std::uint64_t neon_block_softmax(const SoftmaxTask& task) {
  using W = NeonWords;
  constexpr int vectors = W::vectors;
  const SoftmaxTask t = task; // in registers, whatever is written
  const float32x4_t max = vdupq_n_f32(t.max);
  const float* x = t.x + t.block_begin * block_keys;
  unsigned char* plane = static_cast<unsigned char*>(t.planes) + t.block_begin * block_keys * sizeof(float);
  std::uint64_t row_sum = 0;
  for (std::size_t block = t.block_begin; block < t.block_end;
       ++block, x += block_keys, plane += block_keys * sizeof(float)) {
    uint16x8_t d[vectors];
    unroll<4>([&](auto i) INTATTN_INLINE {
      const float32x4x4_t y = vld1q_f32_x4(x + 16 * i);
      d[2 * i] = W::distances(max, y.val[0], y.val[1]);
      d[2 * i + 1] = W::distances(max, y.val[2], y.val[3]);
    });
    uint16x8_t least = d[0];
    unroll<vectors>([&](auto i) INTATTN_INLINE { least = vminq_u16(least, d[i]); });
    const unsigned exponent = unsigned(vminvq_u16(least)) >> 10;
    if (__builtin_expect(exponent >= dead_exponent, 0)) {
      t.factor[block] = 0;
      if (t.exponents)
        t.exponents[block] = {-1, no_exponent, 0};
      unroll<vectors>([&](auto i) INTATTN_INLINE { d[i] = vdupq_n_u16(0); });
      Plane::store(plane, d, vdupq_n_s16(0), t.plane_bits);
      continue;
    }

    const ValueScales& scales = t.scales[block];
    const std::int16_t* folded = scales.folded;
    int top = scales.top;
    alignas(16) std::int16_t own[block_keys];
    if (__builtin_expect(block < t.whole_begin || block >= t.whole_end, 0)) {
      top = W::fold(scales, x, own);
      folded = own;
    }
    const int16x8_t left = vdupq_n_s16(std::int16_t(int(exponent) - 1));
    uint32x4_t sum = vdupq_n_u32(0);
    uint16x8_t most = vdupq_n_u16(0);
    unroll<2>([&](auto half) INTATTN_INLINE {
      const int16x8x4_t g = vld1q_s16_x4(folded + 32 * half);
      unroll<4>([&](auto j) INTATTN_INLINE {
        uint16x8_t& u = d[4 * half + j];
        const uint16x8_t w = W::weight(u, left);
        sum = half + j == 0 ? vpaddlq_u16(w) : vpadalq_u16(sum, w);
        u = W::mulhrs(w, vreinterpretq_u16_s16(g.val[j]));
        most = half + j == 0 ? u : vmaxq_u16(most, u);
      });
    });
    row_sum += std::uint64_t(vaddvq_u32(sum)) << (31 - exponent);
    const int excess = int(bit_length(vmaxvq_u16(most))) - int(t.plane_bits), shift = excess > 0 ? excess : 0;
    Plane::store(plane, d, vdupq_n_s16(std::int16_t(-shift)), t.plane_bits);
    t.factor[block] = top == no_exponent ? 0 : power_of_two(shift - int(exponent) + top);
    if (__builtin_expect(t.exponents != nullptr, 0))
      t.exponents[block] = {std::int16_t(exponent), std::int16_t(top), std::int16_t(shift)};
  }
  return row_sum;
}

/// A plane of `bits` 8 or 7 as bytes h - `offset`, offset 0 or 128.
template <int bits, int offset> struct BytePlane {
  static void store(unsigned char* plane, const uint16x8_t (&u)[NeonWords::vectors], int16x8_t left, unsigned) {
    uint8x16x4_t bytes;
    unroll<4>([&](auto i) INTATTN_INLINE {
      const uint16x8_t a = vrshlq_u16(u[2 * i], left), b = vrshlq_u16(u[2 * i + 1], left);
      bytes.val[i] =
          bits == 8
              ? vqmovn_high_u16(vqmovn_u16(a), b)
              : vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(vreinterpretq_s16_u16(a)), vreinterpretq_s16_u16(b)));
      if constexpr (offset != 0)
        bytes.val[i] = veorq_u8(bytes.val[i], vdupq_n_u8(offset));
    });
    vst1q_u8_x4(plane, bytes);
  }
  static void unpack(const void* plane, std::uint16_t* out) {
    for (std::size_t i = 0; i < block_keys; ++i)
      out[i] = static_cast<const std::uint8_t*>(plane)[i] ^ offset;
  }
};

/// A plane of 14 bits or fewer as two of bytes: h >> 7 of all keys, then h & 127.
struct SplitPlane {
  static void store(unsigned char* plane, const uint16x8_t (&u)[NeonWords::vectors], int16x8_t left, unsigned bits) {
    const uint16x8_t most = vdupq_n_u16(std::uint16_t((1u << bits) - 1));
    unroll<4>([&](auto i) INTATTN_INLINE {
      const uint16x8_t a = vminq_u16(vrshlq_u16(u[2 * i], left), most),
                       b = vminq_u16(vrshlq_u16(u[2 * i + 1], left), most);
      vst1q_u8(plane + 16 * i, vshrn_high_n_u16(vshrn_n_u16(a, 7), b, 7));
      vst1q_u8(plane + block_keys + 16 * i,
               vandq_u8(vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b)), vdupq_n_u8(127)));
    });
  }
  static void unpack(const void* plane, std::uint16_t* out) {
    const auto* bytes = static_cast<const std::uint8_t*>(plane);
    for (std::size_t i = 0; i < block_keys; ++i)
      out[i] = std::uint16_t(bytes[i] << 7 | bytes[block_keys + i]);
  }
};

template <int offset> inline std::uint64_t byte_softmax(const SoftmaxTask& task) {
  return task.plane_bits == 8 ? neon_block_softmax<BytePlane<8, offset>>(task)
                              : neon_block_softmax<BytePlane<7, offset>>(task);
}

/// Queries of 15 bits as two rows of bytes, q = 128 high + low.
inline void split_query(const void* row, unsigned bits, std::size_t dim, std::int8_t* high, std::int8_t* low) {
  for (std::size_t c = 0; c < dim; ++c) {
    const int q = bits == 8 ? static_cast<const std::int8_t*>(row)[c] : static_cast<const std::int16_t*>(row)[c];
    const int upper = (q + 64) >> 7;
    high[c] = std::int8_t(upper);
    low[c] = std::int8_t(q - 128 * upper);
  }
}

} // namespace
} // namespace intattn
