#include "driver/float_attention.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "numerics/scale.h"

namespace intattn {

struct FloatAttention::Run : TiledRun<Run> {
  Run(FloatAttention& owner, const AttentionArguments& arguments, const Executor& executor, StageClock& clock)
      : TiledRun(owner.options_, arguments, owner.kernels_, executor, clock, owner.options_.head_dim,
                 owner.storage_.element_bytes),
        storage(owner.storage_), scale(float(problem.softmax_scale)),
        limit_bits(
            bits_of_float(options.pipeline == Pipeline::fp16 ? float16_limit : std::numeric_limits<float>::infinity())),
        // Off powers of two, so that the rows of a strip do not compete for the same cache sets.
        score_stride(padded_keys + 32) {}

  const FloatKernels& storage;
  const float scale;
  const std::uint32_t limit_bits;
  const std::size_t score_stride;

  struct Scratch {
    float* floats;         // [max(key_tile, rows)][dim]
    float* query;          // [rows][dim]
    std::uint16_t* halves; // [dim]
    unsigned char* scores; // [rows][score_stride]
    float* lane_max;       // [rows][max_lanes]
    float* exponentials;   // [padded_keys]
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

  const float* checked_rows(const Input& input, std::size_t first_element, std::size_t count, float* scratch,
                            Status failed) {
    const float* x = float_rows(kernels, input, first_element, count, scratch);
    if (kernels.rows.max_abs_bits(x, count) >= limit_bits)
      fail(failed);
    return x;
  }

  void pack(const PackTask& task, const Scratch& s) {
    const auto [slot, unit, tensor, key_begin, key_end] = task;
    for (std::size_t key = key_begin; key < key_end; key += kernels.key_tile) {
      const std::size_t count = std::min<std::size_t>(kernels.key_tile, key_end - key);
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
  }

  void strip(const Strip& strip, const Scratch& s, unsigned thread) {
    std::uint64_t time = ticks();
    const auto [slot, unit, head, query, count] = strip;
    const std::size_t most_visible = problem.visible(unit, query + count - 1);

    const float* q = load_query(head, query, count, s);
    time = clock.add(thread, Stage::prepare, time);

    const std::size_t whole_tiles = problem.visible(unit, query) / kernels.key_tile;
    const std::size_t tiles = divide_up(most_visible, kernels.key_tile);
    const std::size_t key_end = tiles * kernels.key_tile;
    const unsigned char* key = packed_key + slot * packed_key_bytes;
    std::fill_n(s.lane_max, count * max_lanes, -std::numeric_limits<float>::infinity());
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
    finish_strip(strip);
    clock.add(thread, Stage::output, time);
  }

  const float* load_query(std::size_t head, std::size_t query, std::size_t count, const Scratch& s) {
    const std::size_t first = (head * problem.query_length + query) * problem.dim, elements = count * problem.dim;
    const float* x = checked_rows(arguments.query, first, elements, s.query, Status::non_finite_query);
    if (options.pipeline != Pipeline::fp16 || arguments.query.type == ElementType::float16)
      return x;
    for (std::size_t row = 0; row < count; ++row) {
      kernels.rows.float_to_half(x + row * problem.dim, problem.dim, s.halves);
      kernels.rows.half_to_float(s.halves, problem.dim, s.query + row * problem.dim);
    }
    return s.query;
  }

  void store_row(std::size_t head, std::size_t query, const float* accumulators, float factor, const Scratch& s) {
    float* out = output_row(head, query, s.output);
    kernels.rows.float_output(accumulators, problem.dim, factor, out);
    finish_row(head, query, out);
  }

  Status execute() {
    for (std::size_t first = 0; first < problem.units() && !failed(); first += wave)
      run_wave(first);
    return status();
  }
};

Status FloatAttention::run(const AttentionArguments& arguments, const Executor& executor, StageClock& clock) {
  Run run(*this, arguments, executor, clock);
  return run.reserve(workspace_) ? run.execute() : Status::out_of_memory;
}

} // namespace intattn
