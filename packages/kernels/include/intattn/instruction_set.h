#pragma once

#include <cstddef>

namespace intattn {

/// The instruction sets the kernels are written for, from the most portable to the fastest.
enum class InstructionSet { scalar, avx2, avxvnni, avx512vnni, neon_dotprod, neon_i8mm };

/// What is known of one instruction set: "compiled in" and "can run here" are different facts.
struct InstructionSetInfo {
  InstructionSet id;
  const char* name;     ///< `scalar`, `avx2`, `avxvnni`, `avx512vnni`, `neon-dotprod`, `neon-i8mm`
  const char* features; ///< CPU features it needs, comma separated
  bool compiled;        ///< part of this binary
  bool available;       ///< compiled, and this CPU and operating system run it
};

/// Every known instruction set, fastest last.
/// @param count receives the number of entries.
const InstructionSetInfo* instruction_sets(std::size_t* count);

/// The fastest instruction set that can run here.
InstructionSet best_instruction_set();

/// @return false when `name` is no instruction set.
bool find_instruction_set(const char* name, InstructionSet* id);

/// The name as in `InstructionSetInfo::name`.
const char* name_of(InstructionSet id);

} // namespace intattn
