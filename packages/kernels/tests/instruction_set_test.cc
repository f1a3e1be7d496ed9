#include "intattn/instruction_set.h"

#include <gtest/gtest.h>
#include <ostream>
#include <string>

#include "random.h"

namespace intattn {

/// How GoogleTest names a parameter.
void PrintTo(const InstructionSetInfo& info, std::ostream* out) { *out << info.name; }

} // namespace intattn

namespace intattn::test {
namespace {

/// One test per compiled instruction set: the other tests cover those that run here, this one names those that do not.
class CompiledInstructionSet : public testing::TestWithParam<InstructionSetInfo> {};

std::vector<InstructionSetInfo> compiled_instruction_sets() {
  std::size_t count;
  const InstructionSetInfo* info = instruction_sets(&count);
  std::vector<InstructionSetInfo> compiled;
  for (std::size_t i = 0; i < count; ++i)
    if (info[i].compiled)
      compiled.push_back(info[i]);
  return compiled;
}

TEST_P(CompiledInstructionSet, IsTestedHere) {
  const InstructionSetInfo& info = GetParam();
  if (!info.available)
    GTEST_SKIP() << "this CPU or system lacks some of: " << info.features;
  InstructionSet found;
  ASSERT_TRUE(find_instruction_set(info.name, &found));
  EXPECT_EQ(found, info.id);
  EXPECT_STREQ(name_of(info.id), info.name);
  EXPECT_GE(best_instruction_set(), info.id);
}

std::string name_of_parameter(const testing::TestParamInfo<InstructionSetInfo>& info) {
  std::string name = info.param.name;
  for (char& c : name)
    c = c == '-' ? '_' : c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(Compiled, CompiledInstructionSet, testing::ValuesIn(compiled_instruction_sets()),
                         name_of_parameter);

} // namespace
} // namespace intattn::test
