#pragma once

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "intattn/block_attention.h"
#include "random.h"

namespace intattn::test {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Tasks in reverse order on threads of its own, as a host might run them.
class Threads final : public Executor {
public:
  explicit Threads(unsigned count) : count_(count) {}
  unsigned threads() const noexcept override { return count_; }
  void parallel_for(std::size_t count, Task task, const void* context) noexcept override {
    std::vector<std::thread> workers;
    for (unsigned thread = 0; thread < count_; ++thread)
      workers.emplace_back([=] {
        for (std::size_t i = count; i-- > 0;)
          if (i % count_ == thread)
            task(context, i, thread);
      });
    for (std::thread& worker : workers)
      worker.join();
  }

private:
  unsigned count_;
};

class Caller final : public Executor {
public:
  unsigned threads() const noexcept override { return 1; }
  void parallel_for(std::size_t count, Task task, const void* context) noexcept override {
    for (std::size_t i = 0; i < count; ++i)
      task(context, i, 0);
  }
};

/// Rows of one input: float32, or int8 with a scale per row.
struct Rows {
  std::vector<float> floats, scales;
  std::vector<std::int8_t> bytes;

  Rows() = default;
  Rows(Random& random, std::size_t rows, std::size_t dim, bool integer, int limit) {
    if (!integer) {
      floats = random.normals(rows * dim);
      for (std::size_t row = 0; row < rows; ++row) {
        const float size = random.one_of({1.0f, 1.0f, 1.0f, 0.0f, 1e-3f, 30.0f});
        for (std::size_t c = 0; c < dim; ++c)
          floats[row * dim + c] *= size;
      }
      return;
    }
    for (std::size_t i = 0; i < rows * dim; ++i)
      bytes.push_back(std::int8_t(int(random.between(0, 2 * std::size_t(limit))) - limit));
    for (std::size_t row = 0; row < rows; ++row)
      scales.push_back(random.one_of({0.02f, 0.01f, 0.0f, 0.03f}));
  }

  TensorView view(std::size_t heads, std::size_t length, std::size_t dim) const {
    TensorView v;
    v.row_stride = std::ptrdiff_t(dim);
    v.head_stride = std::ptrdiff_t(length * dim);
    v.batch_stride = std::ptrdiff_t(heads * length * dim);
    v.data = floats.data();
    if (!bytes.empty()) {
      v.type = ElementType::int8;
      v.data = bytes.data();
      v.scale = scales.data();
      v.scale_row_stride = 1;
      v.scale_head_stride = std::ptrdiff_t(length);
      v.scale_batch_stride = std::ptrdiff_t(heads * length);
    }
    return v;
  }
};

struct Problem {
  BlockAttentionOptions options;
  BlockAttentionArguments arguments;
  Rows query, key, value;
  std::vector<std::uint32_t> key_lengths;
  std::vector<std::int64_t> query_starts;
  std::vector<std::uint8_t> mask;
  std::vector<float> bias, slopes, sinks, key_offset, value_offset;

  std::size_t rows() const { return arguments.batch * options.heads * arguments.query_length; }
};

struct Bits {
  unsigned query, key, value, plane;
};

inline Problem random_problem(std::uint32_t seed) {
  Random random(seed);
  Problem p;
  BlockAttentionOptions& o = p.options;
  o.kv_heads = std::uint32_t(random.between(1, 2));
  const bool is_long = seed % 16 == 3;
  if (is_long)
    o.kv_heads = 1;
  o.heads = o.kv_heads * std::uint32_t(random.between(1, 2));
  const auto dim = [&] {
    return std::uint32_t(random.one_of<std::size_t>({1, 3, 8, 16, 17, 24, 32, 64, 64, 65, 80, 96, 128, 128, 256}));
  };
  o.head_dim = dim();
  o.value_dim = dim();
  if (seed % 16 == 7)
    o.head_dim = o.value_dim = std::uint32_t(random.one_of<std::size_t>({512, 640, 1024}));
  o.causal = random.coin();
  o.rotate = random.between(0, 3) > 0;
  const Bits bits = random.one_of<Bits>(
      {{8, 8, 8, 8}, {8, 7, 8, 7}, {15, 8, 8, 14}, {8, 8, 4, 8}, {15, 8, 8, 8}, {8, 4, 4, 7}, {8, 8, 8, 14}});
  o.query_bits = bits.query, o.key_bits = bits.key, o.value_bits = bits.value, o.plane_bits = bits.plane;
  if (random.between(0, 3) == 0) {
    o.window = random.between(1, 200);
    o.keep_first = random.between(0, 80);
  }

  BlockAttentionArguments& a = p.arguments;
  a.batch = is_long ? 1 : random.between(1, 2);
  a.query_length = random.between(1, 26);
  a.key_length = random.between(1, is_long ? 1300 : o.head_dim > 256 ? 70 : 100);
  if (is_long || o.head_dim > 256)
    a.query_length = random.between(1, 3);
  const bool integers = bits.key != 4 && random.between(0, 3) == 0,
             integer_value = bits.value != 4 && random.between(0, 3) == 0;
  p.query = Rows(random, p.rows(), o.head_dim, integers, 127);
  p.key = Rows(random, a.batch * o.kv_heads * a.key_length, o.head_dim, integers, bits.key == 7 ? 63 : 127);
  p.value = Rows(random, a.batch * o.kv_heads * a.key_length, o.value_dim, integer_value, 127);
  if (integers)
    p.query.bytes[0] = -128; // taken as it is
  if (random.coin())
    for (std::size_t b = 0; b < a.batch; ++b)
      p.key_lengths.push_back(std::uint32_t(random.between(0, a.key_length)));
  const std::size_t pairs = p.rows() * a.key_length;
  if (random.between(0, 3) == 0)
    for (std::size_t i = 0; i < pairs; ++i)
      p.mask.push_back(random.between(0, 3) > 0);
  if (random.between(0, 3) == 0) {
    p.bias = random.normals(pairs);
    for (float& x : p.bias)
      if (random.between(0, 20) == 0)
        x = random.one_of({-infinity, -40.0f});
  }
  if (random.between(0, 4) == 0)
    p.slopes = random.normals(o.heads, 0.2f);
  if (random.between(0, 4) == 0) {
    p.sinks = random.normals(o.heads, 4);
  } else {
    if (!integers && random.coin())
      p.key_offset = random.normals(o.kv_heads * o.head_dim);
    if (!integer_value && random.coin())
      p.value_offset = random.normals(o.kv_heads * o.value_dim);
  }
  return p;
}

struct Result {
  StatusMessage status;
  std::vector<float> output, log_sum_exp, scales, unit;
  std::vector<std::int16_t> query, exponents;
  std::vector<std::int8_t> key, value;
  std::vector<std::uint16_t> plane;
  std::vector<std::uint64_t> row_sum;
};

template <class T> T* or_null(std::vector<T>& v) { return v.empty() ? nullptr : v.data(); }

/// @param edit changes arguments, and the result's memory, before the run
template <class Edit> Result run(Problem p, InstructionSet isa, Executor& executor, const Edit& edit) {
  BlockAttentionOptions& o = p.options;
  BlockAttentionArguments& a = p.arguments;
  o.isa = isa;
  o.slopes = or_null(p.slopes);
  o.sinks = or_null(p.sinks);
  o.key_offset = or_null(p.key_offset);
  o.value_offset = or_null(p.value_offset);
  const std::size_t rows = p.rows(), keys = a.batch * o.kv_heads * a.key_length, blocks = (a.key_length + 63) / 64;
  const auto length = std::ptrdiff_t(a.key_length), queries = std::ptrdiff_t(a.query_length);
  a.query = p.query.view(o.heads, a.query_length, o.head_dim);
  a.key = p.key.view(o.kv_heads, a.key_length, o.head_dim);
  a.value = p.value.view(o.kv_heads, a.key_length, o.value_dim);
  a.key_lengths = or_null(p.key_lengths);
  a.query_starts = or_null(p.query_starts);
  a.mask = {or_null(p.mask), std::ptrdiff_t(o.heads) * queries * length, queries * length, length};
  a.bias = {or_null(p.bias), std::ptrdiff_t(o.heads) * queries * length, queries * length, length};

  Result r;
  r.output.assign(rows * o.value_dim, NAN);
  r.log_sum_exp.resize(rows);
  r.unit.resize(rows);
  r.scales.resize(rows + 2 * keys);
  r.query.resize(rows * o.head_dim);
  r.key.resize(keys * o.head_dim);
  r.value.resize(keys * o.value_dim);
  r.plane.resize(rows * a.key_length);
  r.exponents.resize(3 * rows * blocks);
  r.row_sum.resize(rows);
  a.output.data = r.output.data();
  a.output.row_stride = o.value_dim;
  a.output.head_stride = queries * o.value_dim;
  a.output.batch_stride = std::ptrdiff_t(o.heads) * queries * o.value_dim;
  a.log_sum_exp = r.log_sum_exp.data();
  BlockIntermediates inside;
  inside.query = r.query.data();
  inside.key = r.key.data();
  inside.value = r.value.data();
  inside.query_scale = r.scales.data();
  inside.key_scale = inside.query_scale + rows;
  inside.value_scale = inside.key_scale + keys;
  inside.unit = r.unit.data();
  inside.plane = r.plane.data();
  inside.block_exponent = r.exponents.data();
  inside.value_exponent = inside.block_exponent + rows * blocks;
  inside.shift = inside.value_exponent + rows * blocks;
  inside.row_sum = r.row_sum.data();
  a.intermediates = &inside;
  edit(a, r);
  std::unique_ptr<BlockAttention> attention;
  r.status = BlockAttention::create(o, &attention);
  if (r.status.status == Status::ok)
    r.status = attention->run(a, executor);
  return r;
}

inline Result run(const Problem& p, InstructionSet isa, Executor& executor) {
  return run(p, isa, executor, [](BlockAttentionArguments&, Result&) {});
}

} // namespace intattn::test
