#include <cfloat>
#include <limits>
#include <memory>
#include <vector>

#include "arm_compute/function_info/IndexSoftmaxInfo.h"
#include "arm_compute/runtime/NEON/functions/NEIndexSoftmaxLayer.h"
#include "engines/compute_library/plans.h"
#include "engines/compute_library/quantized_operands.h"
#include "engines/compute_library/rows.h"
#include "engines/compute_library/sequence.h"
#include "engines/compute_library/weighted_values.h"
#include "numerics/center.h"

namespace intattn::compute_library {
namespace {

using arm_compute::DataType;

arm_compute::IndexSoftmaxInfo info_of(const AttentionOptions& options) {
  using Info = arm_compute::IndexSoftmaxInfo;
  Info info;
  info.table = options.table.table == Table::natural ? Info::Table::NATURAL : Info::Table::EXP2;
  info.clip = options.table.clip;
  info.lut_bits = unsigned(options.table.lut_bits);
  info.normalization =
      options.normalization == Normalization::integer ? Info::Normalization::INTEGER : Info::Normalization::DEFERRED;
  return info;
}

/// Memory of one run, beside the quantized operands.
struct Buffers {
  Buffers(unsigned char* base, std::size_t rows, std::size_t scores_count, std::size_t keys, std::size_t dim,
          bool integer) {
    Layout layout(base);
    transposed_key = layout.take<std::int8_t>(keys * dim);
    scores = layout.take<std::int32_t>(scores_count);
    softmax = layout.take<float>(integer ? 0 : scores_count);
    probabilities = layout.take<std::uint8_t>(scores_count);
    accumulators = layout.take<float>(rows * dim);
    logit_scale = layout.take<double>(rows);
    visible = layout.take<std::uint32_t>(rows);
    row_sums = layout.take<std::uint32_t>(2 * rows);
    bytes = layout.used();
  }

  std::int8_t* transposed_key; // [dim][keys]
  std::int32_t* scores;        // [rows][keys]; pipeline `int8`: then float32
  float* softmax;              // [rows][keys], pipeline `int8`
  std::uint8_t* probabilities; // [rows][keys]; pipeline `int8`: int8
  float* accumulators;         // [rows][dim]
  double* logit_scale;         // [rows], or one
  std::uint32_t* visible;      // [rows]
  std::uint32_t* row_sums;     // [rows][weights, lost]
  std::size_t bytes;
};

/// Means of V over the keys that a row sees, which grow in number as one walks down a causal matrix.
class RunningMean {
public:
  RunningMean(const UnitRun& run, std::size_t unit)
      : run_(run), unit_(unit), sum_(run.problem.dim), mean_(run.problem.dim),
        scratch_(run.arguments.value.type == ElementType::float32 ? 0 : mean_block * run.problem.dim) {}

  /// Mean of the first `visible` > 0 rows minus `center`, in units of V.
  const float* minus(const float* center, std::size_t visible, const float* int8_scale) {
    if (visible < summed_) {
      std::fill(sum_.begin(), sum_.end(), 0.0);
      summed_ = 0;
    }
    const std::size_t dim = run_.problem.dim;
    while (summed_ < visible) {
      const std::size_t count = std::min(visible - summed_, mean_block);
      const float* x = float_rows(run_.kernels, run_.arguments.value, (run_.first_key(unit_) + summed_) * dim,
                                  count * dim, scratch_.data());
      run_.kernels.rows.column_statistics(x, dim, count, dim, sum_.data(), nullptr, nullptr);
      summed_ += count;
    }
    run_.kernels.rows.mean_offset(sum_.data(), 1 / double(visible), center, dim, mean_.data());
    if (run_.arguments.value.type == ElementType::int8)
      for (std::size_t c = 0; c < dim; ++c)
        mean_[c] *= int8_scale[c];
    return mean_.data();
  }

private:
  const UnitRun& run_;
  const std::size_t unit_;
  std::size_t summed_ = 0;
  std::vector<double> sum_;
  std::vector<float> mean_, scratch_;
};

/// Operators for `rows` query rows and `keys` keys.
struct Plan {
  Plan(const AttentionOptions& options, std::size_t rows, std::size_t keys)
      : packed_bytes(2 * keys * options.head_dim), query(DataType::QASYMM8_SIGNED, rows, options.head_dim),
        key(DataType::QASYMM8_SIGNED, keys, options.head_dim),
        transposed_key(DataType::QASYMM8_SIGNED, options.head_dim, keys), scores(DataType::S32, rows, keys),
        float_scores(DataType::F32, rows, keys), float_probabilities(DataType::F32, rows, keys),
        probabilities(DataType::U8, rows, keys), logit_scale(DataType::F64, 1, scale_per_row(options) ? rows : 1),
        visible(DataType::U32, 1, rows), row_sums(DataType::U32, rows, 2),
        values(options.pipeline == Pipeline::integer, rows, keys, options.head_dim) {
    configure(transpose, key, transposed_key);
    configure(query_key, query, transposed_key, scores);
    if (options.pipeline == Pipeline::integer) {
      const arm_compute::IndexSoftmaxInfo info = info_of(options);
      require(arm_compute::NEIndexSoftmaxLayer::validate(scores.info(), probabilities.info(), info, logit_scale.info(),
                                                         visible.info(), row_sums.info()),
              "NEIndexSoftmaxLayer");
      index_softmax.configure(scores.tensor(), probabilities.tensor(), info, logit_scale.tensor(), visible.tensor(),
                              row_sums.tensor());
    } else {
      configure(softmax, float_scores, float_probabilities, 1);
    }
  }

  /// Whether the rows of one unit, of one or more heads, can have different scales.
  static bool scale_per_row(const AttentionOptions& options) {
    return options.query_scope == Scope::row ||
           (options.query_scope == Scope::head && options.heads > options.kv_heads);
  }

  const std::size_t packed_bytes;
  Matrix query, key, transposed_key, scores, float_scores, float_probabilities, probabilities;
  Matrix logit_scale, visible, row_sums;
  WeightedValues values;
  arm_compute::NETranspose transpose;
  arm_compute::NEGEMMLowpMatrixMultiplyCore query_key;
  arm_compute::NEIndexSoftmaxLayer index_softmax;
  arm_compute::NESoftmaxLayer softmax;
};

/// What is kept from run to run.
struct Kept {
  Plans<Plan> plans;
  AlignedBuffer memory;
};

struct Run : UnitRun {
  Run(const AttentionOptions& options, const Kernels& kernels, const WeightTable& table, Kept& kept,
      const AttentionArguments& arguments, Threads& threads, StageClock& clock)
      : UnitRun(options, arguments, kernels, threads, clock), table(table), kept(kept),
        integer(options.pipeline == Pipeline::integer) {}

  const WeightTable& table;
  Kept& kept;
  const bool integer;

  void attend(std::size_t unit, std::size_t first, std::size_t count, std::size_t keys, QuantizedOperands& operands,
              const Buffers& buffers) {
    std::uint64_t time = ticks();
    const std::size_t dim = problem.dim, row = first_row(unit) + first;
    Plan& plan = kept.plans.get(count, keys, [&] { return std::make_unique<Plan>(options, count, keys); });
    plan.key.bind(operands.key + first_key(unit) * dim);
    plan.transposed_key.bind(buffers.transposed_key);
    plan.query.bind(operands.query + row * dim);
    plan.scores.bind(buffers.scores);
    plan.transpose.run();
    time = clock.add(0, Stage::prepare, time);
    plan.query_key.run();
    time = clock.add(0, Stage::scores, time);
    record(unit, first, count, keys, buffers.scores, [](const Intermediates& to) { return to.scores; });
    if (integer)
      index_softmax(plan, unit, first, count, operands, buffers);
    else
      float_softmax(plan, unit, first, count, keys, operands, buffers);
    time = clock.add(0, Stage::softmax, time);
    if (integer)
      record(unit, first, count, keys, buffers.probabilities, [](const Intermediates& to) { return to.probabilities; });
    plan.values.run(buffers.probabilities, operands.value + first_key(unit) * dim, buffers.accumulators, threads);
    time = clock.add(0, Stage::values, time);
    store(unit, first, count, keys, operands, buffers);
    clock.add(0, Stage::output, time);
  }

  /// Section 2 of the numeric specification, positive and finite as IndexSoftmax wants it: scales beyond these bounds
  /// give the indices of the bounds.
  double logit_scale(std::size_t row, std::size_t unit, const QuantizedOperands& operands) const {
    const double key_scale = *operands.scales().scale(unit, key_tensor);
    return std::clamp(double(operands.query_scale(row)) * key_scale * problem.softmax_scale, DBL_MIN, DBL_MAX);
  }

  void index_softmax(Plan& plan, std::size_t unit, std::size_t first, std::size_t count,
                     const QuantizedOperands& operands, const Buffers& buffers) {
    const std::size_t row = first_row(unit) + first;
    for (std::size_t i = 0; i < (Plan::scale_per_row(options) ? count : 1); ++i)
      buffers.logit_scale[i] = logit_scale(row + i, unit, operands);
    for (std::size_t i = 0; i < count; ++i)
      buffers.visible[i] = std::uint32_t(visible(unit, first + i));
    plan.probabilities.bind(buffers.probabilities);
    plan.logit_scale.bind(buffers.logit_scale);
    plan.visible.bind(buffers.visible);
    plan.row_sums.bind(buffers.row_sums);
    plan.index_softmax.run();
  }

  void float_softmax(Plan& plan, std::size_t unit, std::size_t first, std::size_t count, std::size_t keys,
                     const QuantizedOperands& operands, const Buffers& buffers) {
    const std::size_t row = first_row(unit) + first;
    auto* scores = reinterpret_cast<float*>(buffers.scores);
    threads.for_parts(count, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        const std::size_t seen = visible(unit, first + i);
        // Any scale this large leaves nothing but the maximum; as a float it must not become infinite.
        dequantize_in_place(scores + i * keys, seen, float(std::min(logit_scale(row + i, unit, operands), 1e30)));
        std::fill(scores + i * keys + seen, scores + (i + 1) * keys, std::numeric_limits<float>::lowest());
      }
    });
    plan.float_scores.bind(scores);
    plan.float_probabilities.bind(buffers.softmax);
    plan.softmax.run();
    threads.for_parts(count * keys, 4096, [&](std::size_t begin, std::size_t end) {
      quantize_probabilities(buffers.softmax + begin, end - begin,
                             reinterpret_cast<std::int8_t*>(buffers.probabilities) + begin);
    });
  }

  /// Section 6 of the numeric specification.
  void store(std::size_t unit, std::size_t first, std::size_t count, std::size_t keys,
             const QuantizedOperands& operands, const Buffers& buffers) {
    const float* center = operands.scales().center(unit, value_tensor);
    const bool deferred = integer && options.normalization == Normalization::deferred;
    threads.for_parts(count, block_rows, [&](std::size_t begin, std::size_t end) {
      RunningMean mean(*this, unit);
      std::unique_ptr<float[]> scratch(new float[problem.dim]);
      for (std::size_t i = begin; i < end; ++i) {
        const std::size_t row = first_row(unit) + first + i, seen = visible(unit, first + i);
        const std::uint32_t weights = seen && integer ? buffers.row_sums[2 * i] : 0;
        const auto lost = std::int32_t(seen && integer ? buffers.row_sums[2 * i + 1] : 0);
        record_sums(row, weights, lost);
        if (seen == 0) {
          store_zeros(row, 1);
          continue;
        }
        OutputRow out = {operands.scales().scale(unit, value_tensor), center, nullptr, 1 / 127.0f, 0};
        if (integer)
          out.factor = deferred ? float(double(table.unit) / double(weights)) : 1 / 255.0f;
        // Only what the plane loses needs the mean of V, and nothing when that mean is the center.
        if (deferred && table.unit > 1 && !(center && seen == keys)) {
          out.offset = mean.minus(center, seen, out.scale);
          out.offset_factor = float(double(lost) / double(weights));
        }
        store_row(buffers.accumulators + i * problem.dim, out, row, scratch.get());
      }
    });
  }

  void store_row(const float* accumulators, const OutputRow& out, std::size_t row, float* scratch) {
    const bool half = arguments.output_type == ElementType::float16;
    float* x = half ? scratch : static_cast<float*>(output_row(row));
    scale_row(accumulators, problem.dim, out, x);
    const float limit = half ? float16_limit : std::numeric_limits<float>::infinity();
    if (kernels.rows.max_abs_bits(x, problem.dim) >= bits_of_float(limit))
      fail(Status::non_finite_value);
    if (half)
      kernels.rows.float_to_half(x, problem.dim, static_cast<std::uint16_t*>(output_row(row)));
  }

  /// Copies rows of keys into the wider rows of what is recorded.
  template <class Element, class Member>
  void record(std::size_t unit, std::size_t first, std::size_t count, std::size_t keys, const Element* from,
              const Member& member) const {
    Element* to = arguments.intermediates ? member(*arguments.intermediates) : nullptr;
    for (std::size_t i = 0; to && i < count; ++i)
      std::copy_n(from + i * keys, keys, to + (first_row(unit) + first + i) * problem.key_length);
  }

  void record_sums(std::size_t row, std::uint32_t weights, std::int32_t lost) const {
    const Intermediates* to = integer ? arguments.intermediates : nullptr;
    if (to && to->row_sum)
      to->row_sum[row] = weights;
    if (to && to->lost)
      to->lost[row] = lost;
  }

  Status execute() {
    std::uint64_t time = ticks();
    const std::size_t dim = problem.dim;
    const auto buffers_at = [&](unsigned char* base) {
      return Buffers(base, unit_rows, most_scores(), problem.key_length, dim, integer);
    };
    const std::size_t operand_bytes = QuantizedOperands(*this, nullptr).bytes();
    if (!kept.memory.reserve(operand_bytes + buffers_at(nullptr).bytes))
      return Status::out_of_memory;
    QuantizedOperands operands(*this, kept.memory.as());
    const Buffers buffers = buffers_at(kept.memory.as() + operand_bytes);
    operands.quantize();
    clock.add(0, Stage::prepare, time);
    kept.plans.make_room(different_lengths());
    for_units([&](std::size_t unit, std::size_t first, std::size_t count, std::size_t keys) {
      attend(unit, first, count, keys, operands, buffers);
    });
    if (!failed() && arguments.intermediates)
      operands.record(*arguments.intermediates);
    return status();
  }
};

class QuantizedSequence final : public Sequence {
public:
  QuantizedSequence(const AttentionOptions& options, const Kernels& kernels)
      : options_(options), kernels_(kernels), table_(make_weight_table(options.table, options.normalization)) {}

  Status run(const AttentionArguments& arguments, Threads& threads, StageClock& clock) override {
    return Run(options_, kernels_, table_, kept_, arguments, threads, clock).execute();
  }
  std::size_t memory_bytes() const override { return kept_.memory.size() + kept_.plans.memory_bytes(); }

private:
  const AttentionOptions& options_;
  const Kernels& kernels_;
  const WeightTable table_;
  Kept kept_;
};

} // namespace

std::unique_ptr<Sequence> make_quantized_sequence(const AttentionOptions& options, const Kernels& kernels) {
  return std::make_unique<QuantizedSequence>(options, kernels);
}

} // namespace intattn::compute_library
