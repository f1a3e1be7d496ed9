#include "intattn/block_attention.h"

#include <algorithm>
#include <cfenv>
#include <cstring>
#include <gtest/gtest.h>

#include "block_problem.h"

namespace intattn::test {
namespace {

void expect_same(const Result& a, const Result& b) {
  ASSERT_EQ(a.status.status, b.status.status) << a.status.message << " / " << b.status.message;
  EXPECT_EQ(a.query, b.query);
  EXPECT_EQ(a.key, b.key);
  EXPECT_EQ(a.value, b.value);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.unit, b.unit);
  EXPECT_EQ(a.exponents, b.exponents);
  EXPECT_EQ(a.plane, b.plane);
  EXPECT_EQ(a.row_sum, b.row_sum);
  EXPECT_EQ(a.log_sum_exp, b.log_sum_exp);
  EXPECT_EQ(a.output, b.output);
}

TEST(BlockAttention, EveryInstructionSetAndExecutorGivesTheSameBits) {
  Caller alone;
  std::size_t seen = 0;
  const std::uint32_t problems = share_of(120);
  for (std::uint32_t seed = 0; seed < problems; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Problem p = random_problem(seed);
    const Result expected = run(p, InstructionSet::scalar, alone);
    ASSERT_EQ(expected.status.status, Status::ok) << expected.status.message;
    seen +=
        std::size_t(std::count_if(expected.row_sum.begin(), expected.row_sum.end(), [](auto sum) { return sum > 0; }));
    for (const InstructionSet isa : vector_instruction_sets()) {
      SCOPED_TRACE(name_of(isa));
      expect_same(expected, run(p, isa, alone));
      Threads threads(3);
      if (seed % 8 == 0)
        expect_same(expected, run(p, isa, threads));
      if (HasFailure())
        return;
    }
  }
  EXPECT_GT(seen, 5 * problems); // most rows see keys
}

/// softmax(Q K^T scale + bias) V by the book, in float64; it knows no blocks.
std::vector<double> exact(const Problem& p) {
  const BlockAttentionOptions& o = p.options;
  const BlockAttentionArguments& a = p.arguments;
  std::vector<double> output(p.rows() * o.value_dim), weights(a.key_length);
  for (std::size_t row = 0; row < p.rows(); ++row) {
    const std::size_t b = row / (o.heads * a.query_length), head = row / a.query_length % o.heads;
    const std::int64_t position =
        std::int64_t(row % a.query_length) +
        (p.query_starts.empty() ? std::int64_t(a.key_length) - std::int64_t(a.query_length) : p.query_starts[b]);
    const std::size_t first = (b * o.kv_heads + head / (o.heads / o.kv_heads)) * a.key_length;
    const std::size_t present = p.key_lengths.empty() ? a.key_length : p.key_lengths[b];
    double sum = p.sinks.empty() ? 0 : std::exp(double(p.sinks[head]));
    for (std::size_t j = 0; j < present; ++j) {
      const auto key = std::int64_t(j);
      weights[j] = 0;
      if ((o.causal && key > position) || (o.window && key <= position - std::int64_t(o.window) && j >= o.keep_first) ||
          (!p.mask.empty() && !p.mask[row * a.key_length + j]))
        continue;
      double logit = 0;
      for (std::size_t c = 0; c < o.head_dim; ++c)
        logit += double(p.query.floats[row * o.head_dim + c]) * double(p.key.floats[(first + j) * o.head_dim + c]);
      logit /= std::sqrt(double(o.head_dim));
      logit += p.slopes.empty() ? 0 : double(p.slopes[head]) * double(key - position);
      logit += p.bias.empty() ? 0 : double(p.bias[row * a.key_length + j]);
      sum += weights[j] = std::exp(logit);
    }
    for (std::size_t j = 0; j < present && sum > 0; ++j)
      for (std::size_t c = 0; c < o.value_dim; ++c)
        output[row * o.value_dim + c] += weights[j] / sum * double(p.value.floats[(first + j) * o.value_dim + c]);
  }
  return output;
}

double relative_error(const std::vector<float>& output, const std::vector<double>& expected) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += (output[i] - expected[i]) * (output[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(error / std::max(norm, 1e-30));
}

TEST(BlockAttention, ScalarFollowsFloat64) {
  struct Preset {
    const char* name;
    Bits bits;
    double error; ///< a third above the largest of normal data in the specification's tables
  };
  constexpr Preset presets[] = {{"precise", {8, 8, 8, 8}, 0.03},
                                {"fast", {8, 7, 8, 7}, 0.056},
                                {"compact", {8, 8, 4, 8}, 0.105},
                                {"finest", {15, 8, 8, 14}, 0.022},
                                {"smallest", {8, 4, 4, 8}, 0.25}};
  Caller alone;
  for (const Preset& preset : presets)
    for (std::uint32_t seed = 0; seed < share_of(25); ++seed) {
      SCOPED_TRACE(std::string(preset.name) + ", seed " + std::to_string(seed));
      Problem p = random_problem(seed);
      Random random(seed);
      BlockAttentionOptions& o = p.options;
      o.head_dim = std::uint32_t(random.one_of<std::size_t>({40, 64, 80, 128}));
      o.value_dim = std::uint32_t(random.one_of<std::size_t>({40, 64, 96}));
      o.query_bits = preset.bits.query, o.key_bits = preset.bits.key;
      o.value_bits = preset.bits.value, o.plane_bits = preset.bits.plane;
      const std::size_t keys = p.arguments.batch * o.kv_heads * p.arguments.key_length;
      p.query = p.key = p.value = {};
      p.query.floats = random.normals(p.rows() * o.head_dim);
      p.key.floats = random.normals(keys * o.head_dim);
      p.value.floats = random.normals(keys * o.value_dim);
      p.key_offset = p.value_offset = {};
      const Result r = run(p, InstructionSet::scalar, alone);
      ASSERT_EQ(r.status.status, Status::ok) << r.status.message;
      EXPECT_LT(relative_error(r.output, exact(p)), preset.error);
    }
}

/// Rows of one batch item, and of each head the first `kept` of `length` only.
template <class T>
std::vector<T> part(const std::vector<T>& all, std::size_t item, std::size_t heads, std::size_t length,
                    std::size_t kept, std::size_t dim) {
  std::vector<T> out;
  for (std::size_t head = 0; head < heads && !all.empty(); ++head) {
    const auto first = all.begin() + std::ptrdiff_t((item * heads + head) * length * dim);
    out.insert(out.end(), first, first + std::ptrdiff_t(kept * dim));
  }
  return out;
}

Rows part(const Rows& rows, std::size_t item, std::size_t heads, std::size_t length, std::size_t kept,
          std::size_t dim) {
  Rows out;
  out.floats = part(rows.floats, item, heads, length, kept, dim);
  out.bytes = part(rows.bytes, item, heads, length, kept, dim);
  out.scales = part(rows.scales, item, heads, length, kept, 1);
  return out;
}

/// One batch item alone, without the keys that it lacks (but for one, where it has none).
Problem item_of(const Problem& p, std::size_t b) {
  const BlockAttentionArguments& a = p.arguments;
  const std::size_t kept = std::max<std::size_t>(p.key_lengths[b], 1), rows = p.options.heads * a.query_length;
  Problem out = p;
  out.arguments.batch = 1;
  out.arguments.key_length = kept;
  out.key_lengths = {p.key_lengths[b]};
  out.query_starts = {p.query_starts[b]};
  out.query = part(p.query, b, p.options.heads, a.query_length, a.query_length, p.options.head_dim);
  out.key = part(p.key, b, p.options.kv_heads, a.key_length, kept, p.options.head_dim);
  out.value = part(p.value, b, p.options.kv_heads, a.key_length, kept, p.options.value_dim);
  out.mask = part(p.mask, b, rows, a.key_length, kept, 1);
  out.bias = part(p.bias, b, rows, a.key_length, kept, 1);
  return out;
}

/// Makes a row what no arithmetic survives.
void spoil(Rows& rows, std::size_t row, std::size_t dim) {
  if (rows.bytes.empty())
    std::fill_n(rows.floats.begin() + std::ptrdiff_t(row * dim), dim, NAN);
  else
    rows.scales[row] = NAN;
}

std::vector<InstructionSet> all_instruction_sets() {
  std::vector<InstructionSet> sets = vector_instruction_sets();
  sets.insert(sets.begin(), InstructionSet::scalar);
  return sets;
}

TEST(BlockAttention, NeitherOtherItemsNorKeysBeyondTheLengthsHaveInfluence) {
  Caller alone;
  for (std::uint32_t seed = 1000; seed < 1000 + share_of(40); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Problem p = random_problem(seed);
    Random random(seed);
    const BlockAttentionArguments& a = p.arguments;
    p.key_lengths.clear();
    for (std::size_t b = 0; b < a.batch; ++b) {
      p.key_lengths.push_back(std::uint32_t(random.between(0, a.key_length)));
      // Padded on the right: at 0, or at the end of each; or anywhere.
      p.query_starts.push_back(
          random.one_of<std::int64_t>({0, std::int64_t(p.key_lengths[b]) - std::int64_t(a.query_length),
                                       std::int64_t(random.between(0, 300)) - 50}));
    }
    for (std::size_t row = 0; row < a.batch * p.options.kv_heads * a.key_length; ++row)
      if (row % a.key_length >= p.key_lengths[row / a.key_length / p.options.kv_heads]) {
        spoil(p.key, row, p.options.head_dim);
        spoil(p.value, row, p.options.value_dim);
      }
    for (std::size_t i = 0; i < p.bias.size(); ++i)
      if (i % a.key_length >= p.key_lengths[i / a.key_length / (p.options.heads * a.query_length)])
        p.bias[i] = NAN;
    for (const InstructionSet isa : all_instruction_sets()) {
      SCOPED_TRACE(name_of(isa));
      const Result together = run(p, isa, alone);
      ASSERT_EQ(together.status.status, Status::ok) << together.status.message;
      for (std::size_t b = 0; b < a.batch; ++b) {
        SCOPED_TRACE("item " + std::to_string(b));
        const Problem item = item_of(p, b);
        const Result r = run(item, isa, alone);
        ASSERT_EQ(r.status.status, Status::ok) << r.status.message;
        const std::size_t rows = item.rows(), kept = item.arguments.key_length;
        ASSERT_EQ(r.output, part(together.output, b, 1, rows, rows, p.options.value_dim));
        ASSERT_EQ(r.log_sum_exp, part(together.log_sum_exp, b, 1, rows, rows, 1));
        ASSERT_EQ(r.row_sum, part(together.row_sum, b, 1, rows, rows, 1));
        ASSERT_EQ(r.plane, part(together.plane, b, rows, a.key_length, kept, 1));
      }
    }
  }
}

/// A problem that is whole: float inputs, several items and heads, nothing optional.
Problem plain_problem() {
  Problem p;
  Random random(5);
  BlockAttentionOptions& o = p.options;
  o.heads = 4, o.kv_heads = 2, o.head_dim = 40, o.value_dim = 24;
  BlockAttentionArguments& a = p.arguments;
  a.batch = 2, a.query_length = 9, a.key_length = 150;
  const std::size_t keys = a.batch * o.kv_heads * a.key_length;
  p.query = Rows(random, p.rows(), o.head_dim, false, 0);
  p.key = Rows(random, keys, o.head_dim, false, 0);
  p.value = Rows(random, keys, o.value_dim, false, 0);
  return p;
}

TEST(BlockAttention, KeysHiddenOnTheLeftMayHoldAnything) {
  Caller alone;
  Problem p = plain_problem();
  const std::size_t length = p.arguments.key_length, padding[] = {70, 3};
  std::vector<std::uint8_t> mask(2 * length, 1);
  for (std::size_t b = 0; b < 2; ++b)
    std::fill_n(mask.begin() + std::ptrdiff_t(b * length), padding[b], std::uint8_t{0});
  const auto one_row = [&](BlockAttentionArguments& a, Result&) {
    a.mask = {mask.data(), std::ptrdiff_t(length), 0, 0};
  };
  for (const InstructionSet isa : all_instruction_sets()) {
    SCOPED_TRACE(name_of(isa));
    const Result expected = run(p, isa, alone, one_row);
    ASSERT_EQ(expected.status.status, Status::ok) << expected.status.message;
    Problem spoilt = p;
    for (std::size_t row = 0; row < 4 * length; ++row)
      if (row % length < padding[row / length / 2]) {
        spoil(spoilt.key, row, p.options.head_dim);
        spoil(spoilt.value, row, p.options.value_dim);
      }
    const Result r = run(spoilt, isa, alone, one_row);
    ASSERT_EQ(r.status.status, Status::ok) << r.status.message;
    EXPECT_EQ(r.output, expected.output);
    EXPECT_EQ(r.plane, expected.plane);
    EXPECT_EQ(r.row_sum, expected.row_sum);
  }
}

/// [rows of heads] of one tensor laid out as [batch, length, heads, dim], `gap` elements behind each position.
std::vector<float> interleaved(const std::vector<float>& in, std::size_t batch, std::size_t heads, std::size_t length,
                               std::size_t dim, std::size_t gap) {
  std::vector<float> out(batch * length * (heads * dim + gap), NAN);
  for (std::size_t row = 0; row < batch * heads * length; ++row) {
    const std::size_t b = row / (heads * length), head = row / length % heads, position = row % length;
    std::copy_n(in.begin() + std::ptrdiff_t(row * dim), dim,
                out.begin() + std::ptrdiff_t((b * length + position) * (heads * dim + gap) + head * dim));
  }
  return out;
}

TEST(BlockAttention, StridesAreWhatContiguousTensorsAre) {
  Caller alone;
  Problem p = plain_problem();
  const BlockAttentionOptions& o = p.options;
  // Self-attention of packed Q, K and V: of one length.
  p.arguments.query_length = p.arguments.key_length;
  p.options.value_dim = p.options.head_dim;
  Random random(6);
  p.query.floats = random.normals(p.rows() * o.head_dim);
  p.value.floats = random.normals(p.key.floats.size());
  const std::size_t length = p.arguments.key_length, dim = o.head_dim, pitch = (o.heads + 2 * o.kv_heads) * dim;
  const std::vector<float> q = interleaved(p.query.floats, 2, o.heads, length, dim, 2 * o.kv_heads * dim);
  const std::vector<float> k = interleaved(p.key.floats, 2, o.kv_heads, length, dim, 0),
                           v = interleaved(p.value.floats, 2, o.kv_heads, length, dim, 0);
  std::vector<float> packed = q;
  for (std::size_t position = 0; position < 2 * length; ++position) {
    float* behind = packed.data() + position * pitch + o.heads * dim;
    std::copy_n(k.begin() + std::ptrdiff_t(position * o.kv_heads * dim), o.kv_heads * dim, behind);
    std::copy_n(v.begin() + std::ptrdiff_t(position * o.kv_heads * dim), o.kv_heads * dim, behind + o.kv_heads * dim);
  }
  const auto view = [&](std::size_t offset) {
    TensorView out;
    out.data = packed.data() + offset;
    out.batch_stride = std::ptrdiff_t(length * pitch);
    out.head_stride = std::ptrdiff_t(dim);
    out.row_stride = std::ptrdiff_t(pitch);
    return out;
  };
  // A bias for each key, of all rows and heads.
  p.bias.clear();
  const std::vector<float> bias = random.normals(length);
  for (std::size_t row = 0; row < p.rows(); ++row)
    p.bias.insert(p.bias.end(), bias.begin(), bias.end());
  for (const InstructionSet isa : all_instruction_sets()) {
    SCOPED_TRACE(name_of(isa));
    const Result expected = run(p, isa, alone);
    ASSERT_EQ(expected.status.status, Status::ok) << expected.status.message;
    const Result r = run(p, isa, alone, [&](BlockAttentionArguments& a, Result& result) {
      a.query = view(0);
      a.key = view(o.heads * dim);
      a.value = view((o.heads + o.kv_heads) * dim);
      a.bias = {bias.data(), 0, 0, 0};
      result.output.assign(2 * length * (o.heads * dim + 1), 7.0f);
      a.output.data = result.output.data();
      a.output.head_stride = std::ptrdiff_t(dim);
      a.output.row_stride = std::ptrdiff_t(o.heads * dim + 1);
      a.output.batch_stride = std::ptrdiff_t(length) * a.output.row_stride;
    });
    ASSERT_EQ(r.status.status, Status::ok) << r.status.message;
    std::vector<float> wanted = interleaved(expected.output, 2, o.heads, length, dim, 1);
    std::replace_if(wanted.begin(), wanted.end(), [](float x) { return std::isnan(x); }, 7.0f); // left alone
    EXPECT_EQ(r.output, wanted);
    EXPECT_EQ(r.plane, expected.plane);
  }
}

TEST(BlockAttention, OneKeyAndValueMayServeAllItems) {
  Caller alone;
  Problem p = plain_problem();
  for (Rows* rows : {&p.key, &p.value})
    std::copy_n(rows->floats.begin(), rows->floats.size() / 2,
                rows->floats.begin() + std::ptrdiff_t(rows->floats.size() / 2));
  for (const InstructionSet isa : all_instruction_sets()) {
    SCOPED_TRACE(name_of(isa));
    expect_same(run(p, isa, alone), run(p, isa, alone, [](BlockAttentionArguments& a, Result&) {
                  a.key.batch_stride = a.value.batch_stride = 0;
                }));
  }
}

/// Flush-to-zero and another rounding, as a host may have set them, while it lives.
class UnusualFloats {
public:
  UnusualFloats() {
    std::fegetenv(&saved_);
    std::fesetround(FE_TOWARDZERO);
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#elif defined(__aarch64__)
    std::uint64_t control;
    asm volatile("mrs %0, fpcr" : "=r"(control));
    asm volatile("msr fpcr, %0" : : "r"(control | 1 << 24));
#endif
  }
  ~UnusualFloats() { std::fesetenv(&saved_); }

private:
  std::fenv_t saved_;
};

class UnusualThread final : public Executor {
public:
  unsigned threads() const noexcept override { return 1; }
  void parallel_for(std::size_t count, Task task, const void* context) noexcept override {
    std::thread([=] {
      const UnusualFloats unusual;
      for (std::size_t i = 0; i < count; ++i)
        task(context, i, 0);
      kept_ = std::fegetround() == FE_TOWARDZERO && kept_;
    }).join();
  }
  bool kept() const { return kept_; }

private:
  bool kept_ = true;
};

TEST(BlockAttention, TheFloatEnvironmentOfTheHostChangesNothingAndIsKept) {
  Caller alone;
  for (std::uint32_t seed = 2000; seed < 2000 + share_of(10); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Problem p = random_problem(seed);
    for (const InstructionSet isa : all_instruction_sets()) {
      SCOPED_TRACE(name_of(isa));
      const Result expected = run(p, isa, alone);
      ASSERT_EQ(expected.status.status, Status::ok) << expected.status.message;
      UnusualThread thread;
      const auto unusual = [&](Executor& executor) {
        const UnusualFloats floats;
        return run(p, isa, executor);
      };
      expect_same(expected, unusual(thread));
      EXPECT_TRUE(thread.kept());
      expect_same(expected, unusual(alone));
    }
  }
}

TEST(BlockAttention, TellsWhichInputIsBadWhereItIsSeen) {
  Caller alone;
  Threads three(3);
  for (const InstructionSet isa : all_instruction_sets())
    for (const float bad : {float(NAN), infinity, -infinity, 0x1p40f}) {
      SCOPED_TRACE(std::string(name_of(isa)) + ", " + std::to_string(bad));
      const auto status_with = [&](Rows Problem::* side, std::size_t element, bool causal) {
        Problem p = plain_problem();
        p.options.causal = causal;
        p.options.smooth_key = p.options.center_value = Mean::no; // which would bring 2^40 below its limit
        (p.*side).floats[element] = bad;
        const Result one = run(p, isa, alone), several = run(p, isa, three);
        EXPECT_EQ(one.status.status, several.status.status);
        EXPECT_EQ(one.status.message[0] != 0, one.status.status != Status::ok);
        return one.status.status;
      };
      const Problem p = plain_problem();
      const std::size_t head = p.options.head_dim, value = p.options.value_dim, length = p.arguments.key_length;
      EXPECT_EQ(status_with(&Problem::query, 3 * head + 39, false), Status::non_finite_query);
      EXPECT_EQ(status_with(&Problem::key, 77 * head, false), Status::non_finite_key);
      EXPECT_EQ(status_with(&Problem::value, (length + 77) * value + 23, false), Status::non_finite_value);
      // The last row sees the last key, with a causal mask the only one to do so.
      EXPECT_EQ(status_with(&Problem::key, length * head - 1, true), Status::non_finite_key);
      EXPECT_EQ(status_with(&Problem::value, length * value - 1, true), Status::non_finite_value);
    }
}

TEST(BlockAttention, BiasesAreCheckedWhateverIsSeen) {
  Caller alone;
  for (const InstructionSet isa : all_instruction_sets())
    for (const float bad : {float(NAN), infinity, 0x1p100f}) {
      Problem p = plain_problem();
      p.options.causal = true;
      p.bias.assign(p.rows() * p.arguments.key_length, 0.0f);
      p.bias[p.arguments.key_length - 1] = bad; // of the first row, which does not see the last key
      EXPECT_EQ(run(p, isa, alone).status.status, Status::non_finite_bias) << name_of(isa) << " " << bad;
    }
}

/// 16 bits of a float type as a number.
double number_of(std::uint16_t bits, ElementType type) {
  if (type == ElementType::bfloat16) {
    const std::uint32_t wide = std::uint32_t(bits) << 16;
    float out;
    std::memcpy(&out, &wide, sizeof out);
    return double(out);
  }
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double size = exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24);
  return bits & 0x8000 ? -size : size;
}

TEST(BlockAttention, OutputsOf16BitsAreRounded) {
  Caller alone;
  Problem p = plain_problem();
  for (const InstructionSet isa : all_instruction_sets())
    for (const ElementType type : {ElementType::float16, ElementType::bfloat16}) {
      SCOPED_TRACE(name_of(isa));
      const std::vector<float> expected = run(p, isa, alone).output;
      std::vector<std::uint16_t> output(expected.size());
      const auto as_type = [&](BlockAttentionArguments& a, Result&) {
        a.output.type = type;
        a.output.data = output.data();
      };
      ASSERT_EQ(run(p, isa, alone, as_type).status.status, Status::ok);
      const double unit = type == ElementType::float16 ? 0x1p-11 : 0x1p-8;
      for (std::size_t i = 0; i < output.size(); ++i)
        ASSERT_NEAR(number_of(output[i], type), double(expected[i]),
                    std::max(std::abs(double(expected[i])) * unit, 0x1p-25))
            << i;
    }
  for (float& x : p.value.floats)
    x = 1e9f;
  std::vector<std::uint16_t> output(p.rows() * p.options.value_dim);
  const auto half = [&](BlockAttentionArguments& a, Result&) {
    a.output.type = ElementType::float16;
    a.output.data = output.data();
  };
  for (const InstructionSet isa : all_instruction_sets())
    EXPECT_EQ(run(p, isa, alone, half).status.status, Status::non_finite_output) << name_of(isa);
}

TEST(BlockAttention, OptionsThatCannotBeAreNamed) {
  static const float sound[65] = {}, bad[65] = {NAN};
  using Options = BlockAttentionOptions;
  struct Wrong {
    const char* name;
    void (*make)(Options&);
  };
  constexpr Wrong wrong[] = {
      {"heads", [](Options& o) { o.heads = 0; }},
      {"heads", [](Options& o) { o.heads = 65537; }},
      {"kv_heads", [](Options& o) { o.kv_heads = 0; }},
      {"kv_heads", [](Options& o) { o.heads = 4, o.kv_heads = 3; }},
      {"head_dim", [](Options& o) { o.head_dim = 0; }},
      {"head_dim", [](Options& o) { o.head_dim = 1025; }},
      {"value_dim", [](Options& o) { o.value_dim = 1025; }},
      {"softmax_scale", [](Options& o) { o.softmax_scale = -1; }},
      {"softmax_scale", [](Options& o) { o.softmax_scale = NAN; }},
      {"softmax_scale", [](Options& o) { o.softmax_scale = 0x1p21; }},
      {"query_bits", [](Options& o) { o.query_bits = 7; }},
      {"key_bits", [](Options& o) { o.key_bits = 15; }},
      {"value_bits", [](Options& o) { o.value_bits = 7; }},
      {"plane_bits", [](Options& o) { o.plane_bits = 0; }},
      {"smooth_key", [](Options& o) { o.smooth_key = Mean::yes, o.key_offset = sound; }},
      {"smooth_key", [](Options& o) { o.smooth_key = Mean::yes, o.sinks = sound; }},
      {"center_value", [](Options& o) { o.center_value = Mean::yes, o.value_offset = sound; }},
      {"center_value", [](Options& o) { o.center_value = Mean::yes, o.sinks = sound; }},
      {"sinks", [](Options& o) { o.sinks = sound, o.key_offset = sound; }},
      {"sinks", [](Options& o) { o.sinks = bad; }},
      {"key_offset", [](Options& o) { o.key_offset = bad; }},
      {"value_offset", [](Options& o) { o.value_offset = bad; }},
      {"slopes", [](Options& o) { o.slopes = bad; }},
      {"isa", [](Options& o) { o.isa = InstructionSet(99); }},
  };
  for (const Wrong& w : wrong) {
    Options options;
    w.make(options);
    std::unique_ptr<BlockAttention> attention;
    const StatusMessage got = BlockAttention::create(options, &attention);
    EXPECT_EQ(got.status, Status::invalid_argument) << w.name;
    EXPECT_EQ(std::string(got.message).compare(0, std::strlen(w.name), w.name), 0) << w.name << ": " << got.message;
    EXPECT_FALSE(attention) << w.name;
  }
}

TEST(BlockAttention, ArgumentsThatCannotBeAreNamed) {
  using Arguments = BlockAttentionArguments;
  static const std::uint32_t too_long[] = {150, 151};
  static const std::int64_t too_far[] = {0, (std::int64_t{1} << 53) + 1};
  struct Wrong {
    const char* name;
    void (*make)(Arguments&);
  };
  constexpr Wrong wrong[] = {
      {"query", [](Arguments& a) { a.query_length = 0; }},
      {"query", [](Arguments& a) { a.batch = 0; }},
      {"key_length", [](Arguments& a) { a.key_length = 0; }},
      {"key_length", [](Arguments& a) { a.key_length = 262145; }},
      {"key_lengths", [](Arguments& a) { a.key_lengths = too_long; }},
      {"query_starts", [](Arguments& a) { a.query_starts = too_far; }},
      {"data", [](Arguments& a) { a.value.data = nullptr; }},
      {"key", [](Arguments& a) { a.key.type = ElementType::int8; }},
      {"query", [](Arguments& a) { a.query.type = a.key.type = ElementType::int8; }}, // without scales
      {"value", [](Arguments& a) { a.value.type = ElementType::int8; }},
      {"output", [](Arguments& a) { a.output.type = ElementType::int8; }},
  };
  Caller alone;
  for (const Wrong& w : wrong) {
    const Result r = run(plain_problem(), InstructionSet::scalar, alone, [&](Arguments& a, Result&) { w.make(a); });
    EXPECT_EQ(r.status.status, Status::invalid_argument) << w.name;
    EXPECT_EQ(std::string(r.status.message).compare(0, std::strlen(w.name), w.name), 0)
        << w.name << ": " << r.status.message;
    EXPECT_TRUE(std::all_of(r.output.begin(), r.output.end(), [](float x) { return std::isnan(x); })) << w.name;
  }
}

} // namespace
} // namespace intattn::test
