// Runs attention problems for an instruction counter: each twice, the second time between a begin and an end mark.
#include <cstdio>
#include <exception>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "arguments.h"
#include "driver/pool_executor.h"
#include "intattn/attention.h"
#include "intattn/block_attention.h"
#include "intattn/cpu_features.h"
#include "stage_clock.h"

#if INTATTN_COMPUTE_LIBRARY
#include "engines/compute_library/attention.h"
#endif

namespace intattn::count {
namespace {

/// Marks of the counter besides the stages: what lies between them is one region.
constexpr int begin_region = 0x100, end_region = 0x101;

/// The settings of the presets of version 1: section 8 of the numeric specification.
AttentionOptions options_of(const Arguments& arguments) {
  AttentionOptions options;
  options.pipeline = arguments.pipeline;
  options.heads = options.kv_heads = arguments.heads;
  options.head_dim = arguments.head_dim;
  options.causal = arguments.causal;
  options.isa = arguments.isa;
  if (arguments.preset == "paper") {
    options.table.table = Table::natural;
    options.normalization = Normalization::integer;
    options.query_scope = options.key_scope = options.value_scope = Scope::tensor;
    options.smooth_key = options.center_value = false;
  }
  return options;
}

/// The settings of the presets of version 2, section 10.
BlockAttentionOptions block_options_of(const Arguments& arguments) {
  BlockAttentionOptions options;
  options.heads = options.kv_heads = arguments.heads;
  options.head_dim = arguments.head_dim;
  options.causal = arguments.causal;
  options.isa = arguments.isa;
  if (arguments.preset == "fast")
    options.key_bits = options.plane_bits = 7;
  if (arguments.preset == "compact")
    options.value_bits = 4;
  if (arguments.preset == "finest")
    options.query_bits = 15, options.plane_bits = 14;
  return options;
}

/// A tensor of reproducible values: normally distributed, or uniform int8 with one scale for every group.
class Tensor {
public:
  Tensor(ElementType type, std::size_t elements, std::size_t groups, std::uint32_t seed)
      : type_(type), scales_(type == ElementType::int8 ? groups : 0, 1.0f / 32) {
    std::mt19937 bits(seed);
    if (type == ElementType::int8) {
      bytes_.resize(elements);
      for (std::int8_t& x : bytes_)
        x = std::int8_t(int(bits() % 255) - 127);
    } else {
      floats_.resize(elements);
      // Sum of twelve uniform values: a normal distribution to within what matters, the same everywhere.
      for (float& x : floats_) {
        std::int64_t sum = 0;
        for (int i = 0; i < 12; ++i)
          sum += std::int32_t(bits());
        x = float(double(sum) / 4294967296.0);
      }
    }
  }

  Input input() const {
    if (type_ == ElementType::int8)
      return {type_, bytes_.data(), scales_.data()};
    return {type_, floats_.data(), nullptr};
  }

  /// [1, heads, length, dim]
  TensorView view(std::size_t length, std::size_t dim) const {
    TensorView view;
    view.type = type_;
    view.data = type_ == ElementType::int8 ? static_cast<const void*>(bytes_.data()) : floats_.data();
    view.row_stride = std::ptrdiff_t(dim);
    view.head_stride = std::ptrdiff_t(length * dim);
    view.scale = scales_.data();
    return view;
  }

private:
  ElementType type_;
  std::vector<float> floats_, scales_;
  std::vector<std::int8_t> bytes_;
};

std::size_t groups(Scope scope, const AttentionOptions& options, std::size_t length) {
  switch (scope) {
  case Scope::head:
    return options.heads;
  case Scope::row:
    return options.heads * length;
  case Scope::channel:
    return std::size_t(options.heads) * options.head_dim;
  default:
    return 1;
  }
}

void check(Status status) {
  if (status != Status::ok)
    throw std::runtime_error("the run failed with status " + std::to_string(int(status)));
}

#if INTATTN_COMPUTE_LIBRARY
void check(const Outcome& outcome) {
  if (!outcome.failure.empty())
    throw std::runtime_error(outcome.failure);
  check(outcome.status);
}
#endif

template <class Engine> void count(const AttentionOptions& options, const AttentionArguments& arguments) {
  Engine engine(options);
  check(engine.run(arguments, nullptr));
  mark_stage(begin_region);
  const auto outcome = engine.run(arguments, nullptr);
  mark_stage(end_region);
  check(outcome);
}

void count_blocks(const BlockAttentionOptions& options, const BlockAttentionArguments& arguments) {
  std::unique_ptr<BlockAttention> attention;
  PoolExecutor executor(1);
  const auto check_message = [](const StatusMessage& outcome) {
    if (outcome.status != Status::ok)
      throw std::runtime_error(outcome.message);
  };
  check_message(BlockAttention::create(options, &attention));
  check_message(attention->run(arguments, executor));
  mark_stage(begin_region);
  const StatusMessage outcome = attention->run(arguments, executor);
  mark_stage(end_region);
  check_message(outcome);
}

#if INTATTN_COMPUTE_LIBRARY
void count_acl(const AttentionOptions& options, const AttentionArguments& arguments) {
  count<compute_library::Attention>(options, arguments);
}
#else
void count_acl(const AttentionOptions&, const AttentionArguments&) {
  throw std::invalid_argument("--engine: expected one that is part of this build (native), received 'acl'");
}
#endif

void count_problem(const Arguments& arguments, std::size_t key_length) {
  const AttentionOptions options = options_of(arguments);
  const std::size_t query_length = arguments.query_length ? arguments.query_length : key_length;
  const std::size_t row = std::size_t(options.heads) * options.head_dim;
  const Tensor query(arguments.input_type, query_length * row, groups(options.query_scope, options, query_length), 1);
  const Tensor key(arguments.input_type, key_length * row, groups(options.key_scope, options, key_length), 2);
  const Tensor value(arguments.input_type, key_length * row, groups(options.value_scope, options, key_length), 3);
  std::vector<float> output(query_length * row);

  if (arguments.engine == "native" && in_blocks(arguments)) {
    BlockAttentionArguments problem;
    problem.batch = 1;
    problem.query_length = query_length;
    problem.key_length = key_length;
    problem.query = query.view(query_length, options.head_dim);
    problem.key = key.view(key_length, options.head_dim);
    problem.value = value.view(key_length, options.head_dim);
    problem.output.data = output.data();
    problem.output.row_stride = options.head_dim;
    problem.output.head_stride = std::ptrdiff_t(query_length * options.head_dim);
    count_blocks(block_options_of(arguments), problem);
    return;
  }

  AttentionArguments problem;
  problem.batch = 1;
  problem.query_length = query_length;
  problem.key_length = key_length;
  problem.query = query.input();
  problem.key = key.input();
  problem.value = value.input();
  problem.output = output.data();
  if (arguments.engine == "native")
    count<Attention>(options, problem);
  else
    count_acl(options, problem);
}

void list() {
  std::size_t count = 0;
  const InstructionSetInfo* sets = instruction_sets(&count);
  std::printf("{\"features\":[");
  const char* separator = "";
  for (const std::string& feature : cpu_features())
    std::printf("%s\"%s\"", std::exchange(separator, ","), feature.c_str());
  std::printf("],\"engines\":[\"native\"%s],\"instructionSets\":[", INTATTN_COMPUTE_LIBRARY ? ",\"acl\"" : "");
  for (std::size_t i = 0; i < count; ++i)
    std::printf("%s{\"name\":\"%s\",\"compiled\":%s,\"available\":%s}", i ? "," : "", sets[i].name,
                sets[i].compiled ? "true" : "false", sets[i].available ? "true" : "false");
  std::printf("]}\n");
}

} // namespace
} // namespace intattn::count

int main(int argc, char** argv) {
  using namespace intattn::count;
  try {
    const Arguments arguments = parse(argc, argv);
    if (arguments.list)
      list();
    else
      for (const std::size_t key_length : arguments.key_lengths)
        count_problem(arguments, key_length);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "count: %s\n", error.what());
    return 1;
  }
  return 0;
}
