#include "driver/quantized_attention.h"

#include <cstring>

#include "driver/key_value_scales.h"
#include "numerics/center.h"
#include "numerics/scale.h"

namespace intattn {
namespace {

/// Keys whose products surely fit an int32 accumulator (255 * 127 * keys < 2^31), as a multiple of every key tile.
constexpr std::size_t accumulator_keys = 65536;

} // namespace

/// One call of run: where everything lies, and the stages.
struct QuantizedAttention::Run : TiledRun<Run> {
  Run(QuantizedAttention& owner, const AttentionArguments& arguments, Executor& executor, StageClock& clock)
      : TiledRun(owner.options_, arguments, owner.kernels_, executor, clock,
                 round_up(owner.options_.head_dim, owner.kernels_.depth_group), owner.kernels_.integer_bytes),
        table(owner.table_), index_scale(owner.index_scale_), scales(options, arguments, problem, kernels) {
    integer = options.pipeline == Pipeline::integer;
    // Only what the plane loses needs the mean of V, and nothing when that mean is the center.
    running_mean = integer && table.unit > 1 && options.normalization == Normalization::deferred &&
                   (problem.causal || !scales.centered(value_tensor));
    byte_stride = round_up(problem.most_dim(), row_padding);
    mean_blocks = divide_up(problem.key_length, mean_block) + 1;
    // Off powers of two, so that the rows of a strip do not compete for the same cache sets.
    score_stride = padded_keys + 16;
    probability_stride = padded_keys + row_padding;
  }

  const WeightTable& table;
  const IndexScale& index_scale;
  KeyValueScales scales;
  bool integer, running_mean;
  std::size_t byte_stride, mean_blocks, score_stride, probability_stride;

  std::uint32_t* query_bits;    // [batch * heads]
  ScaleAndInverse* query_scale; // [batch * heads], unless they are per row
  // Per unit: running sums of V before each block of keys.
  double* value_sums; // [units][mean_blocks][value_dim]

  struct Scratch {
    float* floats;          // [max(key_tile, rows, mean_block)][most_dim]
    std::int8_t* bytes;     // [max(key_tile, rows)][byte_stride], columns from the dim in use on are zero
    unsigned char* query;   // packed strip
    float* row_scale;       // [rows]
    std::int32_t* scores;   // [rows][score_stride]
    std::int32_t* lane_max; // [rows][max_lanes]
    unsigned char* probabilities;
    std::uint32_t* visible;     // [rows]
    IndexParameters* index;     // [rows]
    float* logit_scale;         // [rows]
    RowSums* sums;              // [rows]
    std::int32_t* accumulators; // [rows][padded_dim]
    std::int64_t* wide;         // [rows][padded_dim], for keys beyond accumulator_keys
    double* running;            // [value_dim]
    float* scale;               // [value_dim], of probabilities times values
    float *offset, *output;     // [padded_dim]
  };

  std::size_t block_rows() const { return std::max<std::size_t>({kernels.key_tile, rows, mean_block}); }

  std::size_t place_shared(unsigned char* base) {
    Layout layout(base);
    const std::size_t query_heads = problem.batch * problem.heads;
    scales.place(layout);
    query_bits = layout.take<std::uint32_t>(query_heads);
    query_scale = layout.take<ScaleAndInverse>(query_heads);
    value_sums = layout.take<double>(running_mean ? problem.units() * mean_blocks * problem.value_dim : 0);
    packed_key = layout.take<unsigned char>(wave * packed_key_bytes);
    packed_value = layout.take<unsigned char>(wave * packed_value_bytes);
    return layout.used();
  }

  Scratch place_scratch(unsigned char* base, std::size_t* used) const {
    Layout layout(base);
    Scratch s;
    s.floats = layout.take<float>(block_rows() * problem.most_dim());
    s.bytes = layout.take<std::int8_t>(block_rows() * byte_stride);
    s.query = layout.take<unsigned char>(rows * depth * kernels.integer_bytes);
    s.row_scale = layout.take<float>(rows);
    s.scores = layout.take<std::int32_t>(rows * score_stride);
    s.lane_max = layout.take<std::int32_t>(rows * max_lanes);
    s.probabilities = layout.take<unsigned char>(rows * probability_stride * kernels.integer_bytes);
    s.visible = layout.take<std::uint32_t>(rows);
    s.index = layout.take<IndexParameters>(rows);
    s.logit_scale = layout.take<float>(rows);
    s.sums = layout.take<RowSums>(rows);
    s.accumulators = layout.take<std::int32_t>(rows * padded_dim);
    s.wide = layout.take<std::int64_t>(padded_keys > accumulator_keys ? rows * padded_dim : 0);
    s.running = layout.take<double>(problem.value_dim);
    s.scale = layout.take<float>(problem.value_dim);
    s.offset = layout.take<float>(padded_dim);
    s.output = layout.take<float>(padded_dim);
    if (used)
      *used = layout.used();
    return s;
  }

  std::size_t first_row(std::size_t unit) const { return unit * problem.key_length; }

  void column_statistics(std::size_t task, unsigned thread) {
    const std::size_t slabs = scales.slabs(), unit = task / (2 * slabs);
    const auto tensor = TensorIndex(task / slabs % 2);
    double* sums =
        tensor == value_tensor && running_mean ? value_sums + unit * mean_blocks * problem.value_dim : nullptr;
    if (const Status found = scales.measure(unit, tensor, task % slabs, scratch(thread).floats, sums);
        found != Status::ok)
      fail(found);
  }

  void query_statistics(std::size_t head, unsigned thread) {
    const Scratch s = scratch(thread);
    std::uint32_t most = 0;
    for (std::size_t row = 0; row < problem.query_length; row += mean_block) {
      const std::size_t count = std::min(mean_block, problem.query_length - row) * problem.dim;
      const float* x =
          float_rows(kernels, arguments.query, (head * problem.query_length + row) * problem.dim, count, s.floats);
      most = std::max(most, kernels.rows.max_abs_bits(x, count));
    }
    query_bits[head] = most;
    if (most >= infinity_bits)
      fail(Status::non_finite_query);
  }

  void settle_query_scales() {
    const Input& in = arguments.query;
    const std::size_t heads = problem.batch * problem.heads;
    const bool per_head = options.query_scope == Scope::head;
    if (in.type == ElementType::int8) {
      for (std::size_t head = 0; head < heads; ++head)
        query_scale[head] = {in.scale[per_head ? head : 0], 0};
      return;
    }
    const std::uint32_t all = *std::max_element(query_bits, query_bits + heads);
    for (std::size_t head = 0; head < heads; ++head)
      query_scale[head] = scale_of(per_head ? query_bits[head] : all);
  }

  /// Quantized rows as the packing functions want them: from memory when they already are, else through `bytes`.
  const std::int8_t* quantized_rows(std::size_t unit, TensorIndex tensor, std::size_t key, std::size_t count,
                                    const Scratch& s, std::size_t* stride) {
    const Input& in = scales.input(tensor);
    const std::size_t dim = problem.dim_of(tensor), first = (first_row(unit) + key) * dim;
    const auto* stored = static_cast<const std::int8_t*>(in.data) + first;
    if (in.type == ElementType::int8) {
      if (dim % row_padding == 0 && count == kernels.key_tile) {
        *stride = dim;
        return stored;
      }
      for (std::size_t row = 0; row < count; ++row)
        std::memcpy(s.bytes + row * byte_stride, stored + row * dim, dim);
    } else {
      const float* x = float_rows(kernels, in, first, count * dim, s.floats);
      scales.quantize(unit, tensor, x, count, s.bytes, byte_stride);
    }
    if (count < kernels.key_tile)
      std::memset(s.bytes + count * byte_stride, 0, (kernels.key_tile - count) * byte_stride);
    *stride = byte_stride;
    return s.bytes;
  }

  void pack(const PackTask& task, const Scratch& s) {
    const auto [slot, unit, tensor, key_begin, key_end] = task;
    const std::size_t dim = problem.dim_of(tensor);
    clear_padding(dim, s);
    std::int8_t* copy = arguments.intermediates
                            ? tensor == key_tensor ? arguments.intermediates->key : arguments.intermediates->value
                            : nullptr;
    for (std::size_t key = key_begin; key < key_end; key += kernels.key_tile) {
      const std::size_t count = std::min<std::size_t>(kernels.key_tile, key_end - key);
      std::size_t stride;
      const std::int8_t* q = quantized_rows(unit, tensor, key, count, s, &stride);
      const std::size_t tile = key / kernels.key_tile;
      if (tensor == key_tensor)
        kernels.pack_key(q, stride, dim, packed_key + slot * packed_key_bytes + key * depth * kernels.integer_bytes);
      else
        kernels.pack_value(q, stride, dim, tile, padded_keys, packed_value + slot * packed_value_bytes);
      if (copy)
        for (std::size_t row = 0; row < count; ++row)
          std::memcpy(copy + (first_row(unit) + key + row) * dim, q + row * stride, dim);
    }
  }

  /// Zeroes the columns of `bytes` from `dim` on.
  void clear_padding(std::size_t dim, const Scratch& s) const {
    if (byte_stride != dim)
      for (std::size_t row = 0; row < block_rows(); ++row)
        std::memset(s.bytes + row * byte_stride + dim, 0, byte_stride - dim);
  }

  void strip(const Strip& strip, const Scratch& s, unsigned thread) {
    std::uint64_t time = ticks();
    const auto [slot, unit, head, query, count] = strip;
    const std::size_t most_visible = problem.visible(unit, query + count - 1);
    quantize_query(head, query, count, s);
    record_scores(unit, head, query, count, s);
    if (most_visible == 0) {
      for (std::size_t row = 0; row < count; ++row)
        store_empty(head, query + row);
      return;
    }
    kernels.pack_query(s.bytes, byte_stride, count, problem.dim, s.query);
    time = clock.add(thread, Stage::prepare, time);

    const std::size_t whole_tiles = problem.visible(unit, query) / kernels.key_tile;
    const std::size_t tiles = divide_up(most_visible, kernels.key_tile);
    const unsigned char* key = packed_key + slot * packed_key_bytes;
    std::fill_n(s.lane_max, count * max_lanes, INT32_MIN);
    kernels.scores(s.query, count, key, 0, whole_tiles, problem.dim, s.scores, score_stride, s.lane_max);
    kernels.scores(s.query, count, key, whole_tiles, tiles, problem.dim, s.scores, score_stride, nullptr);
    time = clock.add(thread, Stage::scores, time);

    const std::size_t key_end = tiles * kernels.key_tile;
    for (std::size_t row = 0; row < count; ++row)
      s.visible[row] = std::uint32_t(problem.visible(unit, query + row));
    const SoftmaxStrip softmax = {s.scores,
                                  score_stride,
                                  s.lane_max,
                                  count,
                                  std::uint32_t(whole_tiles * kernels.key_tile),
                                  std::uint32_t(key_end),
                                  s.visible,
                                  s.probabilities,
                                  probability_stride};
    scale_logits(unit, count, s);
    if (integer) {
      kernels.index_softmax(softmax, table, s.index, s.sums);
    } else {
      kernels.float_softmax(softmax, s.logit_scale);
      std::fill_n(s.sums, count, RowSums{1, 0});
    }
    time = clock.add(thread, Stage::softmax, time);
    record_probabilities(head, query, count, key_end, s);

    multiply_values(slot, count, key_end, s);
    time = clock.add(thread, Stage::values, time);

    store_rows(unit, head, query, count, s);
    if (!surely_finite(unit))
      finish_strip(strip);
    clock.add(thread, Stage::output, time);
  }

  void quantize_query(std::size_t head, std::size_t query, std::size_t count, const Scratch& s) {
    clear_padding(problem.dim, s);
    const Input& in = arguments.query;
    const std::size_t row = head * problem.query_length + query, first = row * problem.dim;
    if (in.type == ElementType::int8) {
      for (std::size_t i = 0; i < count; ++i)
        std::memcpy(s.bytes + i * byte_stride, static_cast<const std::int8_t*>(in.data) + first + i * problem.dim,
                    problem.dim);
      if (options.query_scope == Scope::row)
        std::memcpy(s.row_scale, in.scale + row, count * sizeof(float));
      else
        std::fill_n(s.row_scale, count, query_scale[head].scale);
    } else {
      const float* x = float_rows(kernels, in, first, count * problem.dim, s.floats);
      if (options.query_scope == Scope::row) {
        if (kernels.rows.quantize_rows(x, count, problem.dim, s.bytes, byte_stride, s.row_scale) >= infinity_bits)
          fail(Status::non_finite_query);
      } else {
        kernels.rows.quantize(x, count, problem.dim, nullptr, &query_scale[head].inverse, false, s.bytes, byte_stride);
        std::fill_n(s.row_scale, count, query_scale[head].scale);
      }
    }
    if (arguments.intermediates && arguments.intermediates->query)
      for (std::size_t i = 0; i < count; ++i)
        std::memcpy(arguments.intermediates->query + first + i * problem.dim, s.bytes + i * byte_stride, problem.dim);
    if (arguments.intermediates && arguments.intermediates->query_scale && options.query_scope == Scope::row)
      std::memcpy(arguments.intermediates->query_scale + row, s.row_scale, count * sizeof(float));
  }

  /// What one unit of score is worth in each row of a strip.
  void scale_logits(std::size_t unit, std::size_t count, const Scratch& s) const {
    const double key_scale = *scales.scale(unit, key_tensor);
    for (std::size_t row = 0; row < count; ++row) {
      if (row > 0 && s.row_scale[row] == s.row_scale[row - 1]) {
        s.index[row] = s.index[row - 1];
        s.logit_scale[row] = s.logit_scale[row - 1];
        continue;
      }
      const double logit_scale = double(s.row_scale[row]) * key_scale * problem.softmax_scale;
      if (integer)
        s.index[row] = make_index_parameters(index_scale, logit_scale);
      // Any scale this large leaves nothing but the maximum; as a float it must not become infinite.
      s.logit_scale[row] = float(std::min(logit_scale, 1e30));
    }
  }

  void multiply_values(std::size_t slot, std::size_t count, std::size_t key_end, const Scratch& s) {
    const unsigned char* value = packed_value + slot * packed_value_bytes;
    if (key_end <= accumulator_keys) {
      kernels.values(s.probabilities, probability_stride, count, value, padded_keys, 0, key_end, problem.value_dim,
                     s.accumulators, padded_dim);
      return;
    }
    std::fill_n(s.wide, count * padded_dim, std::int64_t{0});
    for (std::size_t begin = 0; begin < key_end; begin += accumulator_keys) {
      kernels.values(s.probabilities, probability_stride, count, value, padded_keys, begin,
                     std::min(key_end, begin + accumulator_keys), problem.value_dim, s.accumulators, padded_dim);
      for (std::size_t i = 0; i < count * padded_dim; ++i)
        s.wide[i] += s.accumulators[i];
    }
    // A row that sees no more keys than fit is stored like that of a shorter strip: the output does not depend on how
    // rows are put together.
    for (std::size_t row = 0; row < count; ++row)
      if (s.visible[row] <= accumulator_keys)
        std::transform(s.wide + row * padded_dim, s.wide + (row + 1) * padded_dim, s.accumulators + row * padded_dim,
                       [](std::int64_t sum) { return std::int32_t(sum); });
  }

  void store_rows(std::size_t unit, std::size_t head, std::size_t query, std::size_t count, const Scratch& s) {
    const std::size_t keys = problem.keys_of_unit(unit);
    const float *scale = scales.scale(unit, value_tensor), *center = scales.center(unit, value_tensor);
    const bool deferred = integer && options.normalization == Normalization::deferred;
    // One factor for all rows goes into the scale, unless so small a scale loses bits.
    const float probability = integer ? 1 / 255.0f : 1 / 127.0f;
    std::uint32_t least = infinity_bits;
    for (std::size_t c = 0; c < problem.value_dim && !deferred; ++c) {
      s.scale[c] = scale[c] * probability;
      least = std::min(least, bits_of_float(s.scale[c]));
    }
    const bool scaled = !deferred && least >= bits_of_float(0x1p-100f);
    std::size_t summed = 0; // keys in s.running
    for (std::size_t row = 0; row < count; ++row) {
      const std::size_t visible = problem.visible(unit, query + row);
      if (visible == 0) {
        store_empty(head, query + row);
        continue;
      }
      const RowSums sums = s.sums[row];
      const auto lost = std::int32_t(std::int64_t{sums.weight} - std::int64_t{table.unit} * sums.plane);
      OutputRow out = {scaled ? s.scale : scale, center, nullptr, 1, 0};
      if (deferred)
        out.factor = float(double(table.unit) / double(sums.weight));
      else if (!scaled)
        out.factor = probability;
      if (running_mean) {
        if (visible != summed) {
          advance_running_sum(unit, summed, visible, s);
          summed = visible;
          kernels.rows.mean_offset(s.running, 1 / double(visible), out.center, problem.value_dim, s.offset);
          if (arguments.value.type == ElementType::int8)
            for (std::size_t c = 0; c < problem.value_dim; ++c)
              s.offset[c] *= out.scale[c];
        }
        if (!(center && visible == keys)) {
          out.offset = s.offset;
          out.offset_factor = float(double(lost) / double(sums.weight));
        }
      }
      float* target = output_row(head, query + row, s.output);
      if (visible > accumulator_keys)
        store_wide(s.wide + row * padded_dim, out, target);
      else
        kernels.rows.integer_output(s.accumulators + row * padded_dim, problem.value_dim, out, target);
      finish_row(head, query + row, target);
      record_sums(head, query + row, sums.weight, lost);
    }
  }

  /// Whether no output row of this unit can overflow: probabilities, lost mass and their quotients stay far below 2^40.
  bool surely_finite(std::size_t unit) const {
    const float* center = scales.center(unit, value_tensor);
    return std::max(kernels.rows.max_abs_bits(scales.scale(unit, value_tensor), problem.value_dim),
                    center ? kernels.rows.max_abs_bits(center, problem.value_dim) : 0) < bits_of_float(0x1p80f);
  }

  void advance_running_sum(std::size_t unit, std::size_t summed, std::size_t visible, const Scratch& s) const {
    const std::size_t block = visible / mean_block;
    if (summed == 0 || block * mean_block > summed) {
      std::memcpy(s.running, value_sums + (unit * mean_blocks + block) * problem.value_dim,
                  problem.value_dim * sizeof(double));
      summed = block * mean_block;
    }
    if (visible > summed) {
      const std::size_t count = visible - summed;
      const float* x = float_rows(kernels, arguments.value, (first_row(unit) + summed) * problem.value_dim,
                                  count * problem.value_dim, s.floats);
      kernels.rows.column_statistics(x, problem.value_dim, count, problem.value_dim, s.running, nullptr, nullptr);
    }
  }

  void store_wide(const std::int64_t* accumulators, const OutputRow& row, float* out) const {
    for (std::size_t c = 0; c < problem.value_dim; ++c) {
      double value = double(accumulators[c]) * double(row.scale[c]) * double(row.factor);
      if (row.center)
        value += double(row.center[c]);
      if (row.offset)
        value += double(row.offset[c]) * double(row.offset_factor);
      out[c] = float(value);
    }
  }

  void store_empty(std::size_t head, std::size_t query) {
    const std::size_t bytes = arguments.output_type == ElementType::float32 ? 4 : 2;
    std::memset(static_cast<unsigned char*>(arguments.output) + output_at(head, query) * bytes, 0,
                problem.value_dim * bytes);
    record_sums(head, query, 0, 0);
  }

  void record_sums(std::size_t head, std::size_t query, std::uint32_t row_sum, std::int32_t lost) const {
    const Intermediates* to = arguments.intermediates;
    if (!to || !integer)
      return;
    const std::size_t row = head * problem.query_length + query;
    if (to->row_sum)
      to->row_sum[row] = row_sum;
    if (to->lost)
      to->lost[row] = lost;
  }

  /// Scores of all keys that are there, computed plainly: a strip holds them only up to a constant and as far as they
  /// are visible.
  void record_scores(std::size_t unit, std::size_t head, std::size_t query, std::size_t count, const Scratch& s) const {
    const Intermediates* to = arguments.intermediates;
    if (!to || !to->scores)
      return;
    for (std::size_t row = 0; row < count; ++row) {
      std::int32_t* out = to->scores + (head * problem.query_length + query + row) * problem.key_length;
      const std::int8_t* q = s.bytes + row * byte_stride;
      std::fill_n(out, problem.key_length, 0);
      for (std::size_t key = 0; key < problem.keys_of_unit(unit); ++key) {
        const std::int8_t* k = to->key + (first_row(unit) + key) * problem.dim;
        for (std::size_t c = 0; c < problem.dim; ++c)
          out[key] += q[c] * k[c];
      }
    }
  }

  void record_probabilities(std::size_t head, std::size_t query, std::size_t count, std::size_t key_end,
                            const Scratch& s) const {
    const Intermediates* to = arguments.intermediates;
    if (!to || !to->probabilities || !integer)
      return;
    for (std::size_t row = 0; row < count; ++row)
      kernels.unpack_probabilities(
          s.probabilities, probability_stride, count, row, std::min(key_end, problem.key_length),
          to->probabilities + (head * problem.query_length + query + row) * problem.key_length);
  }

  void record_scales() const {
    const Intermediates* to = arguments.intermediates;
    if (!to)
      return;
    scales.record(*to);
    if (to->query_scale && options.query_scope != Scope::row)
      for (std::size_t head = 0; head < (options.query_scope == Scope::head ? problem.batch * problem.heads : 1);
           ++head)
        to->query_scale[head] = query_scale[head].scale;
  }

  void gather_statistics(std::size_t unit_begin, std::size_t unit_end) {
    const std::size_t tasks_per_unit = 2 * scales.slabs();
    executor.run((unit_end - unit_begin) * tasks_per_unit, [&](std::size_t task, unsigned thread) {
      const std::uint64_t begin = ticks();
      column_statistics(unit_begin * tasks_per_unit + task, thread);
      clock.add(thread, Stage::prepare, begin);
    });
    if (!failed())
      scales.settle(unit_begin, unit_end);
  }

  Status execute() {
    const bool global = options.key_scope == Scope::tensor || options.value_scope == Scope::tensor;
    if (options.query_scope != Scope::row) {
      if (arguments.query.type != ElementType::int8)
        executor.run(problem.batch * problem.heads, [&](std::size_t head, unsigned thread) {
          const std::uint64_t begin = ticks();
          query_statistics(head, thread);
          clock.add(thread, Stage::prepare, begin);
        });
      if (!failed())
        settle_query_scales();
    }
    if (global)
      gather_statistics(0, problem.units());
    for (std::size_t first = 0; first < problem.units() && !failed(); first += wave) {
      if (!global)
        gather_statistics(first, std::min(first + wave, problem.units()));
      if (!failed())
        run_wave(first);
    }
    if (!failed())
      record_scales();
    return status();
  }
};

QuantizedAttention::QuantizedAttention(const AttentionOptions& options, const Kernels& kernels)
    : options_(options), kernels_(kernels), table_(make_weight_table(options.table, options.normalization)),
      index_scale_(make_index_scale(options.table)) {}

Status QuantizedAttention::run(const AttentionArguments& arguments, Executor& executor, StageClock& clock) {
  Run run(*this, arguments, executor, clock);
  return run.reserve(workspace_) ? run.execute() : Status::out_of_memory;
}

} // namespace intattn
