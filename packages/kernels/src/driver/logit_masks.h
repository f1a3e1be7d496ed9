#pragma once

#include <cstddef>
#include <limits>

#include "driver/problem.h"

namespace intattn {

/// What hides keys from the rows of a run in floating point, or moves their logits, beside causality and padding.
class LogitMasks {
public:
  /// One query row.
  struct Row {
    std::size_t unit, head, query; ///< `head` counts over batch * heads
  };

  LogitMasks(const AttentionOptions& options, const AttentionArguments& arguments, const Problem& problem);

  /// Whether there is anything to apply.
  bool any() const;
  /// False when the bias of a row holds what no bias may be, whether seen or not.
  bool bias_is_sound(const Row& row) const;
  /// The extra logit of a head, -infinity where there is none.
  float sink(const Row& row) const { return options_.sinks ? options_.sinks[row.head % problem_.heads] : hidden; }

  /// Logits of keys 0 ... `problem.visible` - 1: moved, and -infinity where they are hidden.
  void apply(const Row& row, float* x) const;
  /// What is added to the logit of one key; -infinity where it is hidden.
  double addend(const Row& row, std::size_t key) const;

private:
  static constexpr float hidden = -std::numeric_limits<float>::infinity();

  std::size_t batch(const Row& row) const { return row.head / problem_.heads; }
  const float* bias(const Row& row) const {
    return arguments_.bias.data ? arguments_.bias.row(batch(row), row.head % problem_.heads, row.query) : nullptr;
  }
  const std::uint8_t* mask(const Row& row) const {
    return arguments_.mask.data ? arguments_.mask.row(batch(row), row.head % problem_.heads, row.query) : nullptr;
  }

  const AttentionOptions& options_;
  const AttentionArguments& arguments_;
  const Problem& problem_;
};

} // namespace intattn
