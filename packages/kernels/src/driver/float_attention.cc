#include "driver/float_attention.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "numerics/scale.h"

namespace intattn {
namespace {

/// Keys packed by one task.
constexpr std::size_t pack_keys = 256;
/// float16 overflows from 65520 on: rounded there, it is infinite.
constexpr float float16_limit = 65520;

enum TensorIndex { key_tensor, value_tensor };

} // namespace

struct FloatAttention::Run {
  Run(FloatAttention& owner, const AttentionArguments& arguments, ThreadPool& pool, StageClock& clock)
      : options(owner.options_), arguments(arguments), kernels(owner.kernels_), storage(owner.storage_), pool(pool),
        clock(clock), problem(options, arguments) {
    const double softmax_scale = options.softmax_scale > 0 ? options.softmax_scale : 1 / std::sqrt(double(problem.dim));
    scale = float(softmax_scale);
    const float limit = options.pipeline == Pipeline::fp16 ? float16_limit : std::numeric_limits<float>::infinity();
    limit_bits = bits_of_float(limit);
    padded_keys = round_up(problem.key_length, kernels.key_tile);
    padded_dim = round_up(problem.dim, kernels.value_group);
    packed_key_bytes = round_up(padded_keys * problem.dim * storage.element_bytes, 64);
    packed_value_bytes = round_up(padded_keys * padded_dim * storage.element_bytes, 64);
    wave = wave_units(problem, packed_key_bytes + packed_value_bytes, pool.size());
    rows = strip_rows(problem, padded_keys, kernels.row_tile, wave, pool.size());
    // Off powers of two, so that the rows of a strip do not compete for the same cache sets.
    score_stride = padded_keys + 32;
  }

  const AttentionOptions& options;
  const AttentionArguments& arguments;
  const Kernels& kernels;
  const FloatKernels& storage;
  ThreadPool& pool;
  StageClock& clock;
  Problem problem;
  float scale;
  std::uint32_t limit_bits;
  std::size_t padded_keys, padded_dim, packed_key_bytes, packed_value_bytes, wave, rows, score_stride;
  std::atomic<int> failure{int(Status::ok)};
  unsigned char *packed_key, *packed_value, *scratch_base;
  std::size_t scratch_bytes;

  struct Scratch {
    float* floats;         // [max(key_tile, rows)][dim]
    float* query;          // [rows][dim]
    std::uint16_t* halves; // [dim]
    unsigned char* scores; // [rows][score_stride]
    float* lane_max;       // [rows][max_lanes]
    float* exponentials;   // [padded_keys + one vector]
    float* factor;         // [rows]
    float* accumulators;   // [rows][padded_dim]
    float* output;         // [padded_dim]
  };

  std::size_t place_shared(unsigned char* base) {
    Layout layout(base);
    packed_key = layout.take<unsigned char>(wave * packed_key_bytes);
    packed_value = layout.take<unsigned char>(wave * packed_value_bytes);
    return layout.used();
  }

  Scratch place_scratch(unsigned char* base, std::size_t* used) const {
    Layout layout(base);
    Scratch s;
    s.floats = layout.take<float>(std::max<std::size_t>(kernels.key_tile, rows) * problem.dim);
    s.query = layout.take<float>(rows * problem.dim);
    s.halves = layout.take<std::uint16_t>(problem.dim);
    s.scores = layout.take<unsigned char>(rows * score_stride * storage.element_bytes);
    s.lane_max = layout.take<float>(rows * max_lanes);
    s.exponentials = layout.take<float>(padded_keys);
    s.factor = layout.take<float>(rows);
    s.accumulators = layout.take<float>(rows * padded_dim);
    s.output = layout.take<float>(padded_dim);
    if (used)
      *used = layout.used();
    return s;
  }

  Scratch scratch(unsigned thread) const { return place_scratch(scratch_base + thread * scratch_bytes, nullptr); }

  bool reserve(FloatAttention& owner) {
    if (!owner.shared_.reserve(place_shared(nullptr)))
      return false;
    place_shared(owner.shared_.as());
    place_scratch(nullptr, &scratch_bytes);
    scratch_bytes = round_up(scratch_bytes, 64) + thread_gap;
    if (!owner.scratch_.reserve(scratch_bytes * pool.size()))
      return false;
    scratch_base = owner.scratch_.as();
    return true;
  }

  const float* checked_rows(const Input& input, std::size_t first_element, std::size_t count, float* scratch,
                            Status failed) {
    const float* x = float_rows(kernels, input, first_element, count, scratch);
    if (kernels.max_abs_bits(x, count) >= limit_bits)
      fail(failed);
    return x;
  }

  void fail(Status status) {
    int none = int(Status::ok);
    failure.compare_exchange_strong(none, int(status), std::memory_order_relaxed);
  }

  void pack(std::size_t first_unit, std::size_t task, std::size_t tasks_per_tensor, unsigned thread) {
    const std::uint64_t begin = ticks();
    const std::size_t slot = task / (2 * tasks_per_tensor), tensor = task / tasks_per_tensor % 2;
    const std::size_t unit = first_unit + slot, keys = problem.keys_of_unit(unit);
    const std::size_t key_begin = task % tasks_per_tensor * pack_keys, key_end = std::min(keys, key_begin + pack_keys);
    const Scratch s = scratch(thread);
    for (std::size_t key = key_begin; key < key_end; key += kernels.key_tile) {
      const std::size_t count = std::min<std::size_t>(kernels.key_tile, keys - key);
      const std::size_t first = (unit * problem.key_length + key) * problem.dim;
      const float* x =
          tensor == key_tensor
              ? checked_rows(arguments.key, first, count * problem.dim, s.floats, Status::non_finite_key)
              : checked_rows(arguments.value, first, count * problem.dim, s.floats, Status::non_finite_value);
      if (tensor == key_tensor)
        storage.pack_key(x, count, problem.dim,
                         packed_key + slot * packed_key_bytes + key * problem.dim * storage.element_bytes);
      else
        storage.pack_value(x, count, problem.dim, key / kernels.key_tile, padded_keys,
                           packed_value + slot * packed_value_bytes);
    }
    clock.add(thread, Stage::prepare, begin);
  }

  std::size_t strips() const { return divide_up(problem.query_length, rows); }

  void strip(std::size_t first_unit, std::size_t task, unsigned thread) {
    std::uint64_t time = ticks();
    const Scratch s = scratch(thread);
    const std::size_t slot = task / (problem.group() * strips());
    const std::size_t unit = first_unit + slot;
    const std::size_t head = unit / problem.kv_heads * problem.heads + unit % problem.kv_heads * problem.group() +
                             task / strips() % problem.group();
    // The last strips of a causal head are the longest: they start first.
    const std::size_t query = (strips() - 1 - task % strips()) * rows;
    const std::size_t count = std::min(rows, problem.query_length - query);
    const std::size_t most_visible = problem.visible(unit, query + count - 1);

    const float* q = load_query(head, query, count, s);
    time = clock.add(thread, Stage::prepare, time);

    const std::size_t whole_tiles = problem.visible(unit, query) / kernels.key_tile;
    const std::size_t tiles = divide_up(most_visible, kernels.key_tile);
    const std::size_t key_end = tiles * kernels.key_tile;
    const unsigned char* key = packed_key + slot * packed_key_bytes;
    std::fill_n(s.lane_max, count * max_lanes, std::numeric_limits<float>::lowest());
    storage.scores(q, count, key, 0, whole_tiles, problem.dim, scale, s.scores, score_stride, s.lane_max);
    storage.scores(q, count, key, whole_tiles, tiles, problem.dim, scale, s.scores, score_stride, nullptr);
    time = clock.add(thread, Stage::scores, time);

    for (std::size_t row = 0; row < count; ++row) {
      const std::size_t visible = problem.visible(unit, query + row);
      unsigned char* scores = s.scores + row * score_stride * storage.element_bytes;
      const RowExtent extent = {std::uint32_t(whole_tiles * kernels.key_tile), std::uint32_t(visible),
                                std::uint32_t(key_end)};
      if (visible == 0) {
        std::memset(scores, 0, key_end * storage.element_bytes);
        s.factor[row] = 0;
      } else {
        s.factor[row] = storage.softmax(scores, s.lane_max + row * max_lanes, extent, s.exponentials);
        if (!(s.factor[row] > 0 && s.factor[row] <= 1)) // scores that overflowed have no softmax
          fail(Status::non_finite_query);
      }
    }
    time = clock.add(thread, Stage::softmax, time);

    if (key_end == 0)
      std::fill_n(s.accumulators, count * padded_dim, 0.0f);
    else
      storage.values(s.scores, score_stride, count, packed_value + slot * packed_value_bytes, padded_keys, key_end,
                     problem.dim, s.accumulators, padded_dim);
    time = clock.add(thread, Stage::values, time);

    for (std::size_t row = 0; row < count; ++row)
      store_row(head, query + row, s.accumulators + row * padded_dim, s.factor[row], s);
    clock.add(thread, Stage::output, time);
  }

  const float* load_query(std::size_t head, std::size_t query, std::size_t count, const Scratch& s) {
    const std::size_t first = (head * problem.query_length + query) * problem.dim, elements = count * problem.dim;
    const float* x = checked_rows(arguments.query, first, elements, s.query, Status::non_finite_query);
    if (options.pipeline != Pipeline::fp16 || arguments.query.type == ElementType::float16)
      return x;
    for (std::size_t row = 0; row < count; ++row) {
      kernels.float_to_half(x + row * problem.dim, problem.dim, s.halves);
      kernels.half_to_float(s.halves, problem.dim, s.query + row * problem.dim);
    }
    return s.query;
  }

  void store_row(std::size_t head, std::size_t query, const float* accumulators, float factor, const Scratch& s) {
    const std::size_t at = (head * problem.query_length + query) * problem.dim;
    if (arguments.output_type == ElementType::float32) {
      float* out = static_cast<float*>(arguments.output) + at;
      kernels.float_output(accumulators, problem.dim, factor, out);
      if (kernels.max_abs_bits(out, problem.dim) >= infinity_bits)
        fail(Status::non_finite_value);
    } else {
      kernels.float_output(accumulators, problem.dim, factor, s.output);
      kernels.float_to_half(s.output, problem.dim, static_cast<std::uint16_t*>(arguments.output) + at);
    }
  }

  Status execute() {
    const std::size_t packs = divide_up(problem.key_length, pack_keys);
    const auto failed = [&] { return failure.load(std::memory_order_relaxed) != int(Status::ok); };
    for (std::size_t first = 0; first < problem.units() && !failed(); first += wave) {
      const std::size_t units = std::min(wave, problem.units() - first);
      pool.run(units * 2 * packs, [&](std::size_t task, unsigned thread) { pack(first, task, packs, thread); });
      if (!failed())
        pool.run(units * problem.group() * strips(),
                 [&](std::size_t task, unsigned thread) { strip(first, task, thread); });
    }
    return Status(failure.load());
  }
};

Status FloatAttention::run(const AttentionArguments& arguments, ThreadPool& pool, StageClock& clock) {
  Run run(*this, arguments, pool, clock);
  return run.reserve(*this) ? run.execute() : Status::out_of_memory;
}

} // namespace intattn
