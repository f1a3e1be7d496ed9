#include "intattn/quantize.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "random.h"

namespace intattn::test {
namespace {

struct Result {
  std::vector<std::int8_t> quantized;
  std::vector<float> scale, mean;
  bool finite;
};

Result run(QuantizeArguments a, InstructionSet isa) {
  const std::size_t n = a.batch * a.heads * a.length * a.head_dim;
  Result r{std::vector<std::int8_t>(n), std::vector<float>(n), std::vector<float>(n), false};
  a.quantized = r.quantized.data();
  a.scale = r.scale.data();
  a.mean = r.mean.data();
  r.finite = quantize(a, isa);
  return r;
}

TEST(Quantize, RoundsToNearestEvenAndReachesTheLimits) {
  const std::vector<float> values = {127, -127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 0};
  QuantizeArguments a;
  a.values = values.data();
  a.batch = a.heads = a.length = 1;
  a.head_dim = values.size();
  const Result r = run(a, InstructionSet::scalar);
  EXPECT_EQ(r.quantized, (std::vector<std::int8_t>{127, -127, 0, 2, 2, 0, -2, 0}));
  EXPECT_EQ(r.scale[0], 1);
}

TEST(Quantize, ZerosAndDenormalsBecomeZerosOfScaleOne) {
  for (const float value : {0.0f, -0.0f, 1e-45f, 1e-38f}) {
    const std::vector<float> values(20, value);
    QuantizeArguments a;
    a.values = values.data();
    a.batch = a.heads = 1;
    a.length = 2;
    a.head_dim = 10;
    const Result r = run(a, InstructionSet::scalar);
    EXPECT_TRUE(r.finite);
    EXPECT_EQ(r.quantized, std::vector<std::int8_t>(20, 0));
    EXPECT_EQ(r.scale[0], 1);
  }
}

TEST(Quantize, EveryInstructionSetAgreesAndFindsWhatIsNotFinite) {
  std::vector<InstructionSet> sets = vector_instruction_sets();
  sets.push_back(InstructionSet::scalar);
  for (std::uint32_t seed = 0; seed < share_of(400); ++seed) {
    Random random(seed);
    QuantizeArguments a;
    a.batch = random.between(1, 2);
    a.heads = random.between(1, 3);
    a.length = random.between(1, 150);
    a.head_dim = random.between(1, 90);
    a.scope = random.one_of({Scope::tensor, Scope::head, Scope::row, Scope::channel});
    a.center = random.coin();
    const std::size_t n = a.batch * a.heads * a.length * a.head_dim;
    std::vector<float> values = random.normals(n, std::pow(10.0f, float(random.between(0, 40)) - 20));
    const bool poisoned = random.between(0, 4) == 0;
    if (poisoned)
      values[random.between(0, n - 1)] = random.one_of({std::numeric_limits<float>::quiet_NaN(), INFINITY, -INFINITY});
    a.values = values.data();
    const Result expected = run(a, InstructionSet::scalar);
    for (const InstructionSet isa : sets) {
      const Result r = run(a, isa);
      ASSERT_EQ(r.finite, !poisoned) << name_of(isa) << ", seed " << seed;
      if (poisoned)
        continue;
      ASSERT_EQ(r.quantized, expected.quantized) << name_of(isa) << ", seed " << seed;
      ASSERT_EQ(r.scale, expected.scale) << name_of(isa) << ", seed " << seed;
      ASSERT_EQ(r.mean, expected.mean) << name_of(isa) << ", seed " << seed;
    }
  }
}

} // namespace
} // namespace intattn::test
