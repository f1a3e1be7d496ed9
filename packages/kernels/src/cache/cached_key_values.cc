#include "cache/cached_key_values.h"

#include <algorithm>
#include <cstring>

namespace intattn {

CachedKeyValues::CachedKeyValues(const KvCache* const* caches, const BlockShapes& shapes, const BlockProducts& products)
    : caches_(caches), shapes_(shapes), products_(products), packs_(&caches[0]->state().format().products != &products),
      segments_(divide_up(shapes.key_length, segment_keys)), key_block_(products.key_block(shapes.head_dim)),
      value_block_(products.value_block(shapes.value_dim)),
      stride_(round_up(std::max(shapes.head_dim, shapes.value_dim), integer_padding)) {}

void CachedKeyValues::place(Layout& layout) {
  if (!packs_)
    return;
  keys_ = layout.take<unsigned char>(slots_ * segments_ * segment_blocks * key_block_);
  values_ = layout.take<unsigned char>(slots_ * segments_ * segment_blocks * value_block_);
}

CachedKeyValues::Scratch CachedKeyValues::place_scratch(Layout& layout) const {
  return {layout.take<std::int8_t>(packs_ ? block_keys * stride_ : 0)};
}

void CachedKeyValues::pack(std::size_t slot, std::size_t unit, Side side, Range blocks, const Scratch& scratch) const {
  const KvCache::State& cache = state(unit);
  const BlockLayout& layout = side == Side::key ? cache.format().key : cache.format().value;
  std::memset(scratch.rows, 0, block_keys * stride_);
  for (std::size_t block = blocks.begin; block < blocks.end && block * block_keys < cache.length(); ++block) {
    const std::size_t segment = block / segment_blocks, within = block % segment_blocks;
    if (!cache.page(segment))
      continue;
    const Page::Head from = head(unit, segment);
    layout.read((side == Side::key ? from.keys : from.values) + within * layout.bytes(), 0, block_keys, scratch.rows,
                stride_);
    const std::size_t at = slot * segments_ * segment_blocks + block;
    if (side == Side::key)
      products_.pack_key(scratch.rows, stride_, layout.dim(), keys_ + at * key_block_);
    else
      products_.pack_value(scratch.rows, stride_, layout.dim(), values_ + at * value_block_);
  }
}

KeyValues::Segment CachedKeyValues::segment(std::size_t slot, std::size_t unit, std::size_t index) const {
  const Page::Head from = head(unit, index);
  if (!packs_)
    return {from.keys, from.key_scale, from.values, from.scales};
  const std::size_t at = (slot * segments_ + index) * segment_blocks;
  return {keys_ + at * key_block_, from.key_scale, values_ + at * value_block_, from.scales};
}

} // namespace intattn
