// neon/index_softmax.h on its own, as ComputeLibrary's kernel uses it.

#include "neon/index_softmax.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <memory>

#include "random.h"

namespace intattn::test {
namespace {

constexpr std::size_t guard = 32;
constexpr std::uint8_t untouched = 0xa5;

/// Section 3 in 64 bits.
std::uint32_t index_of(std::uint32_t distance, const IndexParameters& index) {
  std::uint64_t clipped = distance;
  if (index.shift >= 0)
    clipped = index.shift > 31 ? 0 : clipped >> index.shift;
  else
    clipped = index.shift < -31 ? (distance ? index.threshold : 0) : clipped << -index.shift;
  clipped = clipped < index.threshold ? clipped : index.threshold;
  return std::uint32_t(((clipped * index.multiplier >> 15) + (1u << (index.weight_shift - 16))) >>
                       (index.weight_shift - 15));
}

struct Row {
  std::vector<std::uint8_t> probabilities;
  RowSums sums = {0, 0};
};

Row expected_row(const std::int32_t* scores, std::size_t count, const WeightTable& table,
                 const IndexParameters& parameters) {
  const std::int32_t most = *std::max_element(scores, scores + count);
  Row row;
  std::vector<std::uint32_t> index(count);
  for (std::size_t i = 0; i < count; ++i) {
    index[i] = index_of(std::uint32_t(most) - std::uint32_t(scores[i]), parameters);
    row.sums.weight += table.weight[index[i]];
    row.sums.plane += table.plane[index[i]];
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t numerator = 510 * std::uint64_t{table.weight[index[i]]} + row.sums.weight;
    row.probabilities.push_back(table.normalization == Normalization::integer
                                    ? std::uint8_t(numerator / (2 * std::uint64_t{row.sums.weight}))
                                    : table.plane[index[i]]);
  }
  return row;
}

/// Compares on memory that ends with the row, between guard bytes.
void expect_exact(const std::vector<std::int32_t>& values, const WeightTable& table, const IndexParameters& index) {
  const std::size_t count = values.size();
  const auto scores = std::make_unique<std::int32_t[]>(count);
  std::copy(values.begin(), values.end(), scores.get());
  const Row expected = expected_row(scores.get(), count, table, index);
  const std::int32_t most = row_maximum(scores.get(), count);
  ASSERT_EQ(most, *std::max_element(values.begin(), values.end()));

  std::vector<std::uint8_t> out(count + 2 * guard, untouched);
  const RowSums sums = index_softmax_row(scores.get(), count, most, table, index, out.data() + guard);
  ASSERT_EQ(sums.weight, expected.sums.weight);
  ASSERT_EQ(sums.plane, expected.sums.plane);
  ASSERT_EQ(std::vector<std::uint8_t>(out.begin() + guard, out.end() - guard), expected.probabilities);
  ASSERT_EQ(std::vector<std::uint8_t>(out.begin(), out.begin() + guard), std::vector<std::uint8_t>(guard, untouched));
  ASSERT_EQ(std::vector<std::uint8_t>(out.end() - guard, out.end()), std::vector<std::uint8_t>(guard, untouched));
}

TableOptions random_table(Random& random) {
  TableOptions options;
  options.table = random.one_of({Table::natural, Table::exp2});
  options.lut_bits = int(random.between(4, 6));
  options.clip = random.one_of({0.7, 5.0, 6.6, 8.5});
  return options;
}

TEST(NeonIndexSoftmax, EveryCountIsExactBetweenItsGuards) {
  for (std::size_t count = 1; count <= 200; ++count)
    for (std::uint32_t seed = 0; seed < 40; ++seed) {
      Random random(seed * 1000 + std::uint32_t(count));
      const TableOptions options = random_table(random);
      const WeightTable table =
          make_weight_table(options, random.one_of({Normalization::integer, Normalization::deferred}));
      const double logit_scale = std::pow(10.0, -13 + 0.017 * double(random.between(0, 1000)));
      const IndexParameters index = make_index_parameters(make_index_scale(options), logit_scale);
      const std::uint32_t mask = random.one_of({0xffffffffu, 0x7fffffffu, 0xfffffu, 0xffffu, 0xffu});
      std::vector<std::int32_t> scores(count);
      for (std::int32_t& s : scores)
        s = random.between(0, 15) == 0 ? random.one_of({INT32_MIN, INT32_MAX}) : std::int32_t(random.bits() & mask);
      expect_exact(scores, table, index);
      if (HasFatalFailure())
        FAIL() << "count " << count << ", seed " << seed << ", shift " << index.shift;
    }
}

/// Distances on both sides of every step of the table, for every shift.
TEST(NeonIndexSoftmax, EveryStepOfEveryTableIsExact) {
  for (std::int32_t shift = -20; shift <= 40; ++shift)
    for (std::uint32_t seed = 0; seed < 12; ++seed) {
      Random random(seed * 100 + std::uint32_t(shift + 20));
      const TableOptions options = random_table(random);
      const IndexScale scale = make_index_scale(options);
      // Thresholds at the ends of their range too.
      const double threshold =
          random.one_of<double>({16384, 32767.4, 24000, 30720, double(random.between(16384, 32767))});
      const IndexParameters index = make_index_parameters(scale, scale.clip / std::ldexp(threshold, shift));
      std::vector<std::int32_t> scores = {INT32_MAX};
      const std::uint32_t steps = table_steps(options);
      for (std::uint32_t step = 0; step <= steps; ++step) {
        const double edge = std::ldexp((step + 0.5) * double(index.threshold) / steps, shift);
        for (const double d : {edge - 1, edge, edge + 1})
          if (d >= 0 && d < 4294967295.0)
            scores.push_back(std::int32_t(std::uint32_t(INT32_MAX) - std::uint32_t(d)));
      }
      for (const Normalization normalization : {Normalization::integer, Normalization::deferred})
        expect_exact(scores, make_weight_table(options, normalization), index);
      if (HasFatalFailure())
        FAIL() << "shift " << shift << ", seed " << seed;
    }
}

TEST(NeonIndexSoftmax, LongRowsFillTheirSums) {
  const std::vector<std::int32_t> scores(263172, -7);
  for (const Table kind : {Table::natural, Table::exp2})
    for (const Normalization normalization : {Normalization::integer, Normalization::deferred}) {
      TableOptions options;
      options.table = kind;
      options.lut_bits = 5;
      expect_exact(scores, make_weight_table(options, normalization),
                   make_index_parameters(make_index_scale(options), 1e-4));
    }
}

} // namespace
} // namespace intattn::test
