#include "engines/compute_library/float_sequence.h"

#include <limits>
#include <memory>

#include "engines/compute_library/unit_run.h"

namespace intattn::compute_library {

using arm_compute::DataType;

/// Operators for `rows` query rows and `keys` keys.
struct FloatSequence::Plan {
  Plan(bool half, std::size_t rows, std::size_t keys, std::size_t dim, float beta)
      : packed_bytes(2 * keys * dim * (half ? 2 : 4)), query(storage(half), rows, dim), key(storage(half), keys, dim),
        value(storage(half), keys, dim), scores(storage(half), rows, keys), wide_scores(DataType::F32, rows, keys),
        wide_probabilities(DataType::F32, rows, keys), probabilities(storage(half), rows, keys),
        output(storage(half), rows, dim) {
    configure(query_key, query, key, true, scores);
    if (half) {
      configure(widen, scores, wide_scores);
      configure(softmax, wide_scores, wide_probabilities, beta);
      configure(narrow, wide_probabilities, probabilities);
    } else {
      configure(softmax, scores, probabilities, beta);
    }
    configure(probability_value, probabilities, value, false, output);
  }

  static DataType storage(bool half) { return half ? DataType::F16 : DataType::F32; }
  std::size_t memory_bytes() const { return packed_bytes; }

  const std::size_t packed_bytes;
  Matrix query, key, value, scores, wide_scores, wide_probabilities, probabilities, output;
  arm_compute::NEGEMM query_key, probability_value;
  arm_compute::NECast widen, narrow;
  arm_compute::NESoftmaxLayer softmax;
};

struct FloatSequence::Run : UnitRun {
  Run(FloatSequence& owner, const AttentionArguments& arguments, Threads& threads, StageClock& clock)
      : UnitRun(owner.options_, arguments, owner.kernels_, threads, clock), owner(owner),
        half(options.pipeline == Pipeline::fp16), storage(half ? ElementType::float16 : ElementType::float32),
        bytes(half ? 2 : 4), limit_bits(bits_of_float(half ? float16_limit : std::numeric_limits<float>::infinity())) {}

  using Scratch = std::unique_ptr<float[]>;

  FloatSequence& owner;
  const bool half;
  const ElementType storage;
  const std::size_t bytes; ///< of an element of Q, K, V, scores and P
  const std::uint32_t limit_bits;

  // Operands: the input itself, or converted.
  const unsigned char *query, *key, *value;
  unsigned char *converted_query, *converted_key, *converted_value;
  unsigned char *scores, *probabilities;   // [rows][keys], in the storage type
  float *wide_scores, *wide_probabilities; // fp16 only
  unsigned char* output;                   // [rows][dim] in the storage type, where the output is of the other

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
    output = layout.take<unsigned char>(arguments.output_type == storage ? 0 : unit_rows * dim * bytes);
    return layout.used();
  }

  /// Checks elements of an input, and converts them where the operators want another type.
  void load(const Input& input, std::size_t first, std::size_t count, unsigned char* converted, Status failed,
            Scratch& scratch) {
    const bool in_place = input.type == storage;
    float* widened = in_place || half ? scratch.get() : reinterpret_cast<float*>(converted) + first;
    const float* x = float_rows(kernels, input, first, count, widened);
    if (kernels.rows.max_abs_bits(x, count) >= limit_bits)
      fail(failed);
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
      Scratch scratch(new float[count * dim]);
      load(arguments.query, row * dim, count * dim, converted_query, Status::non_finite_query, scratch);
    });
    for_key_blocks([&](std::size_t unit, std::size_t key_row, std::size_t count) {
      Scratch scratch(new float[count * dim]);
      const std::size_t first = (first_key(unit) + key_row) * dim;
      load(arguments.key, first, count * dim, converted_key, Status::non_finite_key, scratch);
      load(arguments.value, first, count * dim, converted_value, Status::non_finite_value, scratch);
    });
  }

  void attend(std::size_t unit, std::size_t first, std::size_t count, std::size_t keys) {
    std::uint64_t time = ticks();
    const std::size_t dim = problem.dim, row = first_row(unit) + first, key_at = first_key(unit) * dim * bytes;
    Plan& plan = owner.plans_.get(
        count, keys, [&] { return std::make_unique<Plan>(half, count, keys, dim, float(softmax_scale())); });
    unsigned char* product = arguments.output_type == storage ? static_cast<unsigned char*>(output_row(row)) : output;
    plan.query.bind(query + row * dim * bytes);
    plan.key.bind(key + key_at);
    plan.value.bind(value + key_at);
    plan.scores.bind(scores);
    plan.probabilities.bind(probabilities);
    plan.output.bind(product);
    if (half) {
      plan.wide_scores.bind(wide_scores);
      plan.wide_probabilities.bind(wide_probabilities);
    }
    time = clock.add(0, Stage::prepare, time);
    plan.query_key.run();
    time = clock.add(0, Stage::scores, time);

    if (half)
      plan.widen.run();
    hide_masked(half ? wide_scores : reinterpret_cast<float*>(scores), unit, first, count, keys);
    plan.softmax.run();
    if (half)
      plan.narrow.run();
    time = clock.add(0, Stage::softmax, time);

    plan.probability_value.run();
    time = clock.add(0, Stage::values, time);
    finish(unit, first, count, keys, product);
    clock.add(0, Stage::output, time);
  }

  void hide_masked(float* matrix, std::size_t unit, std::size_t first, std::size_t count, std::size_t keys) {
    if (!problem.causal)
      return;
    threads.for_parts(count, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t row = begin; row < end; ++row) {
        const std::size_t seen = visible(unit, first + row);
        std::fill(matrix + row * keys + seen, matrix + (row + 1) * keys, std::numeric_limits<float>::lowest());
      }
    });
  }

  /// Rows that see no key become zeros, the others are checked, and converted where the output is of another type.
  void finish(std::size_t unit, std::size_t first, std::size_t count, std::size_t keys, unsigned char* product) {
    const std::size_t dim = problem.dim;
    threads.for_parts(count, 1, [&](std::size_t begin, std::size_t end) {
      Scratch scratch(new float[dim]);
      for (std::size_t i = begin; i < end; ++i) {
        const std::size_t row = first_row(unit) + first + i;
        if (visible(unit, first + i) == 0) {
          store_zeros(row, 1);
          continue;
        }
        unsigned char* at = product + i * dim * bytes;
        const bool same = arguments.output_type == storage;
        const auto* x = reinterpret_cast<const float*>(at);
        if (half) {
          float* widened = same ? scratch.get() : static_cast<float*>(output_row(row));
          kernels.rows.half_to_float(reinterpret_cast<const std::uint16_t*>(at), dim, widened);
          x = widened;
        } else if (!same) {
          kernels.rows.float_to_half(x, dim, static_cast<std::uint16_t*>(output_row(row)));
        }
        const float limit =
            arguments.output_type == ElementType::float16 ? float16_limit : std::numeric_limits<float>::infinity();
        if (kernels.rows.max_abs_bits(x, dim) >= bits_of_float(limit))
          fail(overflowed(i, keys));
      }
    });
  }

  /// Which of the two products left the range: scores that did have no softmax.
  Status overflowed(std::size_t row, std::size_t keys) {
    Input rows;
    rows.type = storage;
    rows.data = probabilities;
    Scratch scratch(new float[keys]);
    const float* p = float_rows(kernels, rows, row * keys, keys, scratch.get());
    return kernels.rows.max_abs_bits(p, keys) >= infinity_bits ? Status::non_finite_query : Status::non_finite_value;
  }

  Status execute() {
    std::uint64_t time = ticks();
    if (!owner.memory_.reserve(place(nullptr)))
      return Status::out_of_memory;
    place(owner.memory_.as());
    prepare();
    clock.add(0, Stage::prepare, time);
    for (std::size_t unit = 0; unit < problem.units() && !failed(); ++unit) {
      const std::size_t keys = problem.keys_of_unit(unit);
      if (keys == 0) {
        store_zeros(first_row(unit), unit_rows);
        continue;
      }
      const std::size_t step = rows_at_a_time(keys);
      for (std::size_t first = 0; first < unit_rows && !failed(); first += step)
        attend(unit, first, std::min(step, unit_rows - first), keys);
    }
    return status();
  }
};

FloatSequence::FloatSequence(const AttentionOptions& options, const Kernels& kernels)
    : options_(options), kernels_(kernels) {}
FloatSequence::~FloatSequence() = default;

Status FloatSequence::run(const AttentionArguments& arguments, Threads& threads, StageClock& clock) {
  return Run(*this, arguments, threads, clock).execute();
}

std::size_t FloatSequence::memory_bytes() const { return memory_.size() + plans_.memory_bytes(); }

} // namespace intattn::compute_library
