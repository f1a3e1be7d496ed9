#pragma once

#include <cstddef>

#include "block/shapes.h"
#include "block/visibility.h"
#include "intattn/block_attention.h"

namespace intattn {

/// What hides keys from the rows of a run, or moves their scores: sections 5 and 6 of the numeric specification,
/// version 2.
class Masks {
public:
  Masks(const BlockAttentionOptions& options, const BlockAttentionArguments& arguments, const BlockShapes& shapes);

  /// Whether scores change beside being hidden.
  bool moves() const { return options_.slopes || arguments_.bias.data; }
  /// Whether keys within `VisibleKeys` may be hidden.
  bool hides() const { return arguments_.mask.data || arguments_.bias.data; }
  /// Whether means over all keys would show a row what it must not see.
  bool any() const { return visibility_.causal || visibility_.window > 0 || moves() || hides(); }

  VisibleKeys visible(const QueryRow& row) const {
    return visibility_.of(shapes_.position(row.batch, row.query), shapes_.keys_of(row.batch));
  }
  bool sees(const QueryRow& row, std::size_t key) const;

  /// False when the bias of a row holds what no bias may be, whether seen or not.
  bool bias_is_sound(const QueryRow& row) const;

  /// Scores of whole blocks of keys: moved, and -infinity where they are hidden.
  /// @param x column 0 is the first key
  void apply(const QueryRow& row, const VisibleKeys& visible, Range blocks, float* x) const;

private:
  const BlockAttentionOptions& options_;
  const BlockAttentionArguments& arguments_;
  const BlockShapes& shapes_;
  const Visibility visibility_;
};

} // namespace intattn
