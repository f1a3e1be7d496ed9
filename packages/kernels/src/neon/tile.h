#pragma once

// What the register tiles of all instructions share.

#include <arm_neon.h>
#include <cstdint>

/// What assembly that takes all registers says it writes to.
// clang-format off
#define INTATTN_ALL_VECTORS                                                               \
  "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", \
  "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25",     \
  "v26", "v27", "v28", "v29", "v30", "v31"
// clang-format on

namespace intattn {
namespace {

inline int8x16_t load_bytes(const std::int8_t* p) { return vld1q_s8(p); }
inline uint8x16_t load_bytes(const std::uint8_t* p) { return vld1q_u8(p); }

} // namespace
} // namespace intattn
