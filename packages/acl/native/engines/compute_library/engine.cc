#include "engines/compute_library/attention.h"
#include "engines/compute_library/threads.h"

namespace intattn {

std::unique_ptr<Engine> make_engine(const AttentionOptions& options) {
  return std::make_unique<compute_library::Attention>(options);
}

void initialize_engine() { compute_library::start_threads(); }

} // namespace intattn
