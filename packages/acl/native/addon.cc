#include <napi.h>

#include <cstdint>
#include <string>

#include "attention_object.h"
#include "cache_object.h"
#include "operations.h"

#if defined(__APPLE__)
#include <dlfcn.h>
#endif

namespace {

/// Counts changes of what is exported here; `src/addons/interface.ts` expects the same.
constexpr std::uint32_t interface_version = 6;

/// What compiled this file, and by one build all others: `clang 19.1.7`.
std::string compiler() {
#define INTATTN_TEXT(value) #value
#define INTATTN_VERSION(major, minor, patch) INTATTN_TEXT(major) "." INTATTN_TEXT(minor) "." INTATTN_TEXT(patch)
#if defined(__apple_build_version__)
  return "Apple clang " INTATTN_VERSION(__clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__clang__)
  return "clang " INTATTN_VERSION(__clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__GNUC__)
  return "gcc " INTATTN_VERSION(__GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#elif defined(_MSC_VER)
  return "msvc " + std::to_string(_MSC_FULL_VER);
#else
  return "unknown";
#endif
#undef INTATTN_VERSION
#undef INTATTN_TEXT
}

/// Keeps the library in memory until the process ends. Node closes it with the last environment that loaded it, but
/// destructors in it are to run at exit. On Linux the file says so itself (-z nodelete), for which Mach-O has no flag.
void stay_loaded() {
#if defined(__APPLE__)
  Dl_info self;
  if (dladdr(reinterpret_cast<const void*>(&stay_loaded), &self) != 0)
    dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE); // the handle is never closed
#endif
}

/// Holds no state of its own: every worker thread gets its own class, and objects live in their own environment.
Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  using namespace intattn::addon;
  stay_loaded();
  exports.Set("interfaceVersion", interface_version);
  exports.Set("compiler", compiler());
  exports.Set("Attention", AttentionObject::constructor(env));
  exports.Set("KvCache", CacheObject::constructor(env));
  exports.Set("indexSoftmax", Napi::Function::New<index_softmax>(env, "indexSoftmax"));
  exports.Set("quantize", Napi::Function::New<quantize>(env, "quantize"));
  exports.Set("cpuFeatures", Napi::Function::New<cpu_features>(env, "cpuFeatures"));
  exports.Set("instructionSets", Napi::Function::New<instruction_sets>(env, "instructionSets"));
  exports.Set("bestInstructionSet", Napi::Function::New<best_instruction_set>(env, "bestInstructionSet"));
  return exports;
}

} // namespace

NODE_API_MODULE(intattn, initialize)
