#pragma once

#include <cstddef>

#include "block/block_kernels.h"

namespace intattn {

enum class Side : unsigned { key, value };

constexpr std::size_t segment_keys = segment_blocks * block_keys;

/// Keys and values of some units of a run as the kernels read them, segment by segment. A unit takes a slot while it is
/// worked on.
class KeyValues {
public:
  /// Blocks from the first of a segment on.
  struct Segment {
    const unsigned char* keys;
    const float* key_scale;
    const unsigned char* values;
    const ValueScales* scales;
  };

  virtual ~KeyValues() = default;
  virtual Segment segment(std::size_t slot, std::size_t unit, std::size_t index) const = 0;
  /// What was subtracted from each row of V; null where nothing was.
  virtual const float* value_offset(std::size_t slot, std::size_t unit) const = 0;
  /// Keys or values that must not be seen.
  virtual bool has_bad(std::size_t slot) const = 0;
  virtual bool is_bad(std::size_t slot, Side side, std::size_t key) const = 0;
};

} // namespace intattn
