#pragma once

#include "driver/aligned_buffer.h"
#include "driver/problem.h"
#include "driver/run_status.h"
#include "intattn/executor.h"
#include "numerics/scale.h"
#include "stage_clock.h"

namespace intattn {

/// Working memory kept from run to run.
struct Workspace {
  AlignedBuffer shared;  ///< packed K and V, statistics
  AlignedBuffer scratch; ///< one part per thread
  std::size_t bytes() const { return shared.size() + scratch.size(); }
};

/// One run of any pipeline: K and V are packed in waves of units, then strips of query rows are computed. `Derived` has
/// - `std::size_t place_shared(unsigned char* base)`: lays out what all threads share, returns its size;
/// - `Scratch place_scratch(unsigned char* base, std::size_t* size) const`: likewise for one thread;
/// - `void pack(const PackTask&, const Scratch&)`;
/// - `void strip(const Strip&, const Scratch&, unsigned thread)`.
template <class Derived> struct TiledRun : RunStatus {
  /// Keys that one task packs.
  static constexpr std::size_t pack_keys = 256;

  /// Up to `pack_keys` keys of K or V of one unit; `slot` is its place in the wave.
  struct PackTask {
    std::size_t slot, unit;
    TensorIndex tensor;
    std::size_t key_begin, key_end;
  };
  /// Consecutive query rows of one head.
  struct Strip {
    std::size_t slot, unit, head, query, count;
  };

  /// @param depth head_dim as it is padded in packed keys, @param element_bytes of packed elements
  TiledRun(const AttentionOptions& options, const AttentionArguments& arguments, const Kernels& kernels,
           Executor& executor, StageClock& clock, std::size_t depth, std::size_t element_bytes)
      : options(options), arguments(arguments), kernels(kernels), executor(executor), clock(clock),
        problem(options, arguments), depth(depth), padded_keys(round_up(problem.key_length, kernels.key_tile)),
        padded_dim(round_up(problem.value_dim, kernels.value_group)),
        packed_key_bytes(round_up(padded_keys * depth * element_bytes, 64)),
        packed_value_bytes(round_up(padded_keys * padded_dim * element_bytes, 64)),
        wave(wave_units(problem, packed_key_bytes + packed_value_bytes, executor.threads())),
        rows(strip_rows(problem, padded_keys, kernels.row_tile, wave, executor.threads())) {}

  const AttentionOptions& options;
  const AttentionArguments& arguments;
  const Kernels& kernels;
  Executor& executor;
  StageClock& clock;
  const Problem problem;
  const std::size_t depth, padded_keys, padded_dim, packed_key_bytes, packed_value_bytes;
  const std::size_t wave; ///< units packed at a time
  const std::size_t rows; ///< query rows of a strip

  unsigned char *packed_key = nullptr, *packed_value = nullptr; // [wave]

  bool reserve(Workspace& workspace) {
    if (!workspace.shared.reserve(derived().place_shared(nullptr)))
      return false;
    derived().place_shared(workspace.shared.as());
    derived().place_scratch(nullptr, &scratch_bytes_);
    scratch_bytes_ = round_up(scratch_bytes_, 64) + thread_gap;
    if (!workspace.scratch.reserve(scratch_bytes_ * executor.threads()))
      return false;
    scratch_ = workspace.scratch.as();
    return true;
  }

  auto scratch(unsigned thread) const {
    return static_cast<const Derived*>(this)->place_scratch(scratch_ + thread * scratch_bytes_, nullptr);
  }

  /// Packs and computes the wave that begins with `first` unit.
  void run_wave(std::size_t first) {
    const std::size_t units = std::min(wave, problem.units() - first);
    const std::size_t packs = divide_up(problem.key_length, pack_keys), strips = divide_up(problem.query_length, rows);
    executor.run(units * 2 * packs, [&](std::size_t task, unsigned thread) {
      const std::uint64_t begin = ticks();
      const std::size_t slot = task / (2 * packs), unit = first + slot, key = task % packs * pack_keys;
      const std::size_t key_end = std::min(problem.keys_of_unit(unit), key + pack_keys);
      derived().pack(PackTask{slot, unit, TensorIndex(task / packs % 2), key, key_end}, scratch(thread));
      clock.add(thread, Stage::prepare, begin);
    });
    if (failed())
      return;
    executor.run(units * problem.group() * strips, [&](std::size_t task, unsigned thread) {
      const std::size_t slot = task / (problem.group() * strips), unit = first + slot;
      const std::size_t head = unit / problem.kv_heads * problem.heads + unit % problem.kv_heads * problem.group() +
                               task / strips % problem.group();
      // The last strips of a causal head are the longest: they start first.
      const std::size_t query = (strips - 1 - task % strips) * rows;
      derived().strip(Strip{slot, unit, head, query, std::min(rows, problem.query_length - query)}, scratch(thread),
                      thread);
    });
  }

  std::size_t output_at(std::size_t head, std::size_t query) const {
    return (head * problem.query_length + query) * problem.value_dim;
  }
  /// Where an output row is computed: in place, or in `row` when it is to be converted.
  float* output_row(std::size_t head, std::size_t query, float* row) const {
    return arguments.output_type == ElementType::float32
               ? static_cast<float*>(arguments.output) + output_at(head, query)
               : row;
  }
  /// Converts a row that is not float32; one that overflows float16 is told, not stored as infinities.
  void finish_row(std::size_t head, std::size_t query, const float* row) {
    if (arguments.output_type != ElementType::float16)
      return;
    if (kernels.rows.max_abs_bits(row, problem.value_dim) >= bits_of_float(float16_limit))
      fail(Status::non_finite_value);
    kernels.rows.float_to_half(row, problem.value_dim,
                               static_cast<std::uint16_t*>(arguments.output) + output_at(head, query));
  }
  /// Checks the rows of a strip, which lie one behind the other, for sums that overflowed float32.
  void finish_strip(const Strip& strip) {
    if (arguments.output_type == ElementType::float32 &&
        kernels.rows.max_abs_bits(static_cast<const float*>(arguments.output) + output_at(strip.head, strip.query),
                                  strip.count * problem.value_dim) >= infinity_bits)
      fail(Status::non_finite_value);
  }

private:
  Derived& derived() { return static_cast<Derived&>(*this); }

  unsigned char* scratch_ = nullptr;
  std::size_t scratch_bytes_ = 0;
};

} // namespace intattn
