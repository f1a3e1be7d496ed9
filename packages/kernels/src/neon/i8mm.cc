#include "kernels.h"

namespace intattn {

const Kernels* neon_i8mm_kernels() { return nullptr; }

} // namespace intattn
