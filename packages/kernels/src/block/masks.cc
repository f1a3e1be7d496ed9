#include "block/masks.h"

#include <algorithm>
#include <limits>

namespace intattn {
namespace {

constexpr float hidden = -std::numeric_limits<float>::infinity();
/// Octaves of a nat, in 1/1024.
constexpr float logit = 0x1.715476p+10f;
constexpr std::int64_t most_positions = std::int64_t{1} << 53;

} // namespace

Masks::Masks(const BlockAttentionOptions& options, const BlockAttentionArguments& arguments, const BlockShapes& shapes)
    : options_(options), arguments_(arguments), shapes_(shapes),
      visibility_{options.causal, std::int64_t(std::min<std::uint64_t>(options.window, most_positions)),
                  std::size_t(std::min<std::uint64_t>(options.keep_first, shapes.key_length))} {}

bool Masks::sees(const QueryRow& row, std::size_t key) const {
  const VisibleKeys keys = visible(row);
  if (!(key >= keys.near.begin && key < keys.near.end) && !(key < keys.kept.end))
    return false;
  if (arguments_.mask.data && !arguments_.mask.row(row.batch, row.head, row.query)[key])
    return false;
  return !arguments_.bias.data || arguments_.bias.row(row.batch, row.head, row.query)[key] * logit > hidden;
}

bool Masks::bias_is_sound(const QueryRow& row) const {
  const float* bias = arguments_.bias.row(row.batch, row.head, row.query);
  bool sound = true;
  for (std::size_t key = 0; key < shapes_.keys_of(row.batch); ++key)
    sound &= bias[key] < 0x1p100f;
  return sound;
}

void Masks::apply(const QueryRow& row, const VisibleKeys& visible, Range blocks, float* x) const {
  const std::size_t begin = blocks.begin * block_keys, end = blocks.end * block_keys;
  const std::size_t present = std::min(end, shapes_.keys_of(row.batch));
  if (options_.slopes) {
    const float slope = options_.slopes[row.head];
    const std::int64_t position = shapes_.position(row.batch, row.query);
    for (std::size_t key = begin; key < present; ++key)
      x[key] += slope * float(std::int64_t(key) - position) * logit;
  }
  if (arguments_.bias.data) {
    const float* bias = arguments_.bias.row(row.batch, row.head, row.query);
    for (std::size_t key = begin; key < present; ++key) {
      const float moved = bias[key] * logit;
      x[key] = moved > hidden ? x[key] + moved : hidden; // whatever a hidden key holds
    }
  }
  if (arguments_.mask.data) {
    const std::uint8_t* mask = arguments_.mask.row(row.batch, row.head, row.query);
    for (std::size_t key = begin; key < present; ++key)
      x[key] = mask[key] ? x[key] : hidden;
  }
  const auto hide = [&](std::size_t from, std::size_t to) {
    from = std::max(from, begin), to = std::min(to, end);
    if (from < to)
      std::fill(x + from, x + to, hidden);
  };
  hide(visible.kept.end, visible.near.begin);
  hide(visible.near.end, end);
}

} // namespace intattn
