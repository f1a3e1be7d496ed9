#pragma once

#include <cstdint>
#include <cstring>

namespace intattn {

struct ScaleAndInverse {
  float scale;
  float inverse; ///< 0 where the group quantizes to zeros
};

constexpr std::uint32_t infinity_bits = 0x7f800000;
/// From here on rounding to float16 gives infinity.
constexpr float float16_limit = 65520;

static inline float float_of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static inline std::uint32_t bits_of_float(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// Section 1: scale and inverse of a group whose largest |x| has these bits. The inverse overflows for zeros and
/// denormals.
static inline ScaleAndInverse scale_of(std::uint32_t max_abs) {
  const float magnitude = float_of_bits(max_abs);
  const float inverse = 127 / magnitude;
  if (bits_of_float(inverse) >= infinity_bits)
    return {1, 0};
  return {magnitude / 127, inverse};
}

} // namespace intattn
