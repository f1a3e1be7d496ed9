#include "intattn/cpu_features.h"

#include <algorithm>
#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace intattn {
namespace {

#if defined(__x86_64__)
struct Leaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// What CPUID says; zeros where the CPU has no such leaf.
Leaf leaf(unsigned number, unsigned subleaf = 0) {
  Leaf found;
  if (!__get_cpuid_count(number, subleaf, &found.eax, &found.ebx, &found.ecx, &found.edx))
    found = {};
  return found;
}

/// XCR0: which registers the operating system saves, 0x06 those of AVX, 0xe0 those of AVX-512. Needs OSXSAVE.
std::uint64_t saved_state() {
  std::uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}
#endif

std::vector<std::string> detect() {
  std::vector<std::string> found;
  const auto add = [&](const char* name, bool present) {
    if (present)
      found.push_back(name);
  };
#if defined(__x86_64__)
  // Not by __builtin_cpu_supports: zig's run-time library says no to everything.
  const Leaf basic = leaf(1), extended = leaf(7);
  const std::uint64_t saved = basic.ecx >> 27 & 1 ? saved_state() : 0;
  const bool ymm = basic.ecx >> 28 & 1 && (saved & 0x06) == 0x06;
#if defined(__APPLE__)
  const bool zmm = ymm; // saved from its first use on
#else
  const bool zmm = ymm && (saved & 0xe0) == 0xe0;
#endif
  add("avx2", ymm && extended.ebx >> 5 & 1);
  add("fma", ymm && basic.ecx >> 12 & 1);
  add("f16c", ymm && basic.ecx >> 29 & 1);
  // Leaf 7 says in eax how many subleaves it has.
  add("avx_vnni", ymm && extended.eax >= 1 && leaf(7, 1).eax >> 4 & 1);
  add("avx512f", zmm && extended.ebx >> 16 & 1);
  add("avx512bw", zmm && extended.ebx >> 30 & 1);
  add("avx512vl", zmm && extended.ebx >> 31 & 1);
  add("avx512dq", zmm && extended.ebx >> 17 & 1);
  add("avx512_vnni", zmm && extended.ecx >> 11 & 1);
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
  add("sme", feature("hw.optional.arm.FEAT_SME"));
#elif defined(__aarch64__) && defined(__linux__)
  // The bits of the kernel's interface, which C libraries name only in newer versions.
  const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
  add("asimd", first >> 1 & 1);
  add("asimdhp", first >> 10 & 1);
  add("asimddp", first >> 20 & 1);
  add("asimdfhm", first >> 23 & 1);
  add("i8mm", second >> 13 & 1);
  add("bf16", second >> 14 & 1);
  add("sme", second >> 23 & 1);
#else
  static_cast<void>(add);
#endif
  return found;
}

} // namespace

const std::vector<std::string>& cpu_features() {
  // Never destroyed: threads may outlive the destructors that run at exit.
  static const std::vector<std::string>& features = *new std::vector<std::string>(detect());
  return features;
}

bool cpu_has(const std::string& feature) {
  const std::vector<std::string>& features = cpu_features();
  return std::find(features.begin(), features.end(), feature) != features.end();
}

} // namespace intattn
