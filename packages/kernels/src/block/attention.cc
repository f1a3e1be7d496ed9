#include "intattn/block_attention.h"

#include <cmath>
#include <limits>
#include <new>
#include <vector>

#include "block/float_environment.h"
#include "block/query_block.h"
#include "cache/cached_key_values.h"
#include "driver/run_status.h"
#include "stage_clock.h"
#include "status_message.h"

namespace intattn {
namespace {

constexpr std::size_t most_keys = 262144;
constexpr std::size_t most_queries = std::size_t{1} << 32;
constexpr std::int64_t most_position = std::int64_t{1} << 53;
/// Between the working memories of two threads: prefetchers follow the stride of rows beyond their end.
constexpr std::size_t thread_gap = std::size_t{64} << 10;
/// Blocks of keys or values that one task packs.
constexpr std::size_t pack_blocks = 4;

bool finite(const float* x, std::size_t n) {
  for (std::size_t i = 0; x && i < n; ++i)
    if (!std::isfinite(x[i]))
      return false;
  return true;
}

StatusMessage check(const BlockAttentionOptions& o) {
  if (o.heads < 1 || o.heads > 65536)
    return invalid("heads: expected 1 ... 65536, received %u", o.heads);
  if (o.kv_heads < 1 || o.heads % o.kv_heads != 0)
    return invalid("kv_heads: expected a divisor of heads (%u), received %u", o.heads, o.kv_heads);
  if (o.head_dim < 1 || o.head_dim > 1024)
    return invalid("head_dim: expected 1 ... 1024, received %u", o.head_dim);
  if (o.value_dim > 1024)
    return invalid("value_dim: expected 1 ... 1024, received %u", o.value_dim);
  if (o.softmax_scale != 0 && !(o.softmax_scale >= 0x1p-20 && o.softmax_scale <= 0x1p20))
    return invalid("softmax_scale: expected 2^-20 ... 2^20, received %g", o.softmax_scale);
  if (o.query_bits != 8 && o.query_bits != 15)
    return invalid("query_bits: expected 8 or 15, received %u", o.query_bits);
  if (o.key_bits != 8 && o.key_bits != 7 && o.key_bits != 4)
    return invalid("key_bits: expected 8, 7 or 4, received %u", o.key_bits);
  if (o.value_bits != 8 && o.value_bits != 4)
    return invalid("value_bits: expected 8 or 4, received %u", o.value_bits);
  if (o.plane_bits != 8 && o.plane_bits != 7 && o.plane_bits != 14)
    return invalid("plane_bits: expected 8, 7 or 14, received %u", o.plane_bits);
  if (o.smooth_key == Mean::yes && (o.key_offset || o.sinks))
    return invalid("smooth_key: expected neither key_offset nor sinks beside it");
  if (o.center_value == Mean::yes && (o.value_offset || o.sinks))
    return invalid("center_value: expected neither value_offset nor sinks beside it");
  if (o.sinks && (o.key_offset || o.value_offset))
    return invalid("sinks: expected no offsets beside them");
  if (!finite(o.key_offset, std::size_t(o.kv_heads) * o.head_dim))
    return invalid("key_offset: expected finite numbers");
  if (!finite(o.value_offset, std::size_t(o.kv_heads) * (o.value_dim ? o.value_dim : o.head_dim)))
    return invalid("value_offset: expected finite numbers");
  for (std::uint32_t h = 0; o.slopes && h < o.heads; ++h)
    if (!(std::fabs(o.slopes[h]) < 0x1p60f))
      return invalid("slopes[%u]: expected a magnitude below 2^60, received %g", h, double(o.slopes[h]));
  for (std::uint32_t h = 0; o.sinks && h < o.heads; ++h)
    if (!(o.sinks[h] < 0x1p100f))
      return invalid("sinks[%u]: expected a number below 2^100, received %g", h, double(o.sinks[h]));
  return check_instruction_set(o.isa);
}

bool float_type(ElementType type) { return type != ElementType::int8; }

StatusMessage check(const BlockAttentionOptions& o, const BlockAttentionArguments& a) {
  if (a.batch < 1 || a.query_length < 1 || a.query_length > most_queries)
    return invalid("query: expected at least one row");
  if (a.key_length < 1 || a.key_length > most_keys)
    return invalid("key_length: expected 1 ... 262144, received %zu", a.key_length);
  for (std::size_t b = 0; b < a.batch; ++b) {
    if (a.key_lengths && a.key_lengths[b] > a.key_length)
      return invalid("key_lengths[%zu]: expected at most %zu, received %u", b, a.key_length, a.key_lengths[b]);
    if (a.query_starts && (a.query_starts[b] > most_position || a.query_starts[b] < -most_position))
      return invalid("query_starts[%zu]: expected a position within 2^53", b);
  }
  if (!a.query.data || !a.key.data || !a.value.data || !a.output.data)
    return invalid("data: expected query, key, value and output");
  if (a.rows_of_cache) {
    if (float_type(a.key.type) || float_type(a.value.type) || (!float_type(a.query.type) && o.rotate))
      return invalid("key: expected int8 of a cache, value likewise, and a query of int8 only without rotation");
    for (const auto& [name, view] : {std::pair{"key", &a.key}, {"value", &a.value}})
      if (!view->scale)
        return invalid("%s: expected scales for int8", name);
    if (a.smooth_key == Mean::yes || a.center_value == Mean::yes || o.smooth_key == Mean::yes ||
        o.center_value == Mean::yes)
      return invalid("key: expected rows of a cache without smooth_key or center_value");
  } else if (float_type(a.query.type) != float_type(a.key.type)) {
    return invalid("key: expected int8 where the query is, and only there");
  }
  for (const auto& [name, view] : {std::pair{"query", &a.query}, {"key", &a.key}, {"value", &a.value}})
    if (!float_type(view->type) && !view->scale)
      return invalid("%s: expected scales for int8", name);
  const Mean of_key = a.smooth_key == Mean::automatic ? o.smooth_key : a.smooth_key;
  const Mean of_value = a.center_value == Mean::automatic ? o.center_value : a.center_value;
  if (of_key == Mean::yes && (o.key_offset || o.sinks))
    return invalid("smooth_key: expected neither key_offset nor sinks beside it");
  if (of_value == Mean::yes && (o.value_offset || o.sinks))
    return invalid("center_value: expected neither value_offset nor sinks beside it");
  if (!a.rows_of_cache && !float_type(a.key.type) && (o.key_bits == 4 || o.key_offset || of_key == Mean::yes))
    return invalid("key: expected floats with key_bits 4, key_offset or smooth_key");
  if (!a.rows_of_cache && !float_type(a.value.type) && (o.value_bits == 4 || o.value_offset || of_value == Mean::yes))
    return invalid("value: expected floats with value_bits 4, value_offset or center_value");
  if (!float_type(a.output.type))
    return invalid("output: expected a type of floats");
  return {};
}

StatusMessage check(const BlockAttentionOptions& o, const CachedAttentionArguments& a) {
  if (a.batch < 1 || a.query_length < 1 || a.query_length > most_queries)
    return invalid("query: expected at least one row");
  if (!a.query.data || !a.caches || !a.output.data)
    return invalid("data: expected query, caches and output");
  if (!float_type(a.output.type))
    return invalid("output: expected a type of floats");
  if (o.key_offset || o.value_offset)
    return invalid("caches: expected no offsets among the options beside them: they have their own");
  if (o.smooth_key == Mean::yes || o.center_value == Mean::yes)
    return invalid("caches: expected neither smooth_key nor center_value beside them");
  if (!float_type(a.query.type) && (o.rotate || !a.query.scale))
    return invalid("query: expected int8 with scales over caches without rotation alone");
  for (std::size_t b = 0; b < a.batch; ++b) {
    if (!a.caches[b])
      return invalid("caches[%zu]: expected a cache", b);
    const KvCacheOptions& cache = a.caches[b]->options();
    const auto expect = [&](const char* what, unsigned expected, unsigned received) {
      return invalid("caches[%zu]: expected %s %u, as the attention has, received %u", b, what, expected, received);
    };
    if (cache.kv_heads != o.kv_heads)
      return expect("kv_heads", o.kv_heads, cache.kv_heads);
    if (cache.head_dim != o.head_dim)
      return expect("head_dim", o.head_dim, cache.head_dim);
    if (cache.value_dim != o.value_dim)
      return expect("value_dim", o.value_dim, cache.value_dim);
    if (cache.rotate != o.rotate)
      return expect("rotate", o.rotate, cache.rotate);
    if (cache.key_bits != o.key_bits)
      return expect("key_bits", o.key_bits, cache.key_bits);
    if (cache.value_bits != o.value_bits)
      return expect("value_bits", o.value_bits, cache.value_bits);
    if (cache.isa != o.isa)
      return invalid("caches[%zu]: expected the instruction set of the attention", b);
    if (o.sinks && (cache.key_offset || cache.value_offset))
      return invalid("caches[%zu]: expected no offsets beside sinks", b);
    if (a.query_starts && (a.query_starts[b] > most_position || a.query_starts[b] < -most_position))
      return invalid("query_starts[%zu]: expected a position within 2^53", b);
  }
  return {};
}

/// Whether rows would see keys that were freed; while nothing changes the caches.
StatusMessage check_rows(const BlockAttentionOptions& o, const CachedAttentionArguments& a) {
  for (std::size_t b = 0; b < a.batch; ++b) {
    const KvCache::State& cache = a.caches[b]->state();
    const std::size_t length = cache.length();
    if (cache.holds({0, length}))
      continue;
    const Visibility visibility = {o.causal, std::int64_t(std::min<std::uint64_t>(o.window, std::uint64_t{1} << 53)),
                                   std::size_t(std::min<std::uint64_t>(o.keep_first, length))};
    const std::int64_t start = a.query_starts ? a.query_starts[b] : std::int64_t(length) - std::int64_t(a.query_length);
    for (std::size_t i = 0; i < a.query_length; ++i) {
      const VisibleKeys keys = visibility.of(start + std::int64_t(i), length);
      if ((!keys.kept.empty() && !cache.holds(keys.kept)) || (!keys.near.empty() && !cache.holds(keys.near)))
        return invalid("caches[%zu]: expected rows that see no key that was freed, as query %zu would", b, i);
    }
  }
  return {};
}

const BlockProducts& products_of(const BlockKernels& kernels, const BlockAttentionOptions& o) {
  if (kernels.narrow && o.query_bits == 8 && o.key_bits == 7 && o.plane_bits == 7)
    return *kernels.narrow;
  if (kernels.bytes && o.query_bits == 8 && o.plane_bits <= 8)
    return *kernels.bytes;
  return *kernels.words;
}

/// Calls over caches multiply as these are kept, where their bits allow it.
const BlockProducts& cached_products_of(const BlockKernels& kernels, const BlockAttentionOptions& o) {
  return o.query_bits == 8 && o.plane_bits <= 8 ? page_products(kernels, o.head_dim) : *kernels.words;
}

} // namespace

class BlockAttention::State {
public:
  explicit State(const BlockAttentionOptions& o)
      : key_offset_(padded_rows(o.key_offset, o.kv_heads, o.head_dim)),
        value_offset_(padded_rows(o.value_offset, o.kv_heads, o.value_dim)),
        slopes_(o.slopes, o.slopes + (o.slopes ? o.heads : 0)), sinks_(o.sinks, o.sinks + (o.sinks ? o.heads : 0)),
        plan_{o,
              kernels_of(o.isa),
              block_kernels_of(o.isa),
              products_of(block_kernels_of(o.isa), o),
              {o.query_bits},
              Rotation(o.head_dim, o.rotate),
              {o.head_dim, {o.key_bits}, Rotation(o.head_dim, o.rotate), pointer(key_offset_), o.smooth_key},
              {o.value_dim, {o.value_bits}, Rotation(o.value_dim, o.rotate), pointer(value_offset_), o.center_value}},
        cached_plan_{o,
                     plan_.kernels,
                     plan_.block,
                     cached_products_of(plan_.block, o),
                     plan_.query_format,
                     plan_.query_rotation,
                     plan_.key,
                     plan_.value} {
    for (BlockPlan* plan : {&plan_, &cached_plan_}) {
      plan->options.key_offset = pointer(key_offset_);
      plan->options.value_offset = pointer(value_offset_);
      plan->options.slopes = pointer(slopes_);
      plan->options.sinks = pointer(sinks_);
    }
  }

  const BlockAttentionOptions& options() const { return plan_.options; }
  std::size_t memory_bytes() const { return shared_.size() + scratch_.size(); }

  template <class Arguments> Status run(const Arguments& arguments, Executor& executor, StageTimes* times) {
    const unsigned threads = executor.threads();
    StageClock clock(threads);
    clock.start();
    const Status status = run(arguments, executor, threads, clock);
    if (times)
      *times = clock.stop();
    return status;
  }

private:
  static const float* pointer(const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); }

  /// Section 1: whether the mean is subtracted.
  static bool has_mean(const OperandPlan& plan, const TensorView& view, Mean asked, bool automatic) {
    const Mean mean = asked == Mean::automatic ? plan.mean : asked;
    return mean == Mean::yes || (mean == Mean::automatic && automatic && !plan.offset && float_type(view.type));
  }

  /// Units that are packed and attended to together: few enough that what is packed stays in cache.
  static std::size_t units_at_once(const BlockShapes& shapes, std::size_t bytes_of_unit, unsigned threads) {
    constexpr std::size_t bytes_per_thread = std::size_t{2} << 20;
    return std::clamp<std::size_t>(threads * bytes_per_thread / std::max<std::size_t>(bytes_of_unit, 1), 1,
                                   shapes.units());
  }

  /// Rows of a block of queries: their scores should stay in L2, and every thread should get blocks of every head.
  static std::size_t block_rows(const BlockShapes& shapes, std::size_t row_tile, std::size_t units, unsigned threads) {
    constexpr std::size_t score_bytes = std::size_t{512} << 10;
    std::size_t tiles = std::clamp<std::size_t>(
        score_bytes / (4 * std::max<std::size_t>(shapes.blocks(), 1) * block_keys * row_tile), 2, 4);
    while (threads > 1 && tiles > 1 &&
           units * divide_up(shapes.unit_rows(), tiles * row_tile) < std::size_t{4} * threads)
      --tiles;
    const std::size_t rows = tiles * row_tile;
    // Whole heads, or parts of one.
    if (shapes.query_length <= rows)
      return std::min(rows / shapes.query_length, shapes.group()) * shapes.query_length;
    return rows;
  }

  Status run(const BlockAttentionArguments& arguments, Executor& executor, unsigned threads, StageClock& clock) {
    const BlockShapes shapes(plan_.options, arguments);
    const Masks masks(plan_.options, arguments, shapes);
    const std::size_t wave = units_at_once(shapes, Operands::bytes_of_unit(shapes, plan_.products), threads);
    const bool automatic = !masks.any() && !plan_.options.sinks && !arguments.rows_of_cache;
    Operands operands(arguments, shapes, plan_.kernels, plan_.block, plan_.products, plan_.key, plan_.value, wave,
                      has_mean(plan_.key, arguments.key, arguments.smooth_key, automatic),
                      has_mean(plan_.value, arguments.value, arguments.center_value, automatic));
    const std::size_t packs = divide_up(shapes.blocks(), pack_blocks);
    return attend(plan_, arguments, shapes, masks, operands, wave, executor, threads, clock,
                  [&](std::size_t first, std::size_t units, const auto& with_scratch) {
                    for (std::size_t slot = 0; slot < units; ++slot)
                      operands.clear(slot);
                    if (operands.has_mean(Side::key) || operands.has_mean(Side::value))
                      executor.run(2 * units, [&](std::size_t task, unsigned thread) {
                        const std::uint64_t begin = ticks();
                        const Side side = Side(task % 2);
                        if (operands.has_mean(side))
                          with_scratch(thread, [&](const Operands::Scratch& s, const auto&) {
                            operands.measure(task / 2, first + task / 2, side, s);
                          });
                        clock.add(thread, Stage::prepare, begin);
                      });
                    pack(operands, shapes, first, units, packs, with_scratch, executor, clock);
                  });
  }

  Status run(const CachedAttentionArguments& given, Executor& executor, unsigned threads, StageClock& clock) {
    std::vector<std::uint32_t> lengths(given.batch);
    std::vector<std::int64_t> starts(given.batch);
    BlockAttentionArguments arguments;
    BlockIntermediates intermediates;
    for (std::size_t b = 0; b < given.batch; ++b) {
      lengths[b] = std::uint32_t(given.caches[b]->length());
      arguments.key_length = std::max<std::size_t>(arguments.key_length, lengths[b]);
      starts[b] =
          given.query_starts ? given.query_starts[b] : std::int64_t(lengths[b]) - std::int64_t(given.query_length);
    }
    arguments.batch = given.batch, arguments.query_length = given.query_length;
    arguments.key_lengths = lengths.data(), arguments.query_starts = starts.data();
    arguments.query = given.query, arguments.output = given.output;
    arguments.mask = given.mask, arguments.bias = given.bias;
    arguments.log_sum_exp = given.log_sum_exp;
    if (given.intermediates) {
      intermediates = *given.intermediates;
      intermediates.key = intermediates.value = nullptr;
      intermediates.key_scale = intermediates.value_scale = nullptr;
      arguments.intermediates = &intermediates;
    }
    const BlockShapes shapes(plan_.options, arguments);
    const Masks masks(plan_.options, arguments, shapes);
    CachedKeyValues cached(given.caches, shapes, cached_plan_.products);
    const std::size_t wave = units_at_once(shapes, cached.bytes_of_unit(), threads);
    cached.set_slots(wave);
    const std::size_t packs = divide_up(shapes.blocks(), pack_blocks);
    return attend(cached_plan_, arguments, shapes, masks, cached, wave, executor, threads, clock,
                  [&](std::size_t first, std::size_t units, const auto& with_scratch) {
                    if (cached.packs())
                      pack(cached, shapes, first, units, packs, with_scratch, executor, clock);
                  });
  }

  template <class Source, class WithScratch>
  static void pack(const Source& source, const BlockShapes& shapes, std::size_t first, std::size_t units,
                   std::size_t packs, const WithScratch& with_scratch, Executor& executor, StageClock& clock) {
    executor.run(2 * units * packs, [&](std::size_t task, unsigned thread) {
      const std::uint64_t begin = ticks();
      const std::size_t slot = task / (2 * packs), block = task % packs * pack_blocks;
      with_scratch(thread, [&](const typename Source::Scratch& s, const auto&) {
        source.pack(slot, first + slot, Side(task / packs % 2), {block, std::min(shapes.blocks(), block + pack_blocks)},
                    s);
      });
      clock.add(thread, Stage::prepare, begin);
    });
  }

  /// Wave after wave of units, from a source of keys and values that `prepare` fills.
  template <class Source, class Prepare>
  Status attend(const BlockPlan& plan, const BlockAttentionArguments& arguments, const BlockShapes& shapes,
                const Masks& masks, Source& source, std::size_t wave, Executor& executor, unsigned threads,
                StageClock& clock, const Prepare& prepare) {
    const std::size_t rows = block_rows(shapes, plan.products.row_tile, wave, threads);
    const QueryBlocks queries(plan, arguments, shapes, masks, source, clock, rows);
    const std::size_t parts = shapes.query_length <= rows ? divide_up(shapes.unit_rows(), rows)
                                                          : shapes.group() * divide_up(shapes.query_length, rows);
    // Few rows over many keys: threads share out the keys.
    const bool by_segments = threads > 1 && shapes.units() * parts < std::size_t{4} * threads &&
                             shapes.blocks() > 3 * segment_blocks && !arguments.intermediates;
    Layout counted(nullptr);
    source.place(counted);
    if (by_segments)
      queries.place_parts(counted);
    Layout part(nullptr);
    source.place_scratch(part);
    queries.place_scratch(part);
    const std::size_t part_bytes = round_up(part.used(), 64) + thread_gap;
    if (!shared_.reserve(counted.used()) || !scratch_.reserve(part_bytes * threads))
      return Status::out_of_memory;
    Layout placed(shared_.as());
    source.place(placed);
    const QueryBlocks::Parts of_segments = by_segments ? queries.place_parts(placed) : QueryBlocks::Parts{};
    const auto with_scratch = [&](unsigned thread, const auto& f) {
      const FloatEnvironment environment;
      Layout layout(scratch_.as() + thread * part_bytes);
      const auto of_source = source.place_scratch(layout);
      f(of_source, queries.place_scratch(layout));
    };

    RunStatus status;
    for (std::size_t first = 0; first < shapes.units() && !status.failed(); first += wave) {
      const std::size_t units = std::min(wave, shapes.units() - first);
      prepare(first, units, with_scratch);
      for (std::size_t task = 0; by_segments && task < units * parts && !status.failed(); ++task)
        with_scratch(0, [&](const auto&, const QueryBlocks::Scratch& s) {
          const std::size_t slot = task / parts;
          const QueryBlocks::Task block = rows_of_part(shapes, rows, slot, first + slot, task % parts);
          if (const Status ended = queries.run_by_segments(block, s, of_segments, executor); ended != Status::ok)
            status.fail(ended);
        });
      if (by_segments)
        continue;
      executor.run(units * parts, [&](std::size_t task, unsigned thread) {
        if (status.failed())
          return;
        // The last blocks of a causal head are the longest: they start first.
        const std::size_t slot = task / parts;
        const QueryBlocks::Task block = rows_of_part(shapes, rows, slot, first + slot, parts - 1 - task % parts);
        with_scratch(thread, [&](const auto&, const QueryBlocks::Scratch& s) {
          if (const Status ended = queries.run(block, s, thread); ended != Status::ok)
            status.fail(ended);
        });
      });
    }
    return status.status();
  }

  static QueryBlocks::Task rows_of_part(const BlockShapes& shapes, std::size_t rows, std::size_t slot, std::size_t unit,
                                        std::size_t part) {
    if (shapes.query_length <= rows)
      return {slot, unit, part * rows, std::min(rows, shapes.unit_rows() - part * rows)};
    const std::size_t parts = divide_up(shapes.query_length, rows), query = part % parts * rows;
    return {slot, unit, part / parts * shapes.query_length + query, std::min(rows, shapes.query_length - query)};
  }

  std::vector<float> key_offset_, value_offset_, slopes_, sinks_;
  BlockPlan plan_;
  BlockPlan cached_plan_; ///< of calls over caches
  AlignedBuffer shared_, scratch_;
};

BlockAttention::BlockAttention(std::unique_ptr<State> state) : state_(std::move(state)) {}
BlockAttention::~BlockAttention() = default;

StatusMessage BlockAttention::create(const BlockAttentionOptions& given,
                                     std::unique_ptr<BlockAttention>* attention) noexcept {
  attention->reset();
  const FloatEnvironment environment;
  if (StatusMessage wrong = check(given); wrong.status != Status::ok)
    return wrong;
  BlockAttentionOptions options = given;
  if (options.value_dim == 0)
    options.value_dim = options.head_dim;
  if (options.softmax_scale == 0)
    options.softmax_scale = 1 / std::sqrt(double(options.head_dim));
  try {
    attention->reset(new BlockAttention(std::make_unique<State>(options)));
  } catch (const std::bad_alloc&) {
    return ended(Status::out_of_memory);
  }
  return {};
}

StatusMessage BlockAttention::run(const BlockAttentionArguments& arguments, Executor& executor,
                                  StageTimes* times) noexcept {
  if (StatusMessage wrong = check(state_->options(), arguments); wrong.status != Status::ok)
    return wrong;
  try {
    return ended(state_->run(arguments, executor, times));
  } catch (const std::bad_alloc&) {
    return ended(Status::out_of_memory);
  }
}

StatusMessage BlockAttention::run(const CachedAttentionArguments& arguments, Executor& executor,
                                  StageTimes* times) noexcept {
  if (StatusMessage wrong = check(state_->options(), arguments); wrong.status != Status::ok)
    return wrong;
  std::size_t reading = 0;
  StatusMessage out;
  while (reading < arguments.batch && arguments.caches[reading]->state().begin_reading())
    ++reading;
  if (reading < arguments.batch) {
    out = invalid("caches[%zu]: expected none that is being changed", reading);
  } else if (out = check_rows(state_->options(), arguments); out.status == Status::ok) {
    try {
      out = ended(state_->run(arguments, executor, times));
    } catch (const std::bad_alloc&) {
      out = ended(Status::out_of_memory);
    }
  }
  while (reading > 0)
    arguments.caches[--reading]->state().end_reading();
  return out;
}

std::size_t BlockAttention::memory_bytes() const noexcept { return state_->memory_bytes(); }

} // namespace intattn
