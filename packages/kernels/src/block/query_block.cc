#include "block/query_block.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "block/float_environment.h"
#include "numerics/scale.h"

namespace intattn {
namespace {

constexpr float hidden = -std::numeric_limits<float>::infinity();
constexpr float logit = 0x1.715476p+10f;
constexpr double log2_e = 1.4426950408889634;
/// Rows one after the other in whole powers of two would compete for the same cache sets.
constexpr std::size_t stride_gap = 16;
constexpr std::size_t most_rows = 64;
/// Of 262,144 keys; one of them may be needed in two parts.
constexpr std::size_t most_segments = 257;

/// Blocks that some rows of a block of queries need: at most two runs of them.
struct Needed {
  Range first, second;

  void add(Range blocks) {
    if (blocks.empty())
      return;
    if (second.empty()) {
      second = blocks;
    } else {
      second.begin = std::min(second.begin, blocks.begin);
      second.end = std::max(second.end, blocks.end);
    }
  }
  template <class F> void each(const F& f) const {
    if (!first.empty())
      f(first);
    if (!second.empty())
      f(second);
  }
};

Needed needed_by(const VisibleKeys* rows, std::size_t count) {
  Needed kept, near;
  for (std::size_t row = 0; row < count; ++row) {
    kept.add(blocks_of(rows[row].kept));
    near.add(blocks_of(rows[row].near));
  }
  // Blocks of one segment are added up together.
  if (kept.second.empty() || near.second.empty() ||
      (kept.second.end - 1) / segment_blocks >= near.second.begin / segment_blocks) {
    kept.add(near.second);
    return kept;
  }
  return {kept.second, near.second};
}

/// Blocks of a row in which every present key is visible.
Range whole_blocks(Range keys, std::size_t present) {
  const std::size_t begin = divide_up(keys.begin, block_keys);
  const std::size_t end = keys.end == present ? divide_up(present, block_keys) : keys.end / block_keys;
  return {begin, std::max(begin, end)};
}

Range common(Range a, Range b) { return {std::max(a.begin, b.begin), std::min(a.end, b.end)}; }

/// Calls f(segment, blocks within it) for each segment that some blocks lie in.
template <class F> void each_segment(Range blocks, const F& f) {
  for (std::size_t block = blocks.begin; block < blocks.end;) {
    const std::size_t index = block / segment_blocks, first = index * segment_blocks;
    const std::size_t end = std::min(blocks.end, first + segment_blocks);
    f(index, Range{block - first, end - first});
    block = end;
  }
}

/// Section 7: what an extra logit adds to a row sum.
std::uint64_t weight_of_sink(float distance) {
  const int d = int(std::nearbyint(std::min(distance, 65535.0f)));
  if (d >> 10 > 31)
    return 0;
  const auto mulhrs = [](int a, int b) { return (a * b + 16384) >> 15; };
  const int f = (d & 1023) << 5, m = 32640 - mulhrs(f, 21948 - mulhrs(f, 5664));
  return std::uint64_t((m + 1) >> 1) << (31 - (d >> 10));
}

} // namespace

QueryBlocks::QueryBlocks(const BlockPlan& plan, const BlockAttentionArguments& arguments, const BlockShapes& shapes,
                         const Masks& masks, const KeyValues& key_values, StageClock& clock, std::size_t rows)
    : plan_(plan), arguments_(arguments), shapes_(shapes), masks_(masks), key_values_(key_values), clock_(clock),
      rows_(rows), row_stride_(round_up(shapes.head_dim, integer_padding)),
      x_stride_(shapes.blocks() * block_keys + stride_gap),
      sum_stride_(round_up(shapes.value_dim, std::max(plan.products.column_group, float_padding))) {}

QueryBlocks::Scratch QueryBlocks::place_scratch(Layout& layout) const {
  Scratch s;
  s.row = layout.take<float>(round_up(std::max(shapes_.head_dim, shapes_.value_dim), float_padding));
  s.rows = layout.take<unsigned char>(rows_ * row_stride_ * plan_.query_format.bytes());
  s.query = layout.take<unsigned char>(round_up(rows_, plan_.products.row_tile) *
                                       plan_.products.query_bytes(shapes_.head_dim));
  s.unit = layout.take<float>(rows_);
  s.x = layout.take<float>(round_up(rows_, plan_.products.row_tile) * x_stride_);
  s.lane_max = layout.take<float>(rows_ * maximum_lanes);
  s.factor = layout.take<float>(rows_ * shapes_.blocks());
  s.segment = layout.take<float>(round_up(rows_, plan_.products.row_tile) * sum_stride_);
  s.sum = layout.take<float>(round_up(rows_, plan_.products.row_tile) * sum_stride_);
  s.max = layout.take<float>(rows_);
  s.row_sum = layout.take<double>(rows_);
  s.exponents = layout.take<SoftmaxTask::Exponents>(arguments_.intermediates ? shapes_.blocks() : 0);
  return s;
}

/// False when a row is bad.
bool QueryBlocks::quantize(const Task& task, const Scratch& s) const {
  const BlockAttentionOptions& options = plan_.options;
  const RowFormat format = plan_.query_format;
  const bool given = arguments_.query.type == ElementType::int8;
  const std::size_t dim = shapes_.head_dim, rotated = given ? 1 : plan_.query_rotation.block();
  const unsigned bits = given ? 8 : format.bits;
  for (std::size_t i = 0; i < task.count; ++i) {
    const QueryRow row(shapes_, task.unit, task.first + i);
    unsigned char* out = s.rows + i * row_stride_ * format.bytes();
    std::memset(out, 0, row_stride_ * format.bytes());
    float scale;
    if (given) {
      scale = given_row(arguments_.query, RowFormat{8}, row.batch, row.head, row.query, dim,
                        reinterpret_cast<std::int8_t*>(out));
    } else {
      const float* x = float_row(plan_.kernels, arguments_.query, row.batch, row.head, row.query, dim, s.row);
      scale = plan_.block.quantize({x, s.row, plan_.query_rotation.before(nullptr), format.top(), out});
    }
    if (scale != scale)
      return false;
    s.unit[i] = float(double(scale) * options.softmax_scale * log2_e * (1024.0 / double(rotated)));
    if (const BlockIntermediates* to = arguments_.intermediates) {
      const std::size_t index = row.index(shapes_);
      for (std::size_t c = 0; to->query && c < dim; ++c)
        to->query[index * dim + c] =
            bits == 8 ? reinterpret_cast<const std::int8_t*>(out)[c] : reinterpret_cast<const std::int16_t*>(out)[c];
      if (to->query_scale)
        to->query_scale[index] = scale;
      if (to->unit)
        to->unit[index] = s.unit[i];
    }
  }
  // Rows of int8 lie as far apart as those that they stand for.
  plan_.products.pack_query(s.rows, bits, row_stride_ * format.bytes() / (bits == 8 ? 1 : 2), task.count, dim, s.query);
  return true;
}

/// An error if some row sees a key or value that cannot be used.
Status QueryBlocks::check_bad(const Task& task) const {
  for (std::size_t i = 0; i < task.count; ++i) {
    const QueryRow row(shapes_, task.unit, task.first + i);
    for (std::size_t key = 0; key < shapes_.keys_of(row.batch); ++key) {
      const bool bad_key = key_values_.is_bad(task.slot, Side::key, key);
      if ((bad_key || key_values_.is_bad(task.slot, Side::value, key)) && masks_.sees(row, key))
        return bad_key ? Status::non_finite_key : Status::non_finite_value;
    }
  }
  return Status::ok;
}

void QueryBlocks::scores(const Task& task, const VisibleKeys* visible, const Scratch& s, Range within,
                         float* lane_max) const {
  // Blocks of which every row sees all 64 keys need no second look.
  Range plain = {0, masks_.moves() || masks_.hides() ? 0 : shapes_.blocks()};
  for (std::size_t i = 0; i < task.count; ++i) {
    const Range near = visible[i].near;
    plain = {std::max(plain.begin, divide_up(near.begin, block_keys)), std::min(plain.end, near.end / block_keys)};
  }
  std::size_t key_end = 0;
  for (std::size_t i = 0; i < task.count; ++i)
    key_end = std::max({key_end, visible[i].kept.end, visible[i].near.end});
  ScoreTask score = {};
  score.query = s.query, score.rows = task.count, score.dim = shapes_.head_dim;
  score.unit = s.unit, score.stride = x_stride_;
  std::fill_n(lane_max, task.count * maximum_lanes, hidden);
  const auto run = [&](std::size_t begin, std::size_t end, float* most) {
    if (begin >= end)
      return;
    score.lane_max = most;
    each_segment({begin, end}, [&](std::size_t index, Range blocks) {
      const KeyValues::Segment segment = key_values_.segment(task.slot, task.unit, index);
      score.keys = segment.keys, score.key_scale = segment.key_scale;
      score.block_begin = blocks.begin, score.block_end = blocks.end;
      score.key_end = key_end - std::min(key_end, index * segment_keys);
      score.x = s.x + index * segment_keys;
      plan_.products.scores(score);
    });
    for (std::size_t i = 0; i < task.count && !most; ++i) {
      const QueryRow row(shapes_, task.unit, task.first + i);
      float* x = s.x + i * x_stride_;
      masks_.apply(row, visible[i], {begin, end}, x);
      float& of_row = lane_max[i * maximum_lanes];
      of_row = std::max(of_row, plan_.block.maximum(x + begin * block_keys, (end - begin) * block_keys));
    }
  };
  needed_by(visible, task.count).each([&](Range needed) {
    const Range blocks = common(needed, within), inside = common(plain, blocks);
    if (inside.empty())
      return run(blocks.begin, blocks.end, nullptr);
    run(inside.begin, inside.end, lane_max);
    run(blocks.begin, inside.begin, nullptr);
    run(inside.end, blocks.end, nullptr);
  });
}

float QueryBlocks::sink_of(const Task& task, std::size_t i) const {
  return plan_.options.sinks[QueryRow(shapes_, task.unit, task.first + i).head] * logit;
}

void QueryBlocks::settle_max(const Task& task, std::size_t i, const float* lane_max, const Scratch& s) const {
  s.max[i] = plan_.block.maximum(lane_max + i * maximum_lanes, maximum_lanes);
  if (plan_.options.sinks && s.max[i] > hidden)
    s.max[i] = std::max(s.max[i], sink_of(task, i));
}

std::uint64_t QueryBlocks::softmax(const Task& task, std::size_t i, const VisibleKeys& visible, const Scratch& s,
                                   Range within) const {
  if (s.max[i] == hidden)
    return 0;
  float* x = s.x + i * x_stride_;
  float* factor = s.factor + i * shapes_.blocks();
  const std::size_t keys = shapes_.keys_of(task.unit / shapes_.kv_heads);
  const Range whole = masks_.hides() ? Range{} : whole_blocks(visible.near, keys);
  SoftmaxTask softmax = {};
  softmax.max = s.max[i];
  softmax.plane_bits = plan_.options.plane_bits;
  std::uint64_t row_sum = 0;
  needed_by(&visible, 1).each([&](Range needed) {
    each_segment(common(needed, within), [&](std::size_t index, Range blocks) {
      const std::size_t first = index * segment_blocks;
      softmax.scales = key_values_.segment(task.slot, task.unit, index).scales;
      softmax.block_begin = blocks.begin, softmax.block_end = blocks.end;
      softmax.whole_begin = std::max(whole.begin, first) - first;
      softmax.whole_end = std::max(whole.end, first) - first;
      softmax.x = x + index * segment_keys;
      softmax.planes = x + index * segment_keys;
      softmax.factor = factor + first;
      softmax.exponents = arguments_.intermediates ? s.exponents + first : nullptr;
      row_sum += plan_.products.softmax(softmax);
    });
  });
  return row_sum;
}

void QueryBlocks::settle_sum(const Task& task, std::size_t i, const VisibleKeys& visible, std::uint64_t row_sum,
                             const Scratch& s) const {
  const bool sees = s.max[i] > hidden;
  if (plan_.options.sinks && sees)
    if (const float sink = sink_of(task, i); sink > hidden)
      row_sum += weight_of_sink(s.max[i] - sink);
  s.row_sum[i] = double(row_sum);
  if (arguments_.log_sum_exp || arguments_.intermediates)
    record(QueryRow(shapes_, task.unit, task.first + i), i, sees ? visible : VisibleKeys{}, row_sum, s);
}

void QueryBlocks::values(const Task& task, const Scratch& s, std::size_t segment, Range blocks, float* sum) const {
  plan_.products.values({s.x + segment * segment_keys, x_stride_ * sizeof(float), task.count, shapes_.value_dim,
                         key_values_.segment(task.slot, task.unit, segment).values, s.factor + segment * segment_blocks,
                         shapes_.blocks(), blocks.begin, blocks.end, sum, sum_stride_});
}

void QueryBlocks::clear_factors(const Task& task, const Scratch& s, Range blocks) const {
  for (std::size_t i = 0; i < task.count && !blocks.empty(); ++i)
    std::fill(s.factor + i * shapes_.blocks() + blocks.begin, s.factor + i * shapes_.blocks() + blocks.end, 0.0f);
}

void QueryBlocks::record(const QueryRow& row, std::size_t i, const VisibleKeys& visible, std::uint64_t row_sum,
                         const Scratch& s) const {
  const std::size_t index = row.index(shapes_);
  if (arguments_.log_sum_exp)
    arguments_.log_sum_exp[index] =
        row_sum
            ? float(std::log(2.0) * (double(s.max[i]) / 1024 + std::log2(double(row_sum)) - 31 - std::log2(16320.0)))
            : hidden;
  const BlockIntermediates* to = arguments_.intermediates;
  if (!to)
    return;
  if (to->row_sum)
    to->row_sum[index] = row_sum;
  const auto note = [&](std::size_t block, SoftmaxTask::Exponents exponents) {
    const std::size_t at = index * shapes_.blocks() + block;
    if (to->block_exponent)
      to->block_exponent[at] = exponents.block;
    if (to->value_exponent)
      to->value_exponent[at] = exponents.value;
    if (to->shift)
      to->shift[at] = exponents.shift;
  };
  for (std::size_t block = 0; block < shapes_.blocks(); ++block)
    note(block, {-1, no_exponent, 0});
  needed_by(&visible, 1).each([&](Range blocks) {
    for (std::size_t block = blocks.begin; block < blocks.end; ++block) {
      note(block, s.exponents[block]);
      if (!to->plane)
        continue;
      std::uint16_t plane[block_keys];
      plan_.products.unpack(s.x + i * x_stride_ + block * block_keys, plane);
      std::memcpy(to->plane + index * shapes_.key_length + block * block_keys, plane,
                  std::min(block_keys, shapes_.key_length - block * block_keys) * sizeof *plane);
    }
  });
}

Status QueryBlocks::store(const Task& task, std::size_t i, const Scratch& s) const {
  const QueryRow row(shapes_, task.unit, task.first + i);
  const std::size_t dim = shapes_.value_dim;
  const OutputView& to = arguments_.output;
  float* out = s.sum + i * sum_stride_;
  if (s.row_sum[i] == 0 || s.max[i] == hidden) {
    std::fill_n(out, dim, 0.0f);
  } else {
    const float* offset = key_values_.value_offset(task.slot, task.unit);
    const Rotation& rotation = plan_.value.rotation;
    plan_.block.finish(out, float(0x1p31 / s.row_sum[i]),
                       arguments_.value.type == ElementType::int8 && !arguments_.rows_of_cache
                           ? rotation.none(offset)
                           : rotation.after(offset));
  }
  const std::uint32_t most = plan_.kernels.rows.max_abs_bits(out, dim);
  const std::uint32_t limit = to.type == ElementType::float16    ? bits_of_float(float16_limit)
                              : to.type == ElementType::bfloat16 ? 0x7f7f8000
                                                                 : infinity_bits;
  if (most >= limit)
    return Status::non_finite_output;
  const std::ptrdiff_t at = std::ptrdiff_t(row.batch) * to.batch_stride + std::ptrdiff_t(row.head) * to.head_stride +
                            std::ptrdiff_t(row.query) * to.row_stride;
  auto* target = static_cast<unsigned char*>(to.data) + at * std::ptrdiff_t(bytes_of(to.type));
  if (to.type == ElementType::float32) {
    std::memcpy(target, out, dim * sizeof(float));
  } else if (to.type == ElementType::float16) {
    plan_.kernels.rows.float_to_half(out, dim, reinterpret_cast<std::uint16_t*>(target));
  } else {
    for (std::size_t c = 0; c < dim; ++c) {
      const std::uint32_t bits = bits_of_float(out[c]);
      const auto rounded = std::uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
      std::memcpy(target + 2 * c, &rounded, 2);
    }
  }
  return Status::ok;
}

Status QueryBlocks::begin(const Task& task, VisibleKeys* visible, const Scratch& s) const {
  if (!quantize(task, s))
    return Status::non_finite_query;
  if (key_values_.has_bad(task.slot))
    if (const Status status = check_bad(task); status != Status::ok)
      return status;
  for (std::size_t i = 0; i < task.count; ++i) {
    const QueryRow row(shapes_, task.unit, task.first + i);
    if (arguments_.bias.data && !masks_.bias_is_sound(row))
      return Status::non_finite_bias;
    visible[i] = masks_.visible(row);
  }
  return Status::ok;
}

Status QueryBlocks::store(const Task& task, const Scratch& s) const {
  for (std::size_t i = 0; i < task.count; ++i)
    if (const Status status = store(task, i, s); status != Status::ok)
      return status;
  return Status::ok;
}

Status QueryBlocks::run(const Task& task, const Scratch& s, unsigned thread) const {
  std::uint64_t time = ticks();
  VisibleKeys visible[most_rows];
  if (const Status status = begin(task, visible, s); status != Status::ok)
    return status;
  time = clock_.add(thread, Stage::prepare, time);

  const Range all = {0, shapes_.blocks()};
  scores(task, visible, s, all, s.lane_max);
  time = clock_.add(thread, Stage::scores, time);

  const Needed needed = needed_by(visible, task.count);
  needed.each([&](Range blocks) { clear_factors(task, s, blocks); });
  for (std::size_t i = 0; i < task.count; ++i) {
    settle_max(task, i, s.lane_max, s);
    settle_sum(task, i, visible[i], softmax(task, i, visible[i], s, all), s);
  }
  time = clock_.add(thread, Stage::softmax, time);

  std::fill_n(s.sum, task.count * sum_stride_, 0.0f); // kernels leave the padding as it is
  std::fill_n(s.segment, task.count * sum_stride_, 0.0f);
  bool first = true;
  needed.each([&](Range blocks) {
    each_segment(blocks, [&](std::size_t segment, Range within) {
      values(task, s, segment, within, first ? s.sum : s.segment);
      for (std::size_t c = 0; c < task.count * sum_stride_ && !first; ++c)
        s.sum[c] += s.segment[c];
      first = false; // the sum of the first segment is the sum so far
    });
  });
  time = clock_.add(thread, Stage::values, time);

  const Status status = store(task, s);
  clock_.add(thread, Stage::output, time);
  return status;
}

QueryBlocks::Parts QueryBlocks::place_parts(Layout& layout) const {
  const std::size_t segments = divide_up(shapes_.blocks(), segment_blocks);
  Parts parts;
  parts.lane_max = layout.take<float>(segments * rows_ * maximum_lanes);
  parts.row_sum = layout.take<std::uint64_t>(segments * rows_);
  parts.sum_stride = round_up(rows_, plan_.products.row_tile) * sum_stride_;
  parts.sum = layout.take<float>(segments * parts.sum_stride);
  return parts;
}

Status QueryBlocks::run_by_segments(const Task& task, const Scratch& s, const Parts& parts, Executor& executor) const {
  std::uint64_t time = ticks();
  VisibleKeys visible[most_rows];
  if (const Status status = begin(task, visible, s); status != Status::ok)
    return status;
  struct Segment {
    std::size_t index;
    Range blocks; ///< within the segment
    Range all() const { return {index * segment_blocks + blocks.begin, index * segment_blocks + blocks.end}; }
  };
  Segment segments[most_segments];
  std::size_t count = 0;
  needed_by(visible, task.count).each([&](Range blocks) {
    each_segment(blocks, [&](std::size_t index, Range within) { segments[count++] = {index, within}; });
  });
  clock_.add(0, Stage::prepare, time);

  executor.run(count, [&](std::size_t part, unsigned thread) {
    const FloatEnvironment environment;
    const std::uint64_t begun = ticks();
    scores(task, visible, s, segments[part].all(), parts.lane_max + part * rows_ * maximum_lanes);
    clock_.add(thread, Stage::scores, begun);
  });
  std::fill_n(s.lane_max, task.count * maximum_lanes, hidden);
  for (std::size_t part = 0; part < count; ++part)
    for (std::size_t lane = 0; lane < task.count * maximum_lanes; ++lane)
      s.lane_max[lane] = std::max(s.lane_max[lane], parts.lane_max[part * rows_ * maximum_lanes + lane]);
  for (std::size_t i = 0; i < task.count; ++i)
    settle_max(task, i, s.lane_max, s);
  executor.run(count, [&](std::size_t part, unsigned thread) {
    const FloatEnvironment environment;
    std::uint64_t begun = ticks();
    const Segment& segment = segments[part];
    clear_factors(task, s, segment.all());
    for (std::size_t i = 0; i < task.count; ++i)
      parts.row_sum[part * rows_ + i] = softmax(task, i, visible[i], s, segment.all());
    begun = clock_.add(thread, Stage::softmax, begun);
    float* sum = parts.sum + part * parts.sum_stride;
    std::fill_n(sum, task.count * sum_stride_, 0.0f);
    values(task, s, segment.index, segment.blocks, sum);
    clock_.add(thread, Stage::values, begun);
  });

  time = ticks();
  std::fill_n(s.sum, task.count * sum_stride_, 0.0f);
  for (std::size_t part = 0; part < count; ++part)
    for (std::size_t c = 0; c < task.count * sum_stride_; ++c)
      s.sum[c] = part == 0 ? parts.sum[c] : s.sum[c] + parts.sum[part * parts.sum_stride + c];
  for (std::size_t i = 0; i < task.count; ++i) {
    std::uint64_t row_sum = 0;
    for (std::size_t part = 0; part < count; ++part)
      row_sum += parts.row_sum[part * rows_ + i];
    settle_sum(task, i, visible[i], row_sum, s);
  }
  const Status status = store(task, s);
  clock_.add(0, Stage::output, time);
  return status;
}

} // namespace intattn
