#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

#include "intattn/instruction_set.h"

namespace intattn::test {

/// A reproducible source of shapes and values.
class Random {
public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  std::size_t between(std::size_t low, std::size_t high) { return low + engine_() % (high - low + 1); }
  bool coin() { return engine_() & 1; }
  template <class T> T one_of(std::initializer_list<T> choices) { return choices.begin()[engine_() % choices.size()]; }
  float normal() { return normal_(engine_); }
  std::uint32_t bits() { return std::uint32_t(engine_()); }

  std::vector<float> normals(std::size_t n, float spread = 1) {
    std::vector<float> values(n);
    for (float& x : values)
      x = spread * normal();
    return values;
  }

private:
  std::mt19937 engine_;
  std::normal_distribution<float> normal_;
};

/// How many of `number` random problems to run: the share that INTATTN_TEST_SHARE (percent) says, where each one takes
/// long.
inline std::uint32_t share_of(std::uint32_t number) {
  const char* share = std::getenv("INTATTN_TEST_SHARE");
  return share ? std::max(1u, number * std::uint32_t(std::atoi(share)) / 100) : number;
}

/// The vector instruction sets of this CPU; `scalar` is what they are compared with.
inline std::vector<InstructionSet> vector_instruction_sets() {
  std::vector<InstructionSet> found;
  std::size_t count;
  const InstructionSetInfo* info = instruction_sets(&count);
  for (std::size_t i = 0; i < count; ++i)
    if (info[i].available && info[i].id != InstructionSet::scalar)
      found.push_back(info[i].id);
  return found;
}

} // namespace intattn::test
