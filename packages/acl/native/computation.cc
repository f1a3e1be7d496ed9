#include "computation.h"

#include "attention_arguments.h"
#include "block_arguments.h"
#include "options.h"

namespace intattn::addon {
namespace {

/// Pipelines `fp32`, `fp16`, `int8`, and `int` of version 1, by the engine of this binary.
class EngineComputation final : public Computation {
public:
  explicit EngineComputation(const AttentionOptions& options) : options_(options), engine_(make_engine(options)) {}

  std::unique_ptr<Call> read(const Napi::CallbackInfo& info) const override { return read_request(info, options_); }
  Outcome run(const Call& call, StageTimes* times) noexcept override {
    return engine_->run(static_cast<const Request&>(call).arguments, times);
  }
  std::size_t memory_bytes() const override { return engine_->memory_bytes(); }

private:
  const AttentionOptions options_;
  const std::unique_ptr<Engine> engine_;
};

/// Pipeline `int` of version 2.
class BlockComputation final : public Computation {
public:
  BlockComputation(const BlockAttentionOptions& options, unsigned threads, std::unique_ptr<BlockAttention> attention)
      : options_(options), attention_(std::move(attention)), executor_(make_executor(threads)) {}

  std::unique_ptr<Call> read(const Napi::CallbackInfo& info) const override { return read_block_call(info, options_); }
  Outcome run(const Call& call, StageTimes* times) noexcept override {
    const auto& block = static_cast<const BlockCall&>(call);
    const StatusMessage ended = block.caches.empty() ? attention_->run(block.arguments, *executor_, times)
                                                     : attention_->run(block.cached, *executor_, times);
    // TypeScript has checked everything: what is invalid nevertheless is told as it is.
    return {ended.status, ended.status == Status::invalid_argument ? ended.message : ""};
  }
  std::size_t memory_bytes() const override { return attention_->memory_bytes(); }

private:
  const BlockAttentionOptions options_; ///< for sizes; its arrays are those of `attention_`
  const std::unique_ptr<BlockAttention> attention_;
  const std::unique_ptr<Executor> executor_;
};

} // namespace

std::unique_ptr<Computation> make_computation(Napi::Object object) {
  if (object.Get("version").ToNumber().Uint32Value() != 2)
    return std::make_unique<EngineComputation>(attention_options(object));
  const BlockAttentionOptions options = block_options(object);
  std::unique_ptr<BlockAttention> attention;
  const StatusMessage made = BlockAttention::create(options, &attention);
  if (made.status == Status::out_of_memory)
    throw std::bad_alloc();
  if (made.status != Status::ok)
    throw Napi::Error::New(object.Env(), std::string("addon: ") + made.message);
  return std::make_unique<BlockComputation>(options, threads_of(object), std::move(attention));
}

} // namespace intattn::addon
