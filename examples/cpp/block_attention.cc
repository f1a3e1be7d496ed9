// Version 2 of integer attention inside a host: its own threads, its own memory layout, options that come from outside.
// Usage: block_attention [key bits]
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "intattn/block_attention.h"

namespace {

constexpr std::size_t length = 300, heads = 4, kv_heads = 2, head_dim = 64;
/// Queries, keys and values of one token lie side by side, as one matrix product gives them.
constexpr std::size_t token = (heads + 2 * kv_heads) * head_dim;

/// Runs tasks on the threads of the host; here they are made anew each time.
class HostThreads final : public intattn::Executor {
public:
  unsigned threads() const noexcept override { return 2; }
  void parallel_for(std::size_t count, Task task, const void* context) noexcept override {
    std::atomic<std::size_t> next{0};
    const auto work = [&](unsigned thread) {
      for (std::size_t i = next++; i < count; i = next++)
        task(context, i, thread);
    };
    std::thread other(work, 1u);
    work(0);
    other.join();
  }
};

/// Some heads of the tokens, as [batch, heads, length, head_dim].
intattn::TensorView view_of(const std::vector<float>& tokens, std::size_t first_head) {
  intattn::TensorView view;
  view.data = tokens.data() + first_head * head_dim;
  view.head_stride = head_dim;
  view.row_stride = token;
  return view;
}

/// The relative L2 error against softmax(Q K^T / sqrt(d)) V in double precision, causal.
double error_of(const std::vector<float>& output, const std::vector<float>& tokens) {
  double error = 0, norm = 0;
  for (std::size_t head = 0; head < heads; ++head)
    for (std::size_t i = 0; i < length; ++i) {
      const std::size_t kv_head = head / (heads / kv_heads);
      const float* query = tokens.data() + i * token + head * head_dim;
      std::vector<double> expected(head_dim);
      double sum = 0;
      for (std::size_t j = 0; j <= i; ++j) {
        const float* key = tokens.data() + j * token + (heads + kv_head) * head_dim;
        const float* value = key + kv_heads * head_dim;
        double score = 0;
        for (std::size_t c = 0; c < head_dim; ++c)
          score += double(query[c]) * key[c];
        const double weight = std::exp(score / std::sqrt(double(head_dim)));
        sum += weight;
        for (std::size_t c = 0; c < head_dim; ++c)
          expected[c] += weight * value[c];
      }
      for (std::size_t c = 0; c < head_dim; ++c) {
        const double exact = expected[c] / sum, difference = output[(i * heads + head) * head_dim + c] - exact;
        error += difference * difference;
        norm += exact * exact;
      }
    }
  return std::sqrt(error / norm);
}

} // namespace

int main(int count, char** words) {
  intattn::BlockAttentionOptions options;
  options.heads = heads;
  options.kv_heads = kv_heads;
  options.head_dim = head_dim;
  options.causal = true;
  options.key_bits = count > 1 ? unsigned(std::atoi(words[1])) : 8;
  options.isa = intattn::best_instruction_set();
  std::unique_ptr<intattn::BlockAttention> attention;
  if (const auto made = intattn::BlockAttention::create(options, &attention); made.status != intattn::Status::ok) {
    std::fprintf(stderr, "%s\n", made.message);
    return 2;
  }

  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  std::vector<float> tokens(length * token), output(length * heads * head_dim);
  for (float& x : tokens)
    x = normal(engine);

  intattn::BlockAttentionArguments arguments;
  arguments.batch = 1;
  arguments.query_length = arguments.key_length = length;
  arguments.query = view_of(tokens, 0);
  arguments.key = view_of(tokens, heads);
  arguments.value = view_of(tokens, heads + kv_heads);
  arguments.output.data = output.data(); // [length, heads, head_dim]
  arguments.output.head_stride = head_dim;
  arguments.output.row_stride = heads * head_dim;

  HostThreads threads;
  if (const auto ran = attention->run(arguments, threads); ran.status != intattn::Status::ok) {
    std::fprintf(stderr, "%s\n", ran.message);
    return 1;
  }
  const double error = error_of(output, tokens);
  std::printf("version 2 (%s) on threads of the host, relative L2 error: %.4f\n", intattn::name_of(options.isa), error);
  return error < 0.1 ? 0 : 1;
}
