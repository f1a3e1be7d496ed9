#pragma once

#include <cstddef>

#include "block/shapes.h"
#include "cache/state.h"
#include "driver/aligned_buffer.h"

namespace intattn {

/// Keys and values of caches, where they lie; or packed anew for a call that multiplies in another way than its caches
/// are kept for.
class CachedKeyValues : public KeyValues {
public:
  /// @param caches [batch]
  CachedKeyValues(const KvCache* const* caches, const BlockShapes& shapes, const BlockProducts& products);

  bool packs() const { return packs_; }
  std::size_t bytes_of_unit() const {
    return packs_ ? segments_ * segment_blocks * (key_block_ + value_block_) : std::size_t{1};
  }
  void set_slots(std::size_t slots) { slots_ = slots; }
  void place(Layout& layout);
  struct Scratch {
    std::int8_t* rows; ///< [block_keys][stride]
  };
  Scratch place_scratch(Layout& layout) const;
  void pack(std::size_t slot, std::size_t unit, Side side, Range blocks, const Scratch& scratch) const;

  Segment segment(std::size_t slot, std::size_t unit, std::size_t index) const override;
  const float* value_offset(std::size_t, std::size_t unit) const override {
    return state(unit).value_offset(unit % shapes_.kv_heads);
  }
  bool has_bad(std::size_t) const override { return false; }
  bool is_bad(std::size_t, Side, std::size_t) const override { return false; }

private:
  const KvCache::State& state(std::size_t unit) const { return caches_[unit / shapes_.kv_heads]->state(); }
  Page::Head head(std::size_t unit, std::size_t segment) const {
    const KvCache::State& cache = state(unit);
    return cache.page(segment)->head(cache.format(), unit % shapes_.kv_heads);
  }

  const KvCache* const* const caches_;
  const BlockShapes& shapes_;
  const BlockProducts& products_;
  const bool packs_;
  const std::size_t segments_, key_block_, value_block_, stride_;
  std::size_t slots_ = 0;
  unsigned char *keys_ = nullptr, *values_ = nullptr; ///< [slots][segments][blocks], where `packs`
};

} // namespace intattn
