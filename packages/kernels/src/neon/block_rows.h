#pragma once

// Rows of version 2 on NEON: what simd/block_rows.h does, for blocks of at least 16 channels, with loads that
// transpose, sixteen vectors in registers, and signs that cost nothing.
//
// The signs of section 2 are those of a quadratic form: moved behind butterflies of distance h, they are the same for
// both of a pair but where c has bit 2 h, and there they exchange the sum and the difference.

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "block/block_kernels.h"
#include "neon/vector.h"
#include "numerics/scale.h"
#include "simd/block_rows.h"
#include "simd/unroll.h"

namespace intattn {
namespace {

struct NeonBlockRows {
  using Common = BlockRows<Neon>;
  static constexpr std::size_t four = 16;        ///< channels of four vectors
  static constexpr std::size_t chunk = 4 * four; ///< channels that one pass keeps in registers

  static float quantize(const RowTask& given) {
    const RowTask task = given; // in registers, whatever is written
    const std::size_t dim = task.transform.dim, n = task.transform.block;
    if (n < four)
      return Common::quantize(task);
    if (const float* offset = task.transform.offset)
      for (std::size_t c = 0; c < dim; c += four) {
        float32x4x4_t y = by_four(task.x + c);
        const float32x4x4_t less = by_four(offset + c);
        unroll<4>([&](auto i) INTATTN_INLINE { y.val[i] = vsubq_f32(y.val[i], less.val[i]); });
        first_two<true>(y, task.work + c);
      }
    else
      for (std::size_t c = 0; c < dim; c += four)
        first_two<true>(by_four(task.x + c), task.work + c);
    uint32x4_t most[4] = {vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)};
    butterflies<true>(task.work, dim, n, [&](float32x4x4_t y, std::size_t) INTATTN_INLINE {
      unroll<4>([&](auto i) INTATTN_INLINE { most[i] = vmaxq_u32(most[i], Neon::abs_bits(y.val[i])); });
      return y;
    });
    const std::uint32_t bits = vmaxvq_u32(vmaxq_u32(vmaxq_u32(most[0], most[1]), vmaxq_u32(most[2], most[3])));
    const bool wide = task.top > 127;
    if (bits < bits_of_float(0x1p-60f) || bits >= bits_of_float(0x1p40f)) {
      __builtin_memset(task.out, 0, wide ? 2 * dim : dim);
      return bits < bits_of_float(0x1p-60f) ? 0 : std::numeric_limits<float>::quiet_NaN();
    }
    const float magnitude = float_of_bits(bits);
    const float32x4_t inverse = vdupq_n_f32(float(task.top) / magnitude);
    const auto rounded = [&](std::size_t c) INTATTN_INLINE {
      const float32x4x4_t y = vld1q_f32_x4(task.work + c);
      int32x4x4_t q;
      unroll<4>([&](auto i) INTATTN_INLINE { q.val[i] = vcvtnq_s32_f32(vmulq_f32(y.val[i], inverse)); });
      return q;
    };
    // Rounding stays within the top: the low bytes, or words, are the number.
    if (!wide) {
      const uint8x16_t low_bytes = {0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60};
      auto* out = static_cast<std::uint8_t*>(task.out);
      for (std::size_t c = 0; c < dim; c += four) {
        const int32x4x4_t q = rounded(c);
        uint8x16x4_t bytes;
        unroll<4>([&](auto i) INTATTN_INLINE { bytes.val[i] = vreinterpretq_u8_s32(q.val[i]); });
        vst1q_u8(out + c, vqtbl4q_u8(bytes, low_bytes));
      }
    } else {
      auto* out = static_cast<std::int16_t*>(task.out);
      for (std::size_t c = 0; c < dim; c += four) {
        const int32x4x4_t q = rounded(c);
        const auto words = [](int32x4_t v) INTATTN_INLINE { return vreinterpretq_s16_s32(v); };
        vst1q_s16(out + c, vuzp1q_s16(words(q.val[0]), words(q.val[1])));
        vst1q_s16(out + c + 8, vuzp1q_s16(words(q.val[2]), words(q.val[3])));
      }
    }
    return magnitude / float(task.top);
  }

  static void finish(float* x, float rec, const RowTransform& given) {
    const RowTransform transform = given;
    const std::size_t dim = transform.dim, n = transform.block;
    if (n < four)
      return Common::finish(x, rec, transform);
    const float32x4_t factor = vdupq_n_f32(rec);
    for (std::size_t c = 0; c < dim; c += four) {
      float32x4x4_t y = by_four(x + c);
      unroll<4>([&](auto i) INTATTN_INLINE { y.val[i] = vmulq_f32(y.val[i], factor); });
      first_two<false>(y, x + c);
    }
    const auto times_sign = [&](float32x4x4_t y, std::size_t c) INTATTN_INLINE {
      const float32x4x4_t sign = vld1q_f32_x4(transform.sign + c);
      unroll<4>([&](auto i) INTATTN_INLINE { y.val[i] = vmulq_f32(y.val[i], sign.val[i]); });
      return y;
    };
    if (transform.offset)
      butterflies<false>(x, dim, n, [&](float32x4x4_t y, std::size_t c) INTATTN_INLINE {
        y = times_sign(y, c);
        const float32x4x4_t offset = vld1q_f32_x4(transform.offset + c);
        unroll<4>([&](auto i) INTATTN_INLINE { y.val[i] = vaddq_f32(y.val[i], offset.val[i]); });
        return y;
      });
    else
      butterflies<false>(x, dim, n, times_sign);
  }

private:
  /// Channels 4 i + k in vector k.
  static float32x4x4_t by_four(const float* x) { return vld4q_f32(x); }

  /// Butterflies with h = 1 and 2 of sixteen channels.
  template <bool signs> INTATTN_INLINE static void first_two(const float32x4x4_t& x, float* out) {
    const float32x4_t a = vaddq_f32(x.val[0], x.val[1]), b = vsubq_f32(x.val[0], x.val[1]);
    const float32x4_t sum = vaddq_f32(x.val[2], x.val[3]), difference = vsubq_f32(x.val[2], x.val[3]);
    float32x4x4_t y;
    if (signs) {
      // Products by +-1 are exact.
      const float32x4_t sign = {1, -1, 1, -1};
      y.val[0] = vfmaq_f32(a, difference, sign);
      y.val[1] = vfmaq_f32(b, sum, sign);
      y.val[2] = vfmsq_f32(a, difference, sign);
      y.val[3] = vfmsq_f32(b, sum, sign);
    } else {
      y.val[0] = vaddq_f32(a, sum);
      y.val[1] = vaddq_f32(b, difference);
      y.val[2] = vsubq_f32(a, sum);
      y.val[3] = vsubq_f32(b, difference);
    }
    vst4q_f32(out, y);
  }

  /// Butterflies with h = 4, 8 ... n / 2; `last` sees, and may change, four vectors at a time of what is final.
  template <bool signs, class F> static void butterflies(float* x, std::size_t dim, std::size_t n, F last) {
    const auto none = [](float32x4x4_t y, std::size_t) INTATTN_INLINE { return y; };
    switch (n) {
    case 16:
      for (std::size_t c = 0; c < dim; c += 16)
        within<4, signs, false>(x, c, last);
      return;
    case 32:
      for (std::size_t c = 0; c < dim; c += 32)
        within<8, signs, false>(x, c, last);
      return;
    case 64:
      for (std::size_t c = 0; c < dim; c += chunk)
        within<16, signs, false>(x, c, last);
      return;
    default:
      for (std::size_t c = 0; c < dim; c += 2 * chunk) {
        within<16, signs, false>(x, c, none);
        within<16, signs, signs>(x, c + chunk, none);
      }
    }
    // Columns of all that is left, sixteen channels wide.
    const auto columns = [&](const auto& f) INTATTN_INLINE {
      for (std::size_t block = 0; block < dim; block += n)
        for (std::size_t c = block; c < block + chunk; c += four) {
          f(c);
          asm("" ::: "memory"); // clang otherwise mixes several columns and is short of registers
        }
    };
    if (n == 128)
      return columns([&](std::size_t c) INTATTN_INLINE { across<2, signs>(x, c, chunk, last); });
    if (n == 256)
      return columns([&](std::size_t c) INTATTN_INLINE { across<4, signs>(x, c, chunk, last); });
    for (std::size_t c = 0; c < dim; c += 8 * chunk)
      for (std::size_t i = c; i < c + chunk; i += four) {
        across<4, signs>(x, i, chunk, none);
        across<4, signs, signs>(x, i + 4 * chunk, chunk, none);
      }
    columns([&](std::size_t c) INTATTN_INLINE {
      unroll<4>([&](auto i) INTATTN_INLINE {
        if (n == 512)
          across<2, signs>(x, c + i * chunk, 4 * chunk, last);
        else
          across<4, signs>(x, c + i * chunk, 4 * chunk, last);
      });
    });
  }

  /// N consecutive vectors.
  template <int N, bool signs, bool flip, class F>
  INTATTN_INLINE static void within(float* x, std::size_t c, const F& last) {
    float32x4_t v[N];
    unroll<N / 4>([&](auto i) INTATTN_INLINE { load(x + c + i * four, v + 4 * i); });
    stages<1, N, signs, flip>(v);
    unroll<N / 4>([&](auto i) INTATTN_INLINE { store(x, c + i * four, v + 4 * i, last); });
  }

  /// N times four vectors, `distance` channels apart.
  template <int N, bool signs, bool flip = false, class F>
  INTATTN_INLINE static void across(float* x, std::size_t c, std::size_t distance, const F& last) {
    float32x4_t v[4 * N];
    unroll<N>([&](auto i) INTATTN_INLINE { load(x + c + i * distance, v + 4 * i); });
    stages<4, 4 * N, signs, flip>(v);
    unroll<N>([&](auto i) INTATTN_INLINE { store(x, c + i * distance, v + 4 * i, last); });
  }

  INTATTN_INLINE static void load(const float* x, float32x4_t* v) {
    const float32x4x4_t y = vld1q_f32_x4(x);
    unroll<4>([&](auto i) INTATTN_INLINE { v[i] = y.val[i]; });
  }
  template <class F> INTATTN_INLINE static void store(float* x, std::size_t c, const float32x4_t* v, const F& last) {
    vst1q_f32_x4(x + c, last(float32x4x4_t{{v[0], v[1], v[2], v[3]}}, c));
  }

  /// `flip`: whether c has the bit beyond the last distance.
  template <int step, int N, bool signs, bool flip> INTATTN_INLINE static void stages(float32x4_t (&v)[N]) {
    if constexpr (step < N) {
      unroll<N / 2>([&](auto i) INTATTN_INLINE {
        constexpr int low = decltype(i)::value / step * 2 * step + decltype(i)::value % step;
        constexpr bool exchange = signs && (2 * step < N ? (low & 2 * step) != 0 : flip);
        const float32x4_t a = v[low], b = v[low + step];
        v[exchange ? low + step : low] = vaddq_f32(a, b);
        v[exchange ? low : low + step] = vsubq_f32(a, b);
      });
      stages<2 * step, N, signs, flip>(v);
    }
  }
};

constexpr BlockKernels neon_block_kernels(const BlockProducts& bytes, const BlockProducts& words) {
  BlockKernels k = {};
  k.key_at = [](std::size_t position) { return position; };
  k.quantize = NeonBlockRows::quantize;
  k.finish = NeonBlockRows::finish;
  k.maximum = BlockRows<Neon>::maximum;
  k.bytes = &bytes;
  k.words = &words;
  return k;
}

} // namespace
} // namespace intattn
