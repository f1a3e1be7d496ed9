#include "intattn/cpu_features.h"

#include <algorithm>

namespace intattn {
namespace {

std::vector<std::string> stood_in_for() {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    return {};
  std::vector<std::string> found = {"avx2", "fma", "f16c", "avx_vnni"};
#if INTATTN_AVX512_STAND_IN
  for (const char* feature : {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"})
    found.emplace_back(feature);
#endif
  return found;
}

} // namespace

/// In place of the library's own: what this CPU has, and what the stand-ins beside this file do without.
const std::vector<std::string>& cpu_features() {
  static const std::vector<std::string> features = stood_in_for();
  return features;
}

bool cpu_has(const std::string& feature) {
  const std::vector<std::string>& features = cpu_features();
  return std::find(features.begin(), features.end(), feature) != features.end();
}

} // namespace intattn
