#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "intattn/attention.h"

namespace intattn::count {

/// What to count: one problem for each key length.
struct Arguments {
  bool list = false; ///< only tell what can be counted here
  std::string engine = "native";
  InstructionSet isa = InstructionSet::scalar;
  Pipeline pipeline = Pipeline::integer;
  std::string preset = "precise";
  std::vector<std::size_t> key_lengths = {1024};
  std::size_t query_length = 0; ///< 0: as many as keys
  std::uint32_t heads = 1, head_dim = 128;
  bool causal = false;
  ElementType input_type = ElementType::float32; ///< float32, or int8 with the pipelines that take it
};

extern const char* const usage;

/// Whether this is version 2 of the numeric specification.
bool in_blocks(const Arguments& arguments);

/// @throws std::invalid_argument naming the argument, what was expected and what was received.
Arguments parse(int argc, const char* const* argv);

} // namespace intattn::count
