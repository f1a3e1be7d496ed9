#include "intattn/cpu_features.h"

#include <algorithm>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace intattn {
namespace {

std::vector<std::string> detect() {
  std::vector<std::string> found;
  const auto add = [&](const char* name, bool present) {
    if (present)
      found.push_back(name);
  };
#if defined(__x86_64__)
  // The compiler's run-time check covers the operating system's support for the wide registers too. It knows f16c by
  // name only in newer compilers: that one bit is read directly.
  unsigned eax, ebx, ecx, edx;
  const bool avx2 = __builtin_cpu_supports("avx2");
  add("avx2", avx2);
  add("fma", __builtin_cpu_supports("fma"));
  add("f16c", avx2 && __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C));
  add("avx512f", __builtin_cpu_supports("avx512f"));
  add("avx512bw", __builtin_cpu_supports("avx512bw"));
  add("avx512vl", __builtin_cpu_supports("avx512vl"));
  add("avx512dq", __builtin_cpu_supports("avx512dq"));
  add("avx512_vnni", __builtin_cpu_supports("avx512vnni"));
#elif defined(__aarch64__) && defined(__APPLE__)
  const auto feature = [](const char* name) {
    int value = 0;
    std::size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
  };
  add("asimd", true);
  add("asimdhp", feature("hw.optional.arm.FEAT_FP16"));
  add("asimddp", feature("hw.optional.arm.FEAT_DotProd"));
  add("asimdfhm", feature("hw.optional.arm.FEAT_FHM"));
  add("i8mm", feature("hw.optional.arm.FEAT_I8MM"));
  add("bf16", feature("hw.optional.arm.FEAT_BF16"));
#elif defined(__aarch64__) && defined(__linux__)
  // The bits of the kernel's interface, which C libraries name only in newer versions.
  const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
  add("asimd", first >> 1 & 1);
  add("asimdhp", first >> 10 & 1);
  add("asimddp", first >> 20 & 1);
  add("asimdfhm", first >> 23 & 1);
  add("i8mm", second >> 13 & 1);
  add("bf16", second >> 14 & 1);
#else
  static_cast<void>(add);
#endif
  return found;
}

} // namespace

const std::vector<std::string>& cpu_features() {
  static const std::vector<std::string> features = detect();
  return features;
}

bool cpu_has(const std::string& feature) {
  const std::vector<std::string>& features = cpu_features();
  return std::find(features.begin(), features.end(), feature) != features.end();
}

} // namespace intattn
