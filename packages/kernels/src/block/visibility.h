#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "block/block_kernels.h"

namespace intattn {

struct Range {
  std::size_t begin = 0, end = 0;
  bool empty() const { return begin >= end; }
};

/// Blocks that hold keys of a range.
inline Range blocks_of(Range keys) {
  return keys.empty() ? Range{} : Range{keys.begin / block_keys, (keys.end + block_keys - 1) / block_keys};
}

/// Keys that a row sees but for masks and biases: those that are kept, then those up to its position.
struct VisibleKeys {
  Range kept, near; ///< kept.end <= near.begin, where neither is empty
  bool empty() const { return kept.empty() && near.empty(); }
};

/// Section 6 of the numeric specification, version 2.
struct Visibility {
  bool causal = false;
  std::int64_t window = 0; ///< 0: none
  std::size_t keep_first = 0;

  /// @param position of the query, within +-2^54, @param keys that are present
  VisibleKeys of(std::int64_t position, std::size_t keys) const {
    VisibleKeys out;
    out.near.end = causal ? clamp(position + 1, keys) : keys;
    out.near.begin = window > 0 ? std::min(clamp(position - window + 1, keys), out.near.end) : 0;
    out.kept.end = std::min(keep_first, out.near.begin);
    if (out.near.empty()) // keys before the window are kept even so
      out.near = {out.near.end, out.near.end};
    return out;
  }

private:
  static std::size_t clamp(std::int64_t key, std::size_t keys) {
    return key <= 0 ? 0 : std::min(std::size_t(key), keys);
  }
};

} // namespace intattn
