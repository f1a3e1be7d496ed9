#include "intattn/index_softmax.h"

#include <cmath>
#include <gtest/gtest.h>

#include "random.h"

namespace intattn::test {
namespace {

struct Result {
  std::vector<std::uint8_t> probabilities;
  std::vector<std::uint32_t> row_sum;
  std::vector<std::int32_t> lost;
  bool operator==(const Result& other) const {
    return probabilities == other.probabilities && row_sum == other.row_sum && lost == other.lost;
  }
};

Result run(IndexSoftmaxArguments arguments, InstructionSet isa) {
  Result result{std::vector<std::uint8_t>(arguments.rows * arguments.cols), std::vector<std::uint32_t>(arguments.rows),
                std::vector<std::int32_t>(arguments.rows)};
  arguments.probabilities = result.probabilities.data();
  arguments.row_sum = result.row_sum.data();
  arguments.lost = result.lost.data();
  index_softmax(arguments, isa);
  return result;
}

TEST(IndexSoftmax, SharesOfEqualScoresAreEqual) {
  const std::vector<std::int32_t> scores(255, -123456);
  const double logit_scale = 1e-4;
  IndexSoftmaxArguments arguments;
  arguments.normalization = Normalization::integer;
  arguments.logit_scale = &logit_scale;
  arguments.scores = scores.data();
  arguments.rows = 1;
  arguments.cols = scores.size();
  for (const Table table : {Table::natural, Table::exp2}) {
    arguments.table.table = table;
    const Result result = run(arguments, InstructionSet::scalar);
    EXPECT_EQ(result.probabilities, std::vector<std::uint8_t>(255, 1));
    EXPECT_EQ(result.row_sum[0], 255u * 255 * (table == Table::exp2 ? 64 : 1));
  }
}

TEST(IndexSoftmax, WeightsFollowTheExponential) {
  for (const double logit_scale : {3e-7, 1e-4, 0.013}) {
    std::vector<std::int32_t> scores;
    for (int i = 0; i < 200; ++i)
      scores.push_back(-std::int32_t(i * 0.05 / logit_scale));
    IndexSoftmaxArguments arguments;
    arguments.logit_scale = &logit_scale;
    arguments.scores = scores.data();
    arguments.rows = 1;
    arguments.cols = scores.size();
    const Result result = run(arguments, InstructionSet::scalar);
    for (std::size_t i = 0; i < scores.size(); ++i)
      EXPECT_NEAR(result.probabilities[i], 255 * std::exp(scores[i] * logit_scale), 255 * 0.023 + 0.5) << i;
  }
}

TEST(IndexSoftmax, EveryInstructionSetGivesTheIntegersOfScalar) {
  for (const InstructionSet isa : vector_instruction_sets()) {
    for (std::uint32_t seed = 0; seed < 600; ++seed) {
      Random random(seed);
      IndexSoftmaxArguments arguments;
      arguments.table.table = random.one_of({Table::natural, Table::exp2});
      arguments.table.lut_bits = int(random.between(4, 6));
      arguments.table.clip = random.one_of({0.7, 5.0, 6.6, 8.5});
      arguments.normalization = random.one_of({Normalization::integer, Normalization::deferred});
      arguments.rows = random.between(1, 4);
      arguments.cols = random.between(1, 300);
      std::vector<double> logit_scale(arguments.rows);
      for (double& scale : logit_scale)
        scale = std::pow(10.0, -12 + 0.013 * double(random.between(0, 1000)));
      arguments.logit_scale = logit_scale.data();
      arguments.logit_scale_per_row = random.coin();
      std::vector<std::int32_t> scores(arguments.rows * arguments.cols);
      const std::uint32_t mask = random.one_of({0xffffffffu, 0xffffu, 0xfffffu, 0xffu});
      for (std::int32_t& s : scores)
        s = std::int32_t(random.bits() & mask);
      arguments.scores = scores.data();
      std::vector<std::uint8_t> valid(scores.size());
      for (std::uint8_t& v : valid)
        v = random.between(0, 4) > 0;
      if (random.coin())
        arguments.valid = valid.data();
      ASSERT_TRUE(run(arguments, isa) == run(arguments, InstructionSet::scalar)) << name_of(isa) << ", seed " << seed;
    }
  }
}

TEST(IndexSoftmax, RowSumsFillAll32Bits) {
  const std::vector<std::int32_t> scores(263172, 5);
  const double logit_scale = 1e-4;
  IndexSoftmaxArguments arguments;
  arguments.logit_scale = &logit_scale;
  arguments.scores = scores.data();
  arguments.rows = 1;
  arguments.cols = scores.size();
  std::vector<InstructionSet> sets = vector_instruction_sets();
  sets.push_back(InstructionSet::scalar);
  for (const InstructionSet isa : sets) {
    const Result result = run(arguments, isa);
    EXPECT_EQ(result.row_sum[0], 263172u * 16320u) << name_of(isa);
    EXPECT_EQ(result.lost[0], 0) << name_of(isa);
  }
}

TEST(IndexSoftmax, LogitScalesBeyondAllBoundsAreHandled) {
  const std::vector<std::int32_t> scores = {INT32_MIN, INT32_MAX, 0, -1, INT32_MAX};
  for (const double logit_scale : {5e-324, 1e-300, 1e-40, 1e40, 1e300}) {
    IndexSoftmaxArguments arguments;
    arguments.logit_scale = &logit_scale;
    arguments.scores = scores.data();
    arguments.rows = 1;
    arguments.cols = scores.size();
    const std::uint8_t others = logit_scale < 1 ? 255 : 0;
    const Result result = run(arguments, InstructionSet::scalar);
    EXPECT_EQ(result.probabilities, (std::vector<std::uint8_t>{others, 255, others, others, 255}));
    for (const InstructionSet isa : vector_instruction_sets())
      EXPECT_TRUE(run(arguments, isa) == result) << name_of(isa) << ", logit scale " << logit_scale;
  }
}

} // namespace
} // namespace intattn::test
