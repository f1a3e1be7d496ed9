#include "intattn/attention.h"

#include <cassert>
#include <vector>

#include "driver/float_attention.h"
#include "driver/pool_executor.h"
#include "driver/quantized_attention.h"
#include "kernels.h"
#include "stage_clock.h"

namespace intattn {

class Attention::State {
public:
  explicit State(const AttentionOptions& options)
      : slopes_(options.slopes, options.slopes + (options.slopes ? options.heads : 0)),
        sinks_(options.sinks, options.sinks + (options.sinks ? options.heads : 0)), options_(options),
        kernels_(kernels_of(options.isa)), executor_(options.threads), clock_(executor_.threads()),
        quantized_(options_, kernels_), float_(options_, kernels_) {
    options_.slopes = slopes_.empty() ? nullptr : slopes_.data();
    options_.sinks = sinks_.empty() ? nullptr : sinks_.data();
  }

  Status run(const AttentionArguments& arguments, StageTimes* times) {
    clock_.start();
    const bool floating = options_.pipeline == Pipeline::fp32 || options_.pipeline == Pipeline::fp16;
    const Status status =
        floating ? float_.run(arguments, executor_, clock_) : quantized_.run(arguments, executor_, clock_);
    if (times)
      *times = clock_.stop();
    return status;
  }

  std::size_t memory_bytes() const { return quantized_.memory_bytes() + float_.memory_bytes(); }

private:
  const std::vector<float> slopes_, sinks_;
  AttentionOptions options_;
  const Kernels& kernels_;
  PoolExecutor executor_;
  StageClock clock_;
  QuantizedAttention quantized_;
  FloatAttention float_;
};

std::size_t max_key_length(Pipeline pipeline) { return pipeline == Pipeline::integer ? 263172 : std::size_t{1} << 24; }

Attention::Attention(const AttentionOptions& options) : state_(std::make_unique<State>(options)) {}
Attention::~Attention() = default;

Status Attention::run(const AttentionArguments& arguments, StageTimes* times) noexcept {
  assert(arguments.batch > 0 && arguments.query_length > 0 && arguments.key_length > 0 && arguments.output);
  assert(!arguments.intermediates || !arguments.intermediates->scores || arguments.intermediates->key);
  return state_->run(arguments, times);
}

std::size_t Attention::memory_bytes() const { return state_->memory_bytes(); }

} // namespace intattn
