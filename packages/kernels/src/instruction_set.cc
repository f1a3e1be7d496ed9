#include "intattn/instruction_set.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "intattn/cpu_features.h"
#include "kernels.h"

namespace intattn {
namespace {

/// Whether the CPU has every feature of a list such as "avx2, fma".
bool cpu_has_all(const std::string& features) {
  for (std::size_t begin = 0; begin < features.size();) {
    const std::size_t end = std::min(features.find(", ", begin), features.size());
    if (!cpu_has(features.substr(begin, end - begin)))
      return false;
    begin = end + 2;
  }
  return true;
}

struct Entry {
  InstructionSetInfo info;
  const Kernels* kernels;
  const BlockKernels* block;
};

constexpr std::size_t count = 6;

struct Registry {
  Entry entries[count];
  InstructionSetInfo infos[count];

  Registry() {
    const Kernels *avx2 = nullptr, *avx512vnni = nullptr, *neon_dotprod = nullptr, *neon_i8mm = nullptr;
    const BlockKernels *scalar_block = scalar_block_kernels(), *avx2_block = nullptr, *avx_vnni_block = nullptr,
                       *avx512_block = nullptr, *dotprod_block = nullptr, *i8mm_block = nullptr;
#if INTATTN_X86
    avx2 = avx2_kernels(), avx512vnni = avx512vnni_kernels();
    avx2_block = avx2_block_kernels(), avx_vnni_block = avx_vnni_block_kernels();
    avx512_block = avx512vnni_block_kernels();
#elif INTATTN_ARM64
    neon_dotprod = neon_dotprod_kernels(), neon_i8mm = neon_i8mm_kernels();
    dotprod_block = neon_dotprod_block_kernels(), i8mm_block = neon_i8mm_block_kernels();
#endif
    entries[0] = entry(InstructionSet::scalar, "scalar", "", scalar_kernels(), scalar_block);
    entries[1] = entry(InstructionSet::avx2, "avx2", "avx2, fma, f16c", avx2, avx2_block);
    entries[2] = entry(InstructionSet::avxvnni, "avxvnni", "avx2, fma, f16c, avx_vnni", avx2, avx_vnni_block);
    entries[3] = entry(InstructionSet::avx512vnni, "avx512vnni",
                       "avx2, fma, f16c, avx512f, avx512bw, avx512vl, avx512dq, avx512_vnni", avx512vnni, avx512_block);
    entries[4] = entry(InstructionSet::neon_dotprod, "neon-dotprod", "asimddp", neon_dotprod, dotprod_block);
    entries[5] = entry(InstructionSet::neon_i8mm, "neon-i8mm", "asimddp, i8mm", neon_i8mm, i8mm_block);
    for (std::size_t i = 0; i < count; ++i)
      infos[i] = entries[i].info;
  }

  static Entry entry(InstructionSet id, const char* name, const char* features, const Kernels* kernels,
                     const BlockKernels* block) {
    return {{id, name, features, kernels != nullptr, kernels != nullptr && cpu_has_all(features)}, kernels, block};
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

const BlockKernels& block_kernels_of(InstructionSet id) {
  return *registry().entries[static_cast<std::size_t>(id)].block;
}

} // namespace intattn
