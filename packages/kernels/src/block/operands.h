#pragma once

#include <atomic>
#include <cstddef>

#include "block/key_values.h"
#include "block/rows.h"
#include "block/shapes.h"
#include "driver/aligned_buffer.h"
#include "intattn/block_attention.h"

namespace intattn {

/// How K or V become packed blocks, the same for every run.
struct OperandPlan {
  std::size_t dim;
  RowFormat format;
  Rotation rotation;
  const float* offset; ///< [kv_heads, dim] or null
  Mean mean;
};

/// K and V of some units of a run, quantized and packed.
class Operands : public KeyValues {
public:
  Operands(const BlockAttentionArguments& arguments, const BlockShapes& shapes, const Kernels& kernels,
           const BlockKernels& block, const BlockProducts& products, const OperandPlan& key, const OperandPlan& value,
           std::size_t slots, bool key_mean, bool value_mean);

  /// Lays out what all threads share.
  void place(Layout& layout);
  static std::size_t bytes_of_unit(const BlockShapes& shapes, const BlockProducts& products);

  /// What one thread needs to prepare rows.
  struct Scratch {
    float* row;        ///< [dim], padded
    std::int8_t* rows; ///< [block_keys][stride]
  };
  Scratch place_scratch(Layout& layout) const;

  bool has_mean(Side side) const { return sides_[unsigned(side)].mean; }
  /// Section 1: the mean of the present rows of a unit. `scratch.row` is used.
  void measure(std::size_t slot, std::size_t unit, Side side, const Scratch& scratch) const;
  /// Blocks of one unit, quantized and packed.
  void pack(std::size_t slot, std::size_t unit, Side side, Range blocks, const Scratch& scratch) const;

  Segment segment(std::size_t slot, std::size_t unit, std::size_t index) const override;
  const float* value_offset(std::size_t slot, std::size_t unit) const override {
    return offset(slot, unit, Side::value);
  }
  bool has_bad(std::size_t slot) const override { return bad_count_[slot].load(std::memory_order_relaxed) > 0; }
  bool is_bad(std::size_t slot, Side side, std::size_t key) const override { return bad(slot, side)[key] != 0; }
  void clear(std::size_t slot) const { bad_count_[slot].store(0, std::memory_order_relaxed); }

private:
  struct OfSide {
    const OperandPlan* plan;
    const TensorView* view;
    bool mean;
    float* means = nullptr; ///< [slots][padded dim]
    unsigned char* packed = nullptr;
  };
  const float* offset(std::size_t slot, std::size_t unit, Side side) const;
  std::uint8_t* bad(std::size_t slot, Side side) const {
    return bad_ + (unsigned(side) * slots_ + slot) * padded_keys_;
  }

  const BlockAttentionArguments& arguments_;
  const BlockShapes& shapes_;
  const Kernels& kernels_;
  const BlockKernels& block_;
  const BlockProducts& products_;
  OfSide sides_[2];
  const std::size_t slots_, padded_keys_, key_bytes_, value_bytes_, stride_;
  float* key_scale_ = nullptr;
  ValueScales* value_scales_ = nullptr;
  std::uint8_t* bad_ = nullptr; ///< [2][slots][padded keys]
  std::atomic<std::size_t>* bad_count_ = nullptr;
};

} // namespace intattn
