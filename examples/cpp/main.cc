// Integer attention from C++: one head of fused attention compared with double precision, and, where ComputeLibrary is part of the
// package, its IndexSoftmax operator compared with the kernels', integer by integer.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "intattn/attention.h"
#include "intattn/cpu_features.h"
#include "intattn/instruction_set.h"

#ifdef COMPUTE_LIBRARY_FEATURES
#include "arm_compute/runtime/NEON/NEFunctions.h"
#include "arm_compute/runtime/Tensor.h"
#endif

namespace {

constexpr std::size_t length = 256, head_dim = 64;

std::vector<float> random_matrix(std::mt19937& engine) {
  std::normal_distribution<float> normal;
  std::vector<float> matrix(length * head_dim);
  for (float& value : matrix)
    value = normal(engine);
  return matrix;
}

/// Causal softmax(Q K^T / sqrt(d)) V in double precision.
std::vector<double> exact(const std::vector<float>& query, const std::vector<float>& key,
                          const std::vector<float>& value) {
  std::vector<double> output(length * head_dim), weights(length);
  for (std::size_t i = 0; i < length; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j <= i; ++j) {
      double score = 0;
      for (std::size_t c = 0; c < head_dim; ++c)
        score += double(query[i * head_dim + c]) * key[j * head_dim + c];
      sum += weights[j] = std::exp(score / std::sqrt(double(head_dim)));
    }
    for (std::size_t j = 0; j <= i; ++j)
      for (std::size_t c = 0; c < head_dim; ++c)
        output[i * head_dim + c] += weights[j] / sum * value[j * head_dim + c];
  }
  return output;
}

/// @return the relative L2 error of fused integer attention, or -1 when it failed
double attention_error() {
  std::mt19937 engine(1);
  const std::vector<float> query = random_matrix(engine), key = random_matrix(engine), value = random_matrix(engine);
  std::vector<float> output(length * head_dim);

  intattn::AttentionOptions options;
  options.head_dim = head_dim;
  options.causal = true;
  options.threads = 2;
  options.isa = intattn::best_instruction_set();
  intattn::AttentionArguments arguments;
  arguments.batch = 1;
  arguments.query_length = arguments.key_length = length;
  arguments.query.data = query.data();
  arguments.key.data = key.data();
  arguments.value.data = value.data();
  arguments.output = output.data();
  if (intattn::Attention(options).run(arguments, nullptr) != intattn::Status::ok)
    return -1;

  const std::vector<double> expected = exact(query, key, value);
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += (output[i] - expected[i]) * (output[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(error / norm);
}

#ifdef COMPUTE_LIBRARY_FEATURES
/// ComputeLibrary was compiled for these: on another CPU its code is illegal.
bool runs_compute_library() {
  std::stringstream features(COMPUTE_LIBRARY_FEATURES);
  for (std::string feature; features >> feature;)
    if (!intattn::cpu_has(feature)) {
      std::printf("ComputeLibrary is left out: this CPU lacks %s\n", feature.c_str());
      return false;
    }
  return true;
}

/// @return how many probabilities of ComputeLibrary's operator differ from the kernels'
std::size_t differing_probabilities() {
  constexpr std::size_t rows = 16, cols = 1000;
  constexpr double logit_scale = 1e-3;
  std::mt19937 engine(2);
  std::uniform_int_distribution<std::int32_t> scores(-8000, 8000);

  arm_compute::Tensor source, target;
  source.allocator()->init({arm_compute::TensorShape(cols, rows), 1, arm_compute::DataType::S32});
  target.allocator()->init({arm_compute::TensorShape(cols, rows), 1, arm_compute::DataType::U8});
  arm_compute::IndexSoftmaxInfo info; // the paper's table and normalization
  info.logit_scale = logit_scale;
  arm_compute::NEIndexSoftmaxLayer layer;
  layer.configure(&source, &target, info);
  source.allocator()->allocate();
  target.allocator()->allocate();
  auto* data = reinterpret_cast<std::int32_t*>(source.buffer());
  for (std::size_t i = 0; i < rows * cols; ++i)
    data[i] = scores(engine);
  layer.run();

  std::vector<std::uint8_t> expected(rows * cols);
  intattn::IndexSoftmaxArguments arguments;
  arguments.table.table = intattn::Table::natural;
  arguments.normalization = intattn::Normalization::integer;
  arguments.logit_scale = &logit_scale;
  arguments.scores = data;
  arguments.rows = rows;
  arguments.cols = cols;
  arguments.probabilities = expected.data();
  intattn::index_softmax(arguments, intattn::InstructionSet::scalar);
  std::size_t different = 0;
  for (std::size_t i = 0; i < expected.size(); ++i)
    different += expected[i] != target.buffer()[i];
  return different;
}
#endif

} // namespace

int main() {
  const double error = attention_error();
  std::printf("fused attention (%s), relative L2 error: %.4f\n", intattn::name_of(intattn::best_instruction_set()),
              error);
  bool good = error >= 0 && error < 0.05;
#ifdef COMPUTE_LIBRARY_FEATURES
  if (runs_compute_library()) {
    const std::size_t different = differing_probabilities();
    std::printf("NEIndexSoftmaxLayer: %zu probabilities differ from the kernels'\n", different);
    good = good && different == 0;
  }
#endif
  return good ? 0 : 1;
}
