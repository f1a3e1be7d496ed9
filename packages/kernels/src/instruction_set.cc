#include "intattn/instruction_set.h"

#include <cstring>

#include "kernels.h"

#if INTATTN_X86
#include <cpuid.h>
#endif

namespace intattn {
namespace {

#if INTATTN_X86
// The compiler's run-time check covers the operating system's support for the wide registers too. It knows f16c by name
// only in newer compilers: that one bit is read directly.
bool cpu_has_f16c() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}
bool cpu_has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_has_f16c(); }
bool cpu_has_avx512vnni() {
  return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}
#endif

struct Entry {
  InstructionSetInfo info;
  const Kernels* kernels;
};

constexpr std::size_t count = 5;

struct Registry {
  Entry entries[count];
  InstructionSetInfo infos[count];

  Registry() {
#if INTATTN_X86
    const bool avx2 = cpu_has_avx2(), avx512vnni = cpu_has_avx512vnni();
    const Kernels *avx2_table = avx2_kernels(), *avx512vnni_table = avx512vnni_kernels();
#else
    const bool avx2 = false, avx512vnni = false;
    const Kernels *avx2_table = nullptr, *avx512vnni_table = nullptr;
#endif
    entries[0] = entry(InstructionSet::scalar, "scalar", "", scalar_kernels(), true);
    entries[1] = entry(InstructionSet::avx2, "avx2", "avx2, fma, f16c", avx2_table, avx2);
    entries[2] = entry(InstructionSet::avx512vnni, "avx512vnni", "avx512f, avx512bw, avx512vl, avx512dq, avx512vnni",
                       avx512vnni_table, avx512vnni);
    entries[3] = entry(InstructionSet::neon_dotprod, "neon-dotprod", "asimddp", nullptr, false);
    entries[4] = entry(InstructionSet::neon_i8mm, "neon-i8mm", "asimddp, i8mm", nullptr, false);
    for (std::size_t i = 0; i < count; ++i)
      infos[i] = entries[i].info;
  }

  static Entry entry(InstructionSet id, const char* name, const char* features, const Kernels* kernels,
                     bool supported) {
    return {{id, name, features, kernels != nullptr, kernels != nullptr && supported}, kernels};
  }
};

const Registry& registry() {
  static const Registry instance;
  return instance;
}

} // namespace

const InstructionSetInfo* instruction_sets(std::size_t* number) {
  *number = count;
  return registry().infos;
}

InstructionSet best_instruction_set() {
  InstructionSet best = InstructionSet::scalar;
  for (const InstructionSetInfo& info : registry().infos)
    if (info.available)
      best = info.id;
  return best;
}

bool find_instruction_set(const char* name, InstructionSet* id) {
  for (const InstructionSetInfo& info : registry().infos)
    if (std::strcmp(info.name, name) == 0) {
      *id = info.id;
      return true;
    }
  return false;
}

const char* name_of(InstructionSet id) { return registry().infos[static_cast<std::size_t>(id)].name; }

const Kernels& kernels_of(InstructionSet id) { return *registry().entries[static_cast<std::size_t>(id)].kernels; }

} // namespace intattn
