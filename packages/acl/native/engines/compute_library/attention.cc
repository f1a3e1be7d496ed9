#include "engines/compute_library/attention.h"

#include <exception>
#include <new>

#include "engines/compute_library/sequence.h"
#include "engines/compute_library/threads.h"
#include "kernels.h"
#include "stage_clock.h"

namespace intattn::compute_library {

class Attention::State {
public:
  explicit State(const AttentionOptions& options)
      : options_(options), clock_(1), sequence_(options.pipeline == Pipeline::fp32 || options.pipeline == Pipeline::fp16
                                                    ? make_float_sequence(options_, kernels_of(options.isa))
                                                    : make_quantized_sequence(options_, kernels_of(options.isa))) {}

  Status run(const AttentionArguments& arguments, StageTimes* times) {
    Threads threads(options_.threads);
    clock_.start();
    const Status status = sequence_->run(arguments, threads, clock_);
    if (times)
      *times = clock_.stop();
    return status;
  }

  std::size_t memory_bytes() const { return sequence_->memory_bytes(); }

private:
  const AttentionOptions options_;
  StageClock clock_; // stages follow one another, whatever the number of threads
  std::unique_ptr<Sequence> sequence_;
};

Attention::Attention(const AttentionOptions& options) : state_(std::make_unique<State>(options)) {}
Attention::~Attention() = default;

Outcome Attention::run(const AttentionArguments& arguments, StageTimes* times) noexcept {
  try {
    try {
      return {state_->run(arguments, times), {}};
    } catch (const std::bad_alloc&) {
      return {Status::out_of_memory, {}};
    } catch (const std::exception& error) {
      return {Status::ok, error.what()};
    } catch (...) {
      return {Status::ok, "an exception without a message"};
    }
  } catch (...) { // no memory for the message
    return {Status::out_of_memory, {}};
  }
}

std::size_t Attention::memory_bytes() const { return state_->memory_bytes(); }

} // namespace intattn::compute_library
