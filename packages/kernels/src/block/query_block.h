#pragma once

#include <atomic>
#include <cstddef>

#include "block/key_values.h"
#include "block/masks.h"
#include "block/operands.h"
#include "block/rows.h"
#include "block/shapes.h"
#include "driver/aligned_buffer.h"
#include "stage_clock.h"

namespace intattn {

/// Everything fixed for a `BlockAttention`, made from its options once.
struct BlockPlan {
  BlockAttentionOptions options; ///< defaults settled; its arrays are those of this plan
  const Kernels& kernels;
  const BlockKernels& block;
  const BlockProducts& products;
  RowFormat query_format;
  Rotation query_rotation;
  OperandPlan key, value;
};

/// Consecutive rows of one unit, from queries to output.
class QueryBlocks {
public:
  /// @param rows of a block, at most
  QueryBlocks(const BlockPlan& plan, const BlockAttentionArguments& arguments, const BlockShapes& shapes,
              const Masks& masks, const KeyValues& key_values, StageClock& clock, std::size_t rows);

  struct Task {
    std::size_t slot, unit, first, count; ///< rows of the unit
  };
  struct Scratch {
    float* row;                        ///< [max(head_dim, value_dim)], padded
    unsigned char* rows;               ///< [rows][stride] integers
    unsigned char* query;              ///< packed
    float* unit;                       ///< [rows]
    float* x;                          ///< [rows][stride]; planes lie over it
    float* lane_max;                   ///< [rows][maximum_lanes]
    float* factor;                     ///< [rows][blocks]
    float *segment, *sum;              ///< [rows][padded value_dim]
    float* max;                        ///< [rows]
    double* row_sum;                   ///< [rows]
    SoftmaxTask::Exponents* exponents; ///< [blocks]
  };
  Scratch place_scratch(Layout& layout) const;

  Status run(const Task& task, const Scratch& scratch, unsigned thread) const;

  /// What segments leave to the whole, in the order of the needed ones.
  struct Parts {
    float* lane_max;        ///< [segments][rows][maximum_lanes]
    std::uint64_t* row_sum; ///< [segments][rows]
    float* sum;             ///< [segments][sum_stride]
    std::size_t sum_stride;
  };
  Parts place_parts(Layout& layout) const;
  /// The same for few rows over many keys: threads share out segments. Without intermediates.
  Status run_by_segments(const Task& task, const Scratch& scratch, const Parts& parts, Executor& executor) const;

private:
  Status begin(const Task& task, VisibleKeys* visible, const Scratch& s) const;
  bool quantize(const Task& task, const Scratch& s) const;
  Status check_bad(const Task& task) const;
  /// Of needed blocks within a range.
  void scores(const Task& task, const VisibleKeys* visible, const Scratch& s, Range within, float* lane_max) const;
  float sink_of(const Task& task, std::size_t row) const;
  void settle_max(const Task& task, std::size_t row, const float* lane_max, const Scratch& s) const;
  void clear_factors(const Task& task, const Scratch& s, Range blocks) const;
  /// Planes of needed blocks within a range. @return their part of the row sum
  std::uint64_t softmax(const Task& task, std::size_t row, const VisibleKeys& visible, const Scratch& s,
                        Range within) const;
  void settle_sum(const Task& task, std::size_t row, const VisibleKeys& visible, std::uint64_t row_sum,
                  const Scratch& s) const;
  void values(const Task& task, const Scratch& s, std::size_t segment, Range blocks, float* sum) const;
  Status store(const Task& task, const Scratch& s) const;
  Status store(const Task& task, std::size_t row, const Scratch& s) const;
  void record(const QueryRow& row, std::size_t index, const VisibleKeys& visible, std::uint64_t row_sum,
              const Scratch& s) const;

  const BlockPlan& plan_;
  const BlockAttentionArguments& arguments_;
  const BlockShapes& shapes_;
  const Masks& masks_;
  const KeyValues& key_values_;
  StageClock& clock_;
  const std::size_t rows_, row_stride_, x_stride_, sum_stride_;
};

} // namespace intattn
