#include <limits>
#include <memory>

#include "engines/compute_library/float_values.h"
#include "engines/compute_library/plans.h"
#include "engines/compute_library/sequence.h"
#include "engines/compute_library/unit_run.h"

namespace intattn::compute_library {
namespace {

using arm_compute::DataType;

/// Operators for `rows` query rows and `keys` keys.
struct Plan {
  Plan(bool half, std::size_t rows, std::size_t keys, std::size_t dim, float beta)
      : packed_bytes(2 * keys * dim * (half ? 2 : 4)), query(storage(half), rows, dim), key(storage(half), keys, dim),
        scores(storage(half), rows, keys), wide_scores(DataType::F32, rows, keys),
        wide_probabilities(DataType::F32, rows, keys), probabilities(storage(half), rows, keys),
        values(half, rows, keys, dim) {
    configure(query_key, query, key, scores, true);
    if (half) {
      configure(widen, scores, wide_scores);
      configure(softmax, wide_scores, wide_probabilities, beta);
      configure(narrow, wide_probabilities, probabilities);
    } else {
      configure(softmax, scores, probabilities, beta);
    }
  }

  static DataType storage(bool half) { return half ? DataType::F16 : DataType::F32; }

  const std::size_t packed_bytes;
  Matrix query, key, scores, wide_scores, wide_probabilities, probabilities;
  FloatValues values;
  arm_compute::NEGEMM query_key;
  arm_compute::NECast widen, narrow;
  arm_compute::NESoftmaxLayer softmax;
};

/// What is kept from run to run.
struct Kept {
  Plans<Plan> plans;
  AlignedBuffer memory;
};

struct Run : UnitRun {
  Run(const AttentionOptions& options, const Kernels& kernels, Kept& kept, const AttentionArguments& arguments,
      Threads& threads, StageClock& clock)
      : UnitRun(options, arguments, kernels, threads, clock), kept(kept), half(options.pipeline == Pipeline::fp16),
        storage(half ? ElementType::float16 : ElementType::float32), bytes(half ? 2 : 4),
        limit_bits(bits_of_float(limit_of(storage))) {}

  using Scratch = std::unique_ptr<float[]>;

  Kept& kept;
  const bool half;
  const ElementType storage;
  const std::size_t bytes; ///< of an element of Q, K, V, scores and P
  const std::uint32_t limit_bits;

  // Operands: the input itself, or converted.
  const unsigned char *query, *key, *value;
  unsigned char *converted_query, *converted_key, *converted_value;
  unsigned char *scores, *probabilities;   // [rows][keys], in the storage type
  float *wide_scores, *wide_probabilities; // fp16 only
  unsigned char* product;                  // [rows][dim] in the storage type, where the output cannot take it
  float* sums;                             // [rows][dim], of blocks of keys, where the output cannot take them

  static float limit_of(ElementType type) {
    return type == ElementType::float16 ? float16_limit : std::numeric_limits<float>::infinity();
  }

  std::size_t place(unsigned char* base) {
    Layout layout(base);
    const std::size_t dim = problem.dim, most = most_scores();
    const auto convert = [&](const Input& input, std::size_t elements) {
      return layout.take<unsigned char>(input.type == storage ? 0 : elements * bytes);
    };
    converted_query = convert(arguments.query, problem.units() * unit_rows * dim);
    converted_key = convert(arguments.key, problem.units() * problem.key_length * dim);
    converted_value = convert(arguments.value, problem.units() * problem.key_length * dim);
    scores = layout.take<unsigned char>(most * bytes);
    wide_scores = layout.take<float>(half ? most : 0);
    wide_probabilities = layout.take<float>(half ? most : 0);
    probabilities = half ? scores : layout.take<unsigned char>(most * bytes);
    const bool in_blocks = FloatValues::in_blocks(half, problem.key_length);
    product = layout.take<unsigned char>(arguments.output_type == storage && !in_blocks ? 0 : unit_rows * dim * bytes);
    sums = layout.take<float>(arguments.output_type == ElementType::float32 || !in_blocks ? 0 : unit_rows * dim);
    return layout.used();
  }

  /// Checks elements of an input, and converts them where the operators want another type.
  void load(const Input& input, std::size_t first, std::size_t count, unsigned char* converted, Status bad) {
    const bool in_place = input.type == storage;
    const Scratch scratch(half && in_place ? new float[count] : nullptr);
    float* widened = half || in_place ? scratch.get() : reinterpret_cast<float*>(converted) + first;
    const float* x = float_rows(kernels, input, first, count, widened);
    if (kernels.rows.max_abs_bits(x, count) >= limit_bits)
      fail(bad);
    if (half && !in_place)
      kernels.rows.float_to_half(x, count, reinterpret_cast<std::uint16_t*>(converted) + first);
  }

  void prepare() {
    const auto operand = [&](const Input& input, const unsigned char* converted) {
      return input.type == storage ? static_cast<const unsigned char*>(input.data) : converted;
    };
    query = operand(arguments.query, converted_query);
    key = operand(arguments.key, converted_key);
    value = operand(arguments.value, converted_value);
    const std::size_t dim = problem.dim;
    for_query_blocks([&](std::size_t row, std::size_t count) {
      load(arguments.query, row * dim, count * dim, converted_query, Status::non_finite_query);
    });
    for_key_blocks([&](std::size_t unit, std::size_t key_row, std::size_t count) {
      const std::size_t first = (first_key(unit) + key_row) * dim;
      load(arguments.key, first, count * dim, converted_key, Status::non_finite_key);
      load(arguments.value, first, count * dim, converted_value, Status::non_finite_value);
    });
  }

  /// The softmax multiplies differences of scores by this: 0 and infinity would make NaN of the masked and the largest.
  float beta() const {
    using Float = std::numeric_limits<float>;
    return float(std::clamp<double>(problem.softmax_scale, Float::denorm_min(), Float::max()));
  }

  void attend(std::size_t unit, std::size_t first, std::size_t count, std::size_t keys) {
    std::uint64_t time = ticks();
    const std::size_t dim = problem.dim, row = first_row(unit) + first, key_at = first_key(unit) * dim * bytes;
    Plan& plan = kept.plans.get(count, keys, [&] { return std::make_unique<Plan>(half, count, keys, dim, beta()); });
    plan.query.bind(query + row * dim * bytes);
    plan.key.bind(key + key_at);
    plan.scores.bind(scores);
    plan.probabilities.bind(probabilities);
    if (half) {
      plan.wide_scores.bind(wide_scores);
      plan.wide_probabilities.bind(wide_probabilities);
    }
    time = clock.add(0, Stage::prepare, time);
    plan.query_key.run();
    time = clock.add(0, Stage::scores, time);

    if (half)
      plan.widen.run();
    mask_scores(half ? wide_scores : reinterpret_cast<float*>(scores), unit, first, count, keys);
    plan.softmax.run();
    if (half)
      plan.narrow.run();
    time = clock.add(0, Stage::softmax, time);

    const bool in_blocks = FloatValues::in_blocks(half, keys);
    auto* out = static_cast<unsigned char*>(output_row(row));
    unsigned char* products = arguments.output_type == storage && !in_blocks ? out : product;
    float* totals = arguments.output_type == ElementType::float32 ? reinterpret_cast<float*>(out) : sums;
    plan.values.run(probabilities, value + key_at, products, totals, threads);
    time = clock.add(0, Stage::values, time);

    Input accumulators;
    accumulators.type = in_blocks ? ElementType::float32 : storage;
    accumulators.data = in_blocks ? reinterpret_cast<const unsigned char*>(totals) : products;
    finish(unit, first, count, accumulators);
    clock.add(0, Stage::output, time);
  }

  /// Scores of keys that a row does not see become -infinity; those that it sees must be finite.
  void mask_scores(float* matrix, std::size_t unit, std::size_t first, std::size_t count, std::size_t keys) {
    threads.for_parts(count, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t row = begin; row < end; ++row) {
        float* seen_end = matrix + row * keys + visible(unit, first + row);
        if (kernels.rows.max_abs_bits(matrix + row * keys, visible(unit, first + row)) >= infinity_bits)
          fail(Status::non_finite_query);
        std::fill(seen_end, matrix + (row + 1) * keys, -std::numeric_limits<float>::infinity());
      }
    });
  }

  /// Rows that see no key become zeros, the others are converted where the output is of another type, and checked.
  void finish(std::size_t unit, std::size_t first, std::size_t count, const Input& accumulators) {
    const std::size_t dim = problem.dim;
    const bool to_half = arguments.output_type == ElementType::float16;
    const std::uint32_t output_limit = bits_of_float(limit_of(arguments.output_type));
    threads.for_parts(count, 1, [&](std::size_t begin, std::size_t end) {
      const Scratch scratch(to_half && accumulators.type == ElementType::float16 ? new float[dim] : nullptr);
      for (std::size_t i = begin; i < end; ++i) {
        const std::size_t row = first_row(unit) + first + i;
        if (visible(unit, first + i) == 0) {
          store_zeros(row, 1);
          continue;
        }
        float* widened = to_half ? scratch.get() : static_cast<float*>(output_row(row));
        const float* x = float_rows(kernels, accumulators, i * dim, dim, widened);
        if (kernels.rows.max_abs_bits(x, dim) >= output_limit)
          fail(Status::non_finite_value);
        if (to_half && accumulators.type == ElementType::float32)
          kernels.rows.float_to_half(x, dim, static_cast<std::uint16_t*>(output_row(row)));
      }
    });
  }

  Status execute() {
    std::uint64_t time = ticks();
    if (!kept.memory.reserve(place(nullptr)))
      return Status::out_of_memory;
    place(kept.memory.as());
    prepare();
    clock.add(0, Stage::prepare, time);
    kept.plans.make_room(different_lengths());
    for_units([&](std::size_t unit, std::size_t first, std::size_t count, std::size_t keys) {
      attend(unit, first, count, keys);
    });
    return status();
  }
};

class FloatSequence final : public Sequence {
public:
  FloatSequence(const AttentionOptions& options, const Kernels& kernels) : options_(options), kernels_(kernels) {}

  Status run(const AttentionArguments& arguments, Threads& threads, StageClock& clock) override {
    return Run(options_, kernels_, kept_, arguments, threads, clock).execute();
  }
  std::size_t memory_bytes() const override { return kept_.memory.size() + kept_.plans.memory_bytes(); }

private:
  const AttentionOptions& options_;
  const Kernels& kernels_;
  Kept kept_;
};

} // namespace

std::unique_ptr<Sequence> make_float_sequence(const AttentionOptions& options, const Kernels& kernels) {
  return std::make_unique<FloatSequence>(options, kernels);
}

} // namespace intattn::compute_library
