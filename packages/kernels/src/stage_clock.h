#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "intattn/stage_times.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#if INTATTN_STAGE_MARKS && !defined(__aarch64__)
#error stage marks are for arm64
#endif

namespace intattn {

enum class Stage { prepare, scores, softmax, values, output };

/// Tells an instruction counter (tools/qemu) that what this thread executed since its last mark belongs to `stage`, or,
/// when negative, to none. A system call Linux does not have; only builds for counting contain it.
inline void mark_stage([[maybe_unused]] int stage) {
#if INTATTN_STAGE_MARKS
  register long x0 asm("x0") = stage;
  register long x8 asm("x8") = 0x1a77a;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8) : "memory");
#endif
}

/// A counter that is cheap to read and runs at a constant rate.
inline std::uint64_t ticks() {
  mark_stage(-1);
#if defined(__x86_64__)
  return __rdtsc();
#elif defined(__aarch64__)
  std::uint64_t t;
  asm volatile("mrs %0, cntvct_el0" : "=r"(t));
  return t;
#else
  return std::uint64_t(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

/// Adds up what each thread spends in each stage; ticks become milliseconds by comparing whole runs on both clocks.
class StageClock {
public:
  explicit StageClock(unsigned threads) : lines_(threads) {}

  void start() {
    for (Line& line : lines_)
      line = {};
    start_time_ = std::chrono::steady_clock::now();
    start_ticks_ = ticks();
  }

  /// Adds the time since `since` to a stage; returns now.
  std::uint64_t add(unsigned thread, Stage stage, std::uint64_t since) {
    mark_stage(static_cast<int>(stage));
    const std::uint64_t now = ticks();
    lines_[thread].stage[static_cast<int>(stage)] += now - since;
    return now;
  }

  StageTimes stop() const {
    const std::uint64_t run_ticks = ticks() - start_ticks_;
    const std::chrono::duration<double, std::milli> run = std::chrono::steady_clock::now() - start_time_;
    double total[stages] = {};
    for (const Line& line : lines_)
      for (int s = 0; s < stages; ++s)
        total[s] += double(line.stage[s]);
    const double factor = run_ticks ? run.count() / double(run_ticks) / double(lines_.size()) : 0;
    return {run.count(), total[0] * factor, total[1] * factor, total[2] * factor, total[3] * factor, total[4] * factor};
  }

private:
  static constexpr int stages = 5;
  struct alignas(64) Line {
    std::uint64_t stage[stages] = {};
  };
  std::vector<Line> lines_;
  std::chrono::steady_clock::time_point start_time_;
  std::uint64_t start_ticks_ = 0;
};

} // namespace intattn
