#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace intattn {

/// Rounding to nearest with denormals, while it lives: hosts may have set something else on this thread.
class FloatEnvironment {
public:
  FloatEnvironment() : saved_(read()) { write(wanted(saved_)); }
  ~FloatEnvironment() { write(saved_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

private:
#if defined(__x86_64__)
  using Register = std::uint32_t;
  static Register read() { return _mm_getcsr(); }
  static void write(Register value) { _mm_setcsr(value); }
  /// Without flush-to-zero (15), denormals-are-zero (6), and with the rounding control (13, 14) at nearest.
  static Register wanted(Register value) { return value & ~Register{0xe040}; }
#elif defined(__aarch64__)
  using Register = std::uint64_t;
  static Register read() {
    Register value;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void write(Register value) { asm volatile("msr fpcr, %0" : : "r"(value)); }
  /// Without FIZ (0), AH (1), FZ16 (19), FZ (24), and with RMode (22, 23) at nearest.
  static Register wanted(Register value) { return value & ~Register{0x1c80003}; }
#else
  using Register = int;
  static Register read() { return 0; }
  static void write(Register) {}
  static Register wanted(Register value) { return value; }
#endif
  const Register saved_;
};

} // namespace intattn
