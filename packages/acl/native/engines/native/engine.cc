#include "engines/engine.h"

namespace intattn {
namespace {

/// The kernels of packages/kernels, fused.
class NativeEngine final : public Engine {
public:
  explicit NativeEngine(const AttentionOptions& options) : attention_(options) {}

  Outcome run(const AttentionArguments& arguments, StageTimes* times) noexcept override {
    return {attention_.run(arguments, times), {}};
  }
  std::size_t memory_bytes() const override { return attention_.memory_bytes(); }

private:
  Attention attention_;
};

} // namespace

std::unique_ptr<Engine> make_engine(const AttentionOptions& options) { return std::make_unique<NativeEngine>(options); }

} // namespace intattn
