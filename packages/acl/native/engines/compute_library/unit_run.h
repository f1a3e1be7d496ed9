#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "driver/aligned_buffer.h"
#include "driver/problem.h"
#include "driver/run_status.h"
#include "engines/compute_library/operators.h"
#include "engines/compute_library/threads.h"
#include "kernels.h"
#include "numerics/scale.h"
#include "stage_clock.h"

namespace intattn::compute_library {

/// What the runs of all pipelines share. A unit is one (batch, kvHead); the query rows of all its heads follow one
/// another in memory, and are one operand.
struct UnitRun : RunStatus {
  /// Rows that conversions and checks take at a time.
  static constexpr std::size_t block_rows = 64;

  UnitRun(const AttentionOptions& options, const AttentionArguments& arguments, const Kernels& kernels,
          Threads& threads, StageClock& clock)
      : options(options), arguments(arguments), kernels(kernels), threads(threads), clock(clock),
        problem(options, arguments), unit_rows(problem.group() * problem.query_length) {}

  const AttentionOptions& options;
  const AttentionArguments& arguments;
  const Kernels& kernels;
  Threads& threads;
  StageClock& clock;
  const Problem problem;
  const std::size_t unit_rows;

  /// First of the unit's query rows.
  std::size_t first_row(std::size_t unit) const { return unit * unit_rows; }
  std::size_t first_key(std::size_t unit) const { return unit * problem.key_length; }
  /// Keys that a unit's query row sees.
  std::size_t visible(std::size_t unit, std::size_t row) const {
    return problem.visible(unit, row % problem.query_length);
  }

  /// Query rows that operators take at a time: all, unless a matrix of them would exceed the library's largest tensor.
  std::size_t rows_at_a_time(std::size_t keys) const {
    const std::size_t most = std::max<std::size_t>(1, max_tensor_bytes / (4 * std::max(keys, problem.dim)));
    return divide_up(unit_rows, divide_up(unit_rows, most));
  }
  /// Largest scores matrix among the units, in elements.
  std::size_t most_scores() const {
    std::size_t most = 0;
    for (std::size_t unit = 0; unit < problem.units(); ++unit)
      if (const std::size_t keys = problem.keys_of_unit(unit))
        most = std::max(most, rows_at_a_time(keys) * keys);
    return most;
  }

  /// How many different numbers of keys the units have.
  std::size_t different_lengths() const {
    if (!problem.key_lengths)
      return 1;
    std::vector<std::uint32_t> lengths(problem.key_lengths, problem.key_lengths + problem.batch);
    std::sort(lengths.begin(), lengths.end());
    return std::size_t(std::unique(lengths.begin(), lengths.end()) - lengths.begin());
  }

  /// Calls attend(unit, first, count, keys) for the query rows of every unit, as many as fit at a time, until one
  /// fails. Rows of units without keys become zeros.
  template <class Attend> void for_units(const Attend& attend) {
    for (std::size_t unit = 0; unit < problem.units(); ++unit) {
      const std::size_t keys = problem.keys_of_unit(unit);
      if (keys == 0) {
        store_zeros(first_row(unit), unit_rows);
        continue;
      }
      const std::size_t step = rows_at_a_time(keys);
      for (std::size_t first = 0; first < unit_rows && !failed(); first += step)
        attend(unit, first, std::min(step, unit_rows - first), keys);
    }
  }

  /// Calls work(first, count) for blocks of query rows.
  template <class Work> void for_query_blocks(const Work& work) {
    const std::size_t rows = problem.units() * unit_rows;
    threads.for_parts(rows, block_rows, [&](std::size_t begin, std::size_t end) {
      for (std::size_t row = begin; row < end; row += block_rows)
        work(row, std::min(block_rows, end - row));
    });
  }

  /// Calls work(unit, key, count) for blocks of the keys that are there.
  template <class Work> void for_key_blocks(const Work& work) {
    const std::size_t blocks = divide_up(problem.key_length, block_rows);
    threads.for_parts(problem.units() * blocks, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const std::size_t unit = i / blocks, key = i % blocks * block_rows, keys = problem.keys_of_unit(unit);
        if (key < keys)
          work(unit, key, std::min(block_rows, keys - key));
      }
    });
  }

  void* output_row(std::size_t row) const {
    const std::size_t bytes = arguments.output_type == ElementType::float32 ? 4 : 2;
    return static_cast<unsigned char*>(arguments.output) + row * problem.dim * bytes;
  }
  void store_zeros(std::size_t row, std::size_t count) const {
    const std::size_t bytes = arguments.output_type == ElementType::float32 ? 4 : 2;
    std::memset(output_row(row), 0, count * problem.dim * bytes);
  }
};

} // namespace intattn::compute_library
