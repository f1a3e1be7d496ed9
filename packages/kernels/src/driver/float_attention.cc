#include "driver/float_attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "driver/logit_masks.h"
#include "numerics/scale.h"

namespace intattn {

struct FloatAttention::Run : TiledRun<Run> {
  Run(FloatAttention& owner, const AttentionArguments& arguments, Executor& executor, StageClock& clock)
      : TiledRun(owner.options_, arguments, owner.kernels_, executor, clock, owner.options_.head_dim,
                 owner.storage_.element_bytes),
        storage(owner.storage_), scale(float(problem.softmax_scale)),
        limit_bits(
            bits_of_float(options.pipeline == Pipeline::fp16 ? float16_limit : std::numeric_limits<float>::infinity())),
        product_limit(std::numeric_limits<float>::max() / 2 /
                      (double(problem.dim) * std::max(1.0, problem.softmax_scale))),
        // Off powers of two, so that the rows of a strip do not compete for the same cache sets.
        score_stride(padded_keys + 32), masks(options, arguments, problem), masked(masks.any()) {}

  const FloatKernels& storage;
  const float scale;
  const std::uint32_t limit_bits;
  const double product_limit; ///< of largest |query| times largest |key|: below it no score overflows
  const std::size_t score_stride;
  const LogitMasks masks;
  const bool masked;
  std::atomic<std::uint32_t> key_bits{0}; ///< of the largest |key| so far

  struct Scratch {
    float* floats;         // [max(key_tile, rows)][max(dim, value_dim)]
    float* query;          // [rows][dim]
    std::uint16_t* halves; // [dim]
    unsigned char* scores; // [rows][score_stride]
    float* lane_max;       // [rows][max_lanes]
    float* exponentials;   // [padded_keys]
    float* factor;         // [rows]
    float* accumulators;   // [rows][padded_dim]
    float* output;         // [padded_dim]
    double* wide_sums;     // [value_dim]
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
    s.floats = layout.take<float>(std::max<std::size_t>(kernels.key_tile, rows) * problem.most_dim());
    s.query = layout.take<float>(rows * problem.dim);
    s.halves = layout.take<std::uint16_t>(problem.dim);
    s.scores = layout.take<unsigned char>(rows * score_stride * storage.element_bytes);
    s.lane_max = layout.take<float>(rows * max_lanes);
    s.exponentials = layout.take<float>(padded_keys);
    s.factor = layout.take<float>(rows);
    s.accumulators = layout.take<float>(rows * padded_dim);
    s.output = layout.take<float>(padded_dim);
    s.wide_sums = layout.take<double>(storage.element_bytes == sizeof(float) ? problem.value_dim : 0);
    if (used)
      *used = layout.used();
    return s;
  }

  struct CheckedRows {
    const float* x;
    std::uint32_t max_abs_bits;
  };

  CheckedRows checked_rows(const Input& input, std::size_t first_element, std::size_t count, float* scratch,
                           Status failed) {
    const float* x = float_rows(kernels, input, first_element, count, scratch);
    const std::uint32_t bits = kernels.rows.max_abs_bits(x, count);
    if (bits >= limit_bits)
      fail(failed);
    return {x, bits};
  }

  void raise_key_bits(std::uint32_t bits) {
    std::uint32_t most = key_bits.load(std::memory_order_relaxed);
    while (most < bits && !key_bits.compare_exchange_weak(most, bits, std::memory_order_relaxed))
      ;
  }

  void pack(const PackTask& task, const Scratch& s) {
    const auto [slot, unit, tensor, key_begin, key_end] = task;
    for (std::size_t key = key_begin; key < key_end; key += kernels.key_tile) {
      const std::size_t count = std::min<std::size_t>(kernels.key_tile, key_end - key);
      const std::size_t dim = problem.dim_of(tensor);
      const std::size_t first = (unit * problem.key_length + key) * dim;
      const auto [x, bits] =
          tensor == key_tensor ? checked_rows(arguments.key, first, count * dim, s.floats, Status::non_finite_key)
                               : checked_rows(arguments.value, first, count * dim, s.floats, Status::non_finite_value);
      if (tensor == key_tensor) {
        raise_key_bits(bits);
        storage.pack_key(x, count, dim, packed_key + slot * packed_key_bytes + key * dim * storage.element_bytes);
      } else {
        storage.pack_value(x, count, dim, key / kernels.key_tile, padded_keys,
                           packed_value + slot * packed_value_bytes);
      }
    }
  }

  void strip(const Strip& strip, const Scratch& s, unsigned thread) {
    std::uint64_t time = ticks();
    const auto [slot, unit, head, query, count] = strip;
    const std::size_t most_visible = problem.visible(unit, query + count - 1);

    const auto [q, query_bits] = load_query(head, query, count, s);
    const bool may_overflow =
        is_float32() &&
        double(float_of_bits(query_bits)) * float_of_bits(key_bits.load(std::memory_order_relaxed)) >= product_limit;
    time = clock.add(thread, Stage::prepare, time);

    // Maxima are of no use where logits are still to be moved.
    const std::size_t whole_tiles = masked ? 0 : problem.visible(unit, query) / kernels.key_tile;
    const std::size_t tiles = divide_up(most_visible, kernels.key_tile);
    const std::size_t key_end = tiles * kernels.key_tile;
    const unsigned char* key = packed_key + slot * packed_key_bytes;
    std::fill_n(s.lane_max, count * max_lanes, -std::numeric_limits<float>::infinity());
    storage.scores(q, count, key, 0, whole_tiles, problem.dim, scale, s.scores, score_stride, s.lane_max);
    storage.scores(q, count, key, whole_tiles, tiles, problem.dim, scale, s.scores, score_stride, nullptr);
    time = clock.add(thread, Stage::scores, time);

    for (std::size_t row = 0; row < count; ++row) {
      const std::size_t visible = problem.visible(unit, query + row);
      if (masked && !masks.bias_is_sound({unit, head, query + row}))
        fail(Status::non_finite_bias);
      unsigned char* scores = s.scores + row * score_stride * storage.element_bytes;
      const RowExtent extent = {std::uint32_t(whole_tiles * kernels.key_tile), std::uint32_t(visible),
                                std::uint32_t(key_end)};
      if (visible == 0) {
        std::memset(scores, 0, key_end * storage.element_bytes);
        s.factor[row] = 0;
      } else if (may_overflow &&
                 kernels.rows.max_abs_bits(reinterpret_cast<const float*>(scores), visible) >= infinity_bits) {
        s.factor[row] = std::numeric_limits<float>::quiet_NaN(); // and so is the row's output
      } else if (masked) {
        s.factor[row] = masked_softmax({unit, head, query + row}, scores, visible, key_end, s);
      } else {
        s.factor[row] = storage.softmax(scores, s.lane_max + row * max_lanes, extent, s.exponentials);
      }
    }
    time = clock.add(thread, Stage::softmax, time);

    if (key_end == 0)
      std::fill_n(s.accumulators, count * padded_dim, 0.0f);
    else
      storage.values(s.scores, score_stride, count, packed_value + slot * packed_value_bytes, padded_keys, key_end,
                     problem.value_dim, s.accumulators, padded_dim);
    time = clock.add(thread, Stage::values, time);

    for (std::size_t row = 0; row < count; ++row) {
      float* out = output_row(head, query + row, s.output);
      kernels.rows.float_output(s.accumulators + row * padded_dim, problem.value_dim, s.factor[row], out);
      if (kernels.rows.max_abs_bits(out, problem.value_dim) >= infinity_bits) {
        if (is_float32() && !failed())
          compute_in_float64({unit, head, query + row}, q + row * problem.dim, out, s);
        else
          fail(Status::non_finite_value);
      }
      finish_row(head, query + row, out);
    }
    clock.add(thread, Stage::output, time);
  }

  /// Scores become probabilities as `FloatKernels::softmax` makes them, hidden ones zeros.
  float masked_softmax(const LogitMasks::Row& row, unsigned char* scores, std::size_t visible, std::size_t key_end,
                       const Scratch& s) {
    auto* halves = reinterpret_cast<std::uint16_t*>(scores);
    float* x = is_float32() ? reinterpret_cast<float*>(scores) : s.exponentials;
    if (!is_float32())
      kernels.rows.half_to_float(halves, visible, x);
    masks.apply(row, x);
    const float top = *std::max_element(x, x + visible), sink = masks.sink(row);
    float factor = 0;
    if (top == -std::numeric_limits<float>::infinity()) {
      std::memset(scores, 0, key_end * storage.element_bytes);
      return factor;
    }
    const RowExtent extent = {0, std::uint32_t(visible), std::uint32_t(is_float32() ? key_end : visible)};
    factor = kernels.float32.softmax(x, nullptr, extent, nullptr);
    factor = float(1 / (1 / double(factor) + std::exp(double(sink) - double(top))));
    if (is_float32())
      return factor;
    kernels.rows.float_output(x, visible, factor, x);
    kernels.rows.float_to_half(x, visible, halves);
    std::memset(halves + visible, 0, (key_end - visible) * sizeof *halves);
    return 1;
  }

  bool is_float32() const { return storage.element_bytes == sizeof(float); }

  CheckedRows load_query(std::size_t head, std::size_t query, std::size_t count, const Scratch& s) {
    const std::size_t first = (head * problem.query_length + query) * problem.dim, elements = count * problem.dim;
    const CheckedRows rows = checked_rows(arguments.query, first, elements, s.query, Status::non_finite_query);
    if (options.pipeline != Pipeline::fp16 || arguments.query.type == ElementType::float16)
      return rows;
    for (std::size_t row = 0; row < count; ++row) {
      kernels.rows.float_to_half(rows.x + row * problem.dim, problem.dim, s.halves);
      kernels.rows.half_to_float(s.halves, problem.dim, s.query + row * problem.dim);
    }
    return {s.query, rows.max_abs_bits};
  }

  /// A row whose scores, or whose sums before they are normalized, leave float32. In float64 none does, and the output
  /// is a weighted mean of values, which is finite.
  void compute_in_float64(const LogitMasks::Row& row, const float* q, float* out, const Scratch& s) {
    const std::size_t dim = problem.dim, value_dim = problem.value_dim, visible = problem.visible(row.unit, row.query);
    double top = masks.sink(row), total = std::isfinite(top) ? 1 : 0;
    std::fill_n(s.wide_sums, value_dim, 0.0);
    for (std::size_t key = 0; key < visible; ++key) {
      const double addend = masked ? masks.addend(row, key) : 0;
      if (std::isinf(addend))
        continue;
      const std::size_t index = row.unit * problem.key_length + key;
      const float* k = float_rows(kernels, arguments.key, index * dim, dim, s.floats);
      double logit = 0;
      for (std::size_t c = 0; c < dim; ++c)
        logit += double(q[c]) * k[c];
      logit = logit * problem.softmax_scale + addend;
      if (logit > top) {
        const double shrink = std::exp(top - logit);
        total *= shrink;
        for (std::size_t c = 0; c < value_dim; ++c)
          s.wide_sums[c] *= shrink;
        top = logit;
      }
      const double weight = std::exp(logit - top);
      total += weight;
      const float* v = float_rows(kernels, arguments.value, index * value_dim, value_dim, s.floats);
      for (std::size_t c = 0; c < value_dim; ++c)
        s.wide_sums[c] += weight * v[c];
    }
    for (std::size_t c = 0; c < value_dim; ++c)
      out[c] = total > 0 ? float(s.wide_sums[c] / total) : 0;
  }

  Status execute() {
    for (std::size_t first = 0; first < problem.units() && !failed(); first += wave)
      run_wave(first);
    return status();
  }
};

Status FloatAttention::run(const AttentionArguments& arguments, Executor& executor, StageClock& clock) {
  Run run(*this, arguments, executor, clock);
  return run.reserve(workspace_) ? run.execute() : Status::out_of_memory;
}

} // namespace intattn
