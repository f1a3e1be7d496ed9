#include "intattn/attention.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <thread>

#include "random.h"

namespace intattn::test {
namespace {

/// Inputs and outputs of one problem.
struct Problem {
  AttentionOptions options;
  AttentionArguments arguments;
  std::vector<float> query, key, value;
  std::vector<std::uint32_t> key_lengths;
  // Of pipelines in floats; each may be empty.
  std::vector<float> slopes, sinks, bias;
  std::vector<std::int64_t> query_starts;
  std::vector<std::uint8_t> mask;
  ElementType types[3] = {ElementType::float32, ElementType::float32, ElementType::float32};

  std::size_t query_size() const { return arguments.batch * options.heads * arguments.query_length * options.head_dim; }
  std::size_t keys() const { return arguments.batch * options.kv_heads * arguments.key_length; }
  std::size_t key_size() const { return keys() * options.head_dim; }
  std::size_t value_size() const { return keys() * value_dim(); }
  std::size_t value_dim() const { return options.value_dim ? options.value_dim : options.head_dim; }
  std::size_t output_size() const { return query_size() / options.head_dim * value_dim(); }

  /// What is added to a logit; -infinity where the key is hidden.
  double addend(bool padded, std::size_t b, std::size_t h, std::size_t q, std::size_t k) const {
    const AttentionArguments& a = arguments;
    const auto start =
        query_starts.empty() ? std::int64_t(a.key_length) - std::int64_t(a.query_length) : query_starts[b];
    const std::int64_t position = start + std::int64_t(q), key = std::int64_t(k);
    const bool out_of_window =
        options.window && key <= position - std::int64_t(options.window) && key >= std::int64_t(options.keep_first);
    if ((padded && k >= key_lengths[b]) || (options.causal && key > position) || out_of_window ||
        (!mask.empty() && !mask[(b * a.query_length + q) * a.key_length + k]))
      return -INFINITY;
    return (slopes.empty() ? 0 : double(slopes[h]) * double(key - position)) +
           (bias.empty() ? 0 : double(bias[h * a.key_length + k]));
  }
};

/// One input in exactly as much memory as it takes, as the type asked for. Values that are to be int8 are small
/// integers.
class StoredInput {
public:
  StoredInput(const std::vector<float>& values, ElementType type) : scale_(values.size(), 0.03f) {
    input_.type = type;
    input_.scale = scale_.data();
    if (type == ElementType::float32) {
      floats_ = values;
      input_.data = floats_.data();
    } else if (type == ElementType::float16) {
      for (const float x : values)
        halves_.push_back(to_half(x));
      input_.data = halves_.data();
    } else {
      for (const float x : values)
        bytes_.push_back(std::int8_t(std::clamp(std::nearbyint(x * 40), -128.0f, 127.0f)));
      input_.data = bytes_.data();
    }
  }
  const Input& input() const { return input_; }

private:
  /// Truncates: any finite float16 near the value will do.
  static std::uint16_t to_half(float x) {
    int exponent;
    const float mantissa = std::frexp(std::abs(x), &exponent);
    const int biased = exponent + 14;
    const std::uint16_t sign = x < 0 ? 0x8000 : 0;
    if (biased <= 0 || x == 0)
      return sign;
    return std::uint16_t(sign | (biased << 10) | (int(mantissa * 2048) & 0x3ff));
  }

  Input input_;
  std::vector<float> floats_, scale_;
  std::vector<std::uint16_t> halves_;
  std::vector<std::int8_t> bytes_;
};

Problem random_problem(std::uint32_t seed) {
  Random random(seed);
  Problem p;
  AttentionOptions& o = p.options;
  o.pipeline = random.one_of({Pipeline::fp32, Pipeline::fp16, Pipeline::int8, Pipeline::integer, Pipeline::integer});
  o.kv_heads = std::uint32_t(random.between(1, 2));
  o.heads = o.kv_heads * std::uint32_t(random.between(1, 3));
  o.head_dim = std::uint32_t(random.one_of<std::size_t>({1, 3, 8, 13, 16, 31, 40, 64, 80, 100, 128, 257, 640, 1024}));
  o.value_dim = random.coin() ? o.head_dim : std::uint32_t(random.one_of<std::size_t>({1, 7, 16, 33, 64, 130}));
  o.causal = random.coin();
  o.table.table = random.one_of({Table::natural, Table::exp2});
  o.table.lut_bits = int(random.between(4, 6));
  o.normalization = random.one_of({Normalization::integer, Normalization::deferred});
  o.query_scope = random.one_of({Scope::tensor, Scope::head, Scope::row});
  o.key_scope = random.one_of({Scope::tensor, Scope::head});
  o.value_scope = random.one_of({Scope::tensor, Scope::head, Scope::channel});
  o.smooth_key = random.coin();
  o.center_value = random.coin();
  AttentionArguments& a = p.arguments;
  a.batch = random.between(1, 2);
  a.query_length = random.between(1, 70);
  a.key_length = random.between(1, 300);
  p.query = random.normals(p.query_size());
  p.key = random.normals(p.key_size());
  p.value = random.normals(p.value_size());
  for (ElementType& type : p.types)
    type = o.pipeline == Pipeline::fp32 || o.pipeline == Pipeline::fp16
               ? random.one_of({ElementType::float32, ElementType::float16})
               : random.one_of({ElementType::float32, ElementType::float16, ElementType::int8});
  for (std::size_t b = 0; b < a.batch; ++b)
    p.key_lengths.push_back(std::uint32_t(random.between(0, a.key_length)));
  return p;
}

struct Result {
  Status status;
  std::vector<float> output;
  std::vector<std::int8_t> query, key, value;
  std::vector<std::int32_t> scores, lost;
  std::vector<std::uint8_t> probabilities;
  std::vector<std::uint32_t> row_sum;
};

Result run(const Problem& p, InstructionSet isa, unsigned threads, bool padded) {
  AttentionOptions options = p.options;
  options.isa = isa;
  options.threads = threads;
  AttentionArguments a = p.arguments;
  const std::size_t rows = a.batch * options.heads * a.query_length;
  Result r;
  r.output.assign(p.output_size(), NAN);
  r.query.resize(p.query_size());
  r.key.resize(p.key_size());
  r.value.resize(p.value_size());
  r.scores.resize(rows * a.key_length);
  r.probabilities.resize(rows * a.key_length);
  r.row_sum.resize(rows);
  r.lost.resize(rows);
  Intermediates inside;
  inside.query = r.query.data();
  inside.key = r.key.data();
  inside.value = r.value.data();
  inside.scores = r.scores.data();
  inside.probabilities = r.probabilities.data();
  inside.row_sum = r.row_sum.data();
  inside.lost = r.lost.data();
  const StoredInput query(p.query, p.types[0]), key(p.key, p.types[1]), value(p.value, p.types[2]);
  a.query = query.input();
  a.key = key.input();
  a.value = value.input();
  a.key_lengths = padded ? p.key_lengths.data() : nullptr;
  a.query_starts = p.query_starts.empty() ? nullptr : p.query_starts.data();
  if (!p.mask.empty())
    a.mask = {p.mask.data(), std::ptrdiff_t(a.query_length * a.key_length), 0, std::ptrdiff_t(a.key_length)};
  if (!p.bias.empty())
    a.bias = {p.bias.data(), 0, std::ptrdiff_t(a.key_length), 0};
  options.slopes = p.slopes.empty() ? nullptr : p.slopes.data();
  options.sinks = p.sinks.empty() ? nullptr : p.sinks.data();
  a.output = r.output.data();
  a.intermediates = &inside;
  r.status = Attention(options).run(a, nullptr);
  return r;
}

std::vector<double> exact_attention(const Problem& p, bool padded) {
  const AttentionOptions& o = p.options;
  const AttentionArguments& a = p.arguments;
  const std::size_t dim = o.head_dim, value_dim = p.value_dim();
  std::vector<double> output(p.output_size(), 0), weight(a.key_length);
  for (std::size_t b = 0; b < a.batch; ++b)
    for (std::size_t h = 0; h < o.heads; ++h)
      for (std::size_t q = 0; q < a.query_length; ++q) {
        const std::size_t row = (b * o.heads + h) * a.query_length + q;
        const std::size_t first_key = (b * o.kv_heads + h / (o.heads / o.kv_heads)) * a.key_length;
        const double sink = p.sinks.empty() ? -INFINITY : double(p.sinks[h]);
        double most = sink, sum = 0;
        bool sees = false;
        for (std::size_t k = 0; k < a.key_length; ++k) {
          double dot = 0;
          for (std::size_t c = 0; c < dim; ++c)
            dot += double(p.query[row * dim + c]) * double(p.key[(first_key + k) * dim + c]);
          weight[k] = dot / std::sqrt(double(dim)) + p.addend(padded, b, h, q, k);
          most = std::max(most, weight[k]);
          sees = sees || weight[k] > -INFINITY;
        }
        if (!sees)
          continue;
        for (double& w : weight)
          sum += w = std::exp(w - most);
        sum += std::exp(sink - most);
        for (std::size_t k = 0; k < a.key_length; ++k)
          for (std::size_t c = 0; c < value_dim; ++c)
            output[row * value_dim + c] += weight[k] / sum * double(p.value[(first_key + k) * value_dim + c]);
      }
  return output;
}

double largest(const std::vector<float>& values) {
  double most = 0;
  for (const float x : values)
    most = std::max(most, std::abs(double(x)));
  return most;
}

template <class A, class B> double largest_difference(const std::vector<A>& a, const std::vector<B>& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    most = std::isfinite(double(a[i])) ? std::max(most, std::abs(double(a[i]) - double(b[i]))) : INFINITY;
  return most;
}

TEST(Attention, EveryInstructionSetAndThreadCountGivesTheIntegersOfScalar) {
  for (std::uint32_t seed = 0; seed < share_of(150); ++seed) {
    const Problem p = random_problem(seed);
    const bool padded = seed % 2;
    const Result expected = run(p, InstructionSet::scalar, 1, padded);
    ASSERT_EQ(expected.status, Status::ok);
    // The int8 pipeline's softmax is floating point: its probabilities may round apart by one.
    const double tolerance = p.options.pipeline == Pipeline::int8 || p.options.pipeline == Pipeline::fp16 ? 0.02 : 1e-5;
    for (const InstructionSet isa : vector_instruction_sets()) {
      const Result one = run(p, isa, 1, padded);
      EXPECT_EQ(one.status, Status::ok);
      EXPECT_TRUE(one.query == expected.query && one.key == expected.key && one.value == expected.value &&
                  one.scores == expected.scores && one.probabilities == expected.probabilities &&
                  one.row_sum == expected.row_sum && one.lost == expected.lost)
          << name_of(isa) << ", seed " << seed;
      EXPECT_LE(largest_difference(one.output, expected.output), tolerance * std::max(largest(expected.output), 1e-3))
          << name_of(isa) << ", seed " << seed;
      const Result three = run(p, isa, 3, padded);
      EXPECT_TRUE(three.output == one.output && three.probabilities == one.probabilities)
          << name_of(isa) << ", seed " << seed;
    }
  }
}

TEST(Attention, FloatPipelinesFollowFloat64) {
  std::vector<InstructionSet> sets = vector_instruction_sets();
  sets.push_back(InstructionSet::scalar);
  for (std::uint32_t seed = 1000; seed < 1000 + share_of(40); ++seed)
    for (const Pipeline pipeline : {Pipeline::fp32, Pipeline::fp16}) {
      Problem p = random_problem(seed);
      p.options.pipeline = pipeline;
      std::fill_n(p.types, 3, ElementType::float32);
      const std::vector<double> exact = exact_attention(p, true);
      for (const InstructionSet isa : sets) {
        const Result r = run(p, isa, 2, true);
        EXPECT_LE(largest_difference(r.output, exact), pipeline == Pipeline::fp32 ? 5e-6 : 1e-2)
            << name_of(isa) << ", seed " << seed;
      }
    }
}

TEST(Attention, FloatPipelinesTakeEveryMaskAndValueDim) {
  std::vector<InstructionSet> sets = vector_instruction_sets();
  sets.push_back(InstructionSet::scalar);
  for (std::uint32_t seed = 2000; seed < 2000 + share_of(60); ++seed) {
    Random random(seed);
    Problem p = random_problem(seed);
    AttentionArguments& a = p.arguments;
    p.options.pipeline = random.one_of({Pipeline::fp32, Pipeline::fp16});
    std::fill_n(p.types, 3, ElementType::float32);
    p.options.value_dim = std::uint32_t(random.between(1, 70));
    p.value = random.normals(p.value_size());
    if (random.coin()) {
      p.options.window = random.between(1, 90);
      p.options.keep_first = random.between(0, 5);
    }
    if (random.coin())
      p.sinks = random.normals(p.options.heads);
    for (std::size_t h = 0; h < p.options.heads && seed % 3; ++h)
      p.slopes.push_back(std::ldexp(1.0f, -int(random.between(1, 8))));
    for (std::size_t b = 0; b < a.batch && seed % 2; ++b)
      p.query_starts.push_back(std::int64_t(random.between(0, a.key_length + 3)) - 3);
    if (random.coin())
      p.bias = random.normals(p.options.heads * a.key_length);
    for (std::size_t i = 0; i < a.batch * a.query_length * a.key_length && seed % 5; ++i)
      p.mask.push_back(random.between(0, 3) > 0);
    const std::vector<double> exact = exact_attention(p, true);
    for (const InstructionSet isa : sets) {
      const Result r = run(p, isa, 2, true);
      EXPECT_EQ(r.status, Status::ok);
      EXPECT_LE(largest_difference(r.output, exact), p.options.pipeline == Pipeline::fp32 ? 1e-5 : 2e-2)
          << name_of(isa) << ", seed " << seed;
    }
  }
}

TEST(Attention, AccumulatesBeyond66311KeysExactly) {
  Problem p;
  p.options.head_dim = 5;
  p.options.table.table = Table::natural;
  p.options.query_scope = p.options.key_scope = p.options.value_scope = Scope::tensor;
  p.options.smooth_key = p.options.center_value = false;
  p.arguments.batch = 1;
  p.arguments.query_length = 2;
  p.arguments.key_length = 140000;
  p.query.assign(p.query_size(), 1);
  p.key.assign(p.key_size(), 1);
  p.value.assign(p.key_size(), 3); // 255 * 127 * 140000 is far beyond 2^31
  std::vector<InstructionSet> sets = vector_instruction_sets();
  sets.push_back(InstructionSet::scalar);
  for (const InstructionSet isa : sets) {
    AttentionOptions options = p.options;
    options.isa = isa;
    std::vector<float> output(p.query_size());
    AttentionArguments a = p.arguments;
    a.query.data = p.query.data();
    a.key.data = p.key.data();
    a.value.data = p.value.data();
    a.output = output.data();
    ASSERT_EQ(Attention(options).run(a, nullptr), Status::ok);
    for (const float x : output)
      EXPECT_NEAR(x, 3, 1e-5) << name_of(isa);
  }
}

/// Strips, whose rows the number of threads decides, have rows on both sides of what an int32 accumulator holds.
TEST(Attention, RowsOfOneStripSumLikeThoseOfOthersAtAnyLength) {
  Problem p;
  p.options.head_dim = 4;
  p.options.causal = true;
  p.arguments.batch = 1;
  p.arguments.query_length = 14;
  p.arguments.key_length = 65537;
  Random random(11);
  const std::vector<float> values = random.normals(4099); // again and again: drawing takes long on an emulated CPU
  const auto fill = [&](std::vector<float>& tensor, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
      tensor.push_back(values[(i + size) % values.size()]);
  };
  fill(p.query, p.query_size());
  fill(p.key, p.key_size());
  fill(p.value, p.key_size());
  std::vector<InstructionSet> sets = vector_instruction_sets();
  sets.push_back(InstructionSet::scalar);
  for (const InstructionSet isa : sets) {
    std::vector<float> expected;
    for (const unsigned threads : {1u, 2u, 3u}) {
      AttentionOptions options = p.options;
      options.isa = isa;
      options.threads = threads;
      std::vector<float> output(p.query_size());
      AttentionArguments a = p.arguments;
      a.query.data = p.query.data();
      a.key.data = p.key.data();
      a.value.data = p.value.data();
      a.output = output.data();
      ASSERT_EQ(Attention(options).run(a, nullptr), Status::ok);
      if (threads == 1)
        expected = output;
      EXPECT_EQ(output, expected) << name_of(isa) << ", " << threads << " threads";
    }
  }
}

TEST(Attention, OutputOfFloat16IsTheFloat32OutputRounded) {
  for (std::uint32_t seed = 0; seed < share_of(40); ++seed) {
    const Problem p = random_problem(seed);
    const std::vector<float> expected = run(p, best_instruction_set(), 1, false).output;
    AttentionOptions options = p.options;
    options.isa = best_instruction_set();
    AttentionArguments a = p.arguments;
    const StoredInput query(p.query, p.types[0]), key(p.key, p.types[1]), value(p.value, p.types[2]);
    a.query = query.input();
    a.key = key.input();
    a.value = value.input();
    std::vector<std::uint16_t> output(expected.size());
    a.output = output.data();
    a.output_type = ElementType::float16;
    ASSERT_EQ(Attention(options).run(a, nullptr), Status::ok);
    for (std::size_t i = 0; i < output.size(); ++i) {
      const double magnitude = std::ldexp(1.0 + (output[i] & 0x3ff) / 1024.0, (output[i] >> 10 & 31) - 15);
      const double value = (output[i] >> 10 & 31) ? magnitude : std::ldexp((output[i] & 0x3ff) / 1024.0, -14);
      EXPECT_NEAR(output[i] & 0x8000 ? -value : value, expected[i], std::abs(expected[i]) * 0x1p-11 + 0x1p-25) << seed;
    }
  }
}

TEST(Attention, OutputThatOverflowsIsTold) {
  for (const Pipeline pipeline : {Pipeline::fp32, Pipeline::int8, Pipeline::integer}) {
    AttentionOptions options;
    options.pipeline = pipeline;
    options.head_dim = 3;
    options.isa = best_instruction_set();
    const std::vector<float> x(3 * 8, 1.0f), v(3 * 8, 7e4f);
    std::vector<std::uint16_t> output(3 * 8);
    AttentionArguments a;
    a.batch = 1;
    a.query_length = a.key_length = 8;
    a.query.data = a.key.data = x.data();
    a.value.data = v.data();
    a.output = output.data();
    a.output_type = ElementType::float16;
    EXPECT_EQ(Attention(options).run(a, nullptr), Status::non_finite_value);
  }
}

TEST(Attention, ScoresBelowMinus3e38StillHaveASoftmax) {
  std::vector<InstructionSet> sets = vector_instruction_sets();
  sets.push_back(InstructionSet::scalar);
  for (const InstructionSet isa : sets) {
    AttentionOptions options;
    options.pipeline = Pipeline::fp32;
    options.head_dim = 1;
    options.softmax_scale = 1;
    options.isa = isa;
    const std::vector<float> q = {1.8e19f}, k(4, -1.8e19f), v(4, 1.0f);
    float output = 0;
    AttentionArguments a;
    a.batch = a.query_length = 1;
    a.key_length = 4;
    a.query.data = q.data();
    a.key.data = k.data();
    a.value.data = v.data();
    a.output = &output;
    EXPECT_EQ(Attention(options).run(a, nullptr), Status::ok);
    EXPECT_EQ(output, 1) << name_of(isa);
  }
}

TEST(Attention, SmallValuesKeepTheirPrecision) {
  AttentionOptions options;
  options.head_dim = 2;
  options.center_value = false;
  options.isa = best_instruction_set();
  const std::vector<float> x(2 * 4096, 1.0f), v(2 * 4096, 1e-35f);
  std::vector<float> output(x.size());
  AttentionArguments a;
  a.batch = 1;
  a.query_length = a.key_length = 4096;
  a.query.data = a.key.data = x.data();
  a.value.data = v.data();
  a.output = output.data();
  ASSERT_EQ(Attention(options).run(a, nullptr), Status::ok);
  for (const float y : output)
    ASSERT_NEAR(y, 1e-35, 1e-40);
}

TEST(Attention, ObjectsRunSideBySide) {
  const Problem p = random_problem(7);
  const Result expected = run(p, best_instruction_set(), 2, true);
  std::vector<std::thread> threads;
  std::vector<int> same(4, 0);
  for (std::size_t i = 0; i < same.size(); ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5; ++round)
        same[i] += run(p, best_instruction_set(), 2, true).output == expected.output;
    });
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(same, std::vector<int>(4, 5));
}

TEST(Attention, OneObjectTakesProblemsOfAnySizeInAnyOrder) {
  AttentionOptions options;
  options.head_dim = 24;
  options.threads = 2;
  options.isa = best_instruction_set();
  Attention attention(options);
  Random random(3);
  for (const std::size_t length : {5, 300, 17, 1, 129, 300}) {
    const std::vector<float> x = random.normals(length * options.head_dim);
    std::vector<float> output(x.size()), fresh(x.size());
    AttentionArguments a;
    a.batch = 1;
    a.query_length = a.key_length = length;
    a.query.data = a.key.data = a.value.data = x.data();
    a.output = output.data();
    StageTimes times;
    ASSERT_EQ(attention.run(a, &times), Status::ok);
    EXPECT_GE(times.total, times.scores + times.softmax);
    a.output = fresh.data();
    ASSERT_EQ(Attention(options).run(a, nullptr), Status::ok);
    EXPECT_EQ(output, fresh);
  }
}

TEST(Attention, TellsWhichInputIsNotFinite) {
  for (const Pipeline pipeline : {Pipeline::fp32, Pipeline::fp16, Pipeline::int8, Pipeline::integer})
    for (const Scope scope : {Scope::tensor, Scope::row})
      for (const InstructionSet isa : {InstructionSet::scalar, best_instruction_set()})
        for (int which = 0; which < 3; ++which) {
          Problem p = random_problem(5);
          std::fill_n(p.types, 3, ElementType::float32);
          p.options.pipeline = pipeline;
          p.options.query_scope = scope;
          std::vector<float>& poisoned = which == 0 ? p.query : which == 1 ? p.key : p.value;
          poisoned[poisoned.size() / 2] = which == 1 ? INFINITY : NAN;
          const Status expected[] = {Status::non_finite_query, Status::non_finite_key, Status::non_finite_value};
          EXPECT_EQ(run(p, isa, 2, false).status, expected[which]);
        }
}

TEST(Attention, ScoresBeyondFloat32AreComputed) {
  std::vector<InstructionSet> sets = vector_instruction_sets();
  sets.push_back(InstructionSet::scalar);
  for (const InstructionSet isa : sets)
    for (std::uint32_t seed = 0; seed < share_of(20); ++seed) {
      Problem p = random_problem(seed);
      p.options.causal = false;
      std::fill_n(p.types, 3, ElementType::float32);
      p.query = Random(seed).normals(p.query.size(), 1e25f);
      p.key = Random(seed + 1).normals(p.key.size(), 1e25f);
      for (const Pipeline pipeline : {Pipeline::fp32, Pipeline::int8, Pipeline::integer}) {
        p.options.pipeline = pipeline;
        const Result r = run(p, isa, 1, false);
        EXPECT_EQ(r.status, Status::ok);
        EXPECT_LT(largest(r.output), 10) << name_of(isa) << ", seed " << seed;
      }
    }
}

} // namespace
} // namespace intattn::test
