#include "engines/compute_library/attention.h"

namespace intattn {

std::unique_ptr<Engine> make_engine(const AttentionOptions& options) {
  return std::make_unique<compute_library::Attention>(options);
}

} // namespace intattn
