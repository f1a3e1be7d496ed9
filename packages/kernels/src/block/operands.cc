#include "block/operands.h"

#include <algorithm>
#include <cstring>

namespace intattn {

Operands::Operands(const BlockAttentionArguments& arguments, const BlockShapes& shapes, const Kernels& kernels,
                   const BlockKernels& block, const BlockProducts& products, const OperandPlan& key,
                   const OperandPlan& value, std::size_t slots, bool key_mean, bool value_mean)
    : arguments_(arguments), shapes_(shapes), kernels_(kernels), block_(block), products_(products),
      sides_{{&key, &arguments.key, key_mean}, {&value, &arguments.value, value_mean}}, slots_(slots),
      padded_keys_(shapes.blocks() * block_keys),
      key_bytes_(round_up(shapes.blocks() * products.key_block(shapes.head_dim), 64)),
      value_bytes_(round_up(shapes.blocks() * products.value_block(shapes.value_dim), 64)),
      stride_(round_up(std::max(shapes.head_dim, shapes.value_dim), integer_padding)) {}

std::size_t Operands::bytes_of_unit(const BlockShapes& shapes, const BlockProducts& products) {
  return shapes.blocks() * (products.key_block(shapes.head_dim) + products.value_block(shapes.value_dim) +
                            sizeof(ValueScales) + 5 * block_keys);
}

void Operands::place(Layout& layout) {
  for (OfSide& side : sides_)
    side.means = side.mean ? layout.take<float>(slots_ * round_up(side.plan->dim, float_padding)) : nullptr;
  sides_[0].packed = layout.take<unsigned char>(slots_ * key_bytes_);
  sides_[1].packed = layout.take<unsigned char>(slots_ * value_bytes_);
  key_scale_ = layout.take<float>(slots_ * padded_keys_);
  value_scales_ = layout.take<ValueScales>(slots_ * shapes_.blocks());
  bad_ = layout.take<std::uint8_t>(2 * slots_ * padded_keys_);
  bad_count_ = layout.take<std::atomic<std::size_t>>(slots_);
}

Operands::Scratch Operands::place_scratch(Layout& layout) const {
  const std::size_t dim = std::max(shapes_.head_dim, shapes_.value_dim);
  Scratch scratch;
  // The mean of a column is a float64, and there are two: of a block of rows, and of all.
  scratch.row = layout.take<float>(5 * round_up(dim, float_padding));
  scratch.rows = layout.take<std::int8_t>(block_keys * stride_);
  return scratch;
}

const float* Operands::offset(std::size_t slot, std::size_t unit, Side side) const {
  const OfSide& of = sides_[unsigned(side)];
  if (of.mean)
    return of.means + slot * round_up(of.plan->dim, float_padding);
  return of.plan->offset ? of.plan->offset + unit % shapes_.kv_heads * round_up(of.plan->dim, float_padding) : nullptr;
}

KeyValues::Segment Operands::segment(std::size_t slot, std::size_t, std::size_t index) const {
  const std::size_t block = index * segment_blocks;
  return {sides_[0].packed + slot * key_bytes_ + block * products_.key_block(shapes_.head_dim),
          key_scale_ + slot * padded_keys_ + index * segment_keys,
          sides_[1].packed + slot * value_bytes_ + block * products_.value_block(shapes_.value_dim),
          value_scales_ + slot * shapes_.blocks() + block};
}

void Operands::measure(std::size_t slot, std::size_t unit, Side side, const Scratch& scratch) const {
  const OfSide& of = sides_[unsigned(side)];
  const std::size_t dim = of.plan->dim, padded = round_up(dim, float_padding);
  const std::size_t batch = unit / shapes_.kv_heads, head = unit % shapes_.kv_heads, keys = shapes_.keys_of(batch);
  auto* total = reinterpret_cast<double*>(scratch.row + padded);
  double* block = total + dim;
  std::fill_n(total, dim, 0.0);
  for (std::size_t first = 0; first < keys; first += block_keys) {
    std::fill_n(block, dim, 0.0);
    const std::size_t end = std::min(first + block_keys, keys);
    const bool in_place = of.view->type == ElementType::float32 && of.view->row_stride > 0;
    const std::size_t step = in_place ? end - first : 1; // rows at a time, one after the other all the same
    for (std::size_t key = first; key < end; key += step) {
      const float* x = float_row(kernels_, *of.view, batch, head, key, dim, scratch.row);
      kernels_.rows.column_statistics(x, in_place ? std::size_t(of.view->row_stride) : dim, step, dim, block, nullptr,
                                      nullptr);
    }
    for (std::size_t c = 0; c < dim; ++c)
      total[c] += block[c];
  }
  float* means = of.means + slot * padded;
  for (std::size_t c = 0; c < padded; ++c)
    means[c] = c < dim && keys ? float(total[c] / double(keys)) : 0;
}

void Operands::pack(std::size_t slot, std::size_t unit, Side side, Range blocks, const Scratch& scratch) const {
  const OfSide& of = sides_[unsigned(side)];
  const std::size_t dim = of.plan->dim, batch = unit / shapes_.kv_heads, keys = shapes_.keys_of(batch);
  const float* subtracted = offset(slot, unit, side);
  const BlockIntermediates* to = arguments_.intermediates;
  std::int8_t* copy = !to ? nullptr : side == Side::key ? to->key : to->value;
  float* scale_copy = !to ? nullptr : side == Side::key ? to->key_scale : to->value_scale;
  for (std::size_t row = 0; row < block_keys; ++row)
    std::memset(scratch.rows + row * stride_ + dim, 0, stride_ - dim);

  for (std::size_t block = blocks.begin; block < blocks.end; ++block) {
    float scales[block_keys];
    for (std::size_t i = 0; i < block_keys; ++i) {
      const std::size_t key = block * block_keys + i;
      std::int8_t* out = scratch.rows + i * stride_;
      if (key >= keys) {
        std::memset(out, 0, dim);
        scales[i] = 0;
        continue;
      }
      scales[i] = quantize_row(kernels_, block_, *of.view, of.plan->format, of.plan->rotation, subtracted, batch,
                               unit % shapes_.kv_heads, key, dim, scratch.row, out);
      const bool is_bad = scales[i] != scales[i];
      bad(slot, side)[key] = is_bad;
      if (is_bad)
        bad_count_[slot].fetch_add(1, std::memory_order_relaxed);
      if (copy)
        std::memcpy(copy + (unit * shapes_.key_length + key) * dim, out, dim);
      if (scale_copy)
        scale_copy[unit * shapes_.key_length + key] = scales[i];
    }
    if (side == Side::key) {
      products_.pack_key(scratch.rows, stride_, dim,
                         sides_[0].packed + slot * key_bytes_ + block * products_.key_block(dim));
      std::copy_n(scales, block_keys, key_scale_ + slot * padded_keys_ + block * block_keys);
      continue;
    }
    products_.pack_value(scratch.rows, stride_, dim,
                         sides_[1].packed + slot * value_bytes_ + block * products_.value_block(dim));
    ValueScales& out = value_scales_[slot * shapes_.blocks() + block];
    for (std::size_t i = 0; i < block_keys; ++i) {
      const IntegerScale scale = integer_scale(scales[block_.key_at(i)]);
      out.mantissa[i] = scale.mantissa;
      out.exponent[i] = scale.exponent;
    }
    fold(out);
  }
}

} // namespace intattn
