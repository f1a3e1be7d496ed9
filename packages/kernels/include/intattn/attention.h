#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "intattn/element_type.h"
#include "intattn/index_softmax.h"
#include "intattn/instruction_set.h"
#include "intattn/quantize.h"
#include "intattn/stage_times.h"
#include "intattn/status.h"
#include "intattn/tensor_view.h"

namespace intattn {

/// What is computed; the numbers are the paper's `--pipe`.
/// All pipelines give the same integers on every instruction set, but for `int8`, whose softmax is floating point: a
/// probability there may round to the neighbouring integer.
enum class Pipeline { fp32 = 0, fp16 = 1, int8 = 2, integer = 3 };

/// Everything that is fixed for the life of an `Attention`.
struct AttentionOptions {
  Pipeline pipeline = Pipeline::integer;
  std::uint32_t heads = 1;
  std::uint32_t kv_heads = 1;  ///< divides `heads`
  std::uint32_t head_dim = 64; ///< 1 ... 1024
  std::uint32_t value_dim = 0; ///< 1 ... 1024; 0 stands for `head_dim`
  bool causal = false;         ///< a query at position p sees keys j <= p
  // Pipelines `fp32` and `fp16` only, up to `sinks`. Arrays are copied.
  std::uint64_t window = 0;      ///< a query at p sees keys j > p - window only; 0: all
  std::uint64_t keep_first = 0;  ///< with a window: these first keys are seen nevertheless
  const float* slopes = nullptr; ///< [heads], ALiBi: slope * (j - p) is added to the logits; magnitudes below 2^60
  const float* sinks = nullptr;  ///< [heads], extra logits without a value; below 2^100, or -infinity for none
  double softmax_scale = 0;      ///< positive; 0 stands for 1 / sqrt(head_dim)
  TableOptions table;
  Normalization normalization = Normalization::deferred;
  Scope query_scope = Scope::row;     ///< tensor, head, row
  Scope key_scope = Scope::head;      ///< tensor, head
  Scope value_scope = Scope::channel; ///< tensor, head, channel
  bool smooth_key = true;
  bool center_value = true;
  unsigned threads = 1; ///< most that work on a run, the caller of `run` included
  InstructionSet isa = InstructionSet::scalar;
};

/// One input tensor, contiguous: Q [batch, heads, query_length, head_dim], K [batch, kv_heads, key_length, head_dim],
/// V [batch, kv_heads, key_length, value_dim].
struct Input {
  ElementType type = ElementType::float32; ///< int8 with pipelines `int8` and `integer` only
  const void* data = nullptr;
  const float* scale = nullptr; ///< int8 only: laid out by the scope of the tensor, as in `QuantizeArguments::scale`
};

/// The integers inside a run, for tests and study: every pointer may be null, but `scores` needs `key`. These are L x
/// L: asking for them costs memory. What no key or strip reaches is left as it is: hand in zeros.
struct Intermediates {
  std::int8_t* query = nullptr; ///< quantized, [batch, heads, query_length, head_dim]
  std::int8_t* key = nullptr;   ///< [batch, kv_heads, key_length, head_dim]
  std::int8_t* value = nullptr; ///< same shape as key
  float* query_scale = nullptr; ///< by scope
  float* key_scale = nullptr;
  float* value_scale = nullptr;
  float* value_center = nullptr;         ///< [batch, kv_heads, head_dim]
  std::int32_t* scores = nullptr;        ///< [batch, heads, query_length, key_length]; 0 where masked by length
  std::uint8_t* probabilities = nullptr; ///< same shape; the plane h when deferred
  std::uint32_t* row_sum = nullptr;      ///< [batch, heads, query_length]
  std::int32_t* lost = nullptr;          ///< same shape
};

struct AttentionArguments {
  std::size_t batch = 0, query_length = 0, key_length = 0; ///< each at least 1; key_length at most `max_key_length`
  const std::uint32_t* key_lengths = nullptr;              ///< [batch], each 0 ... key_length; null: all of them
  /// [batch]: position of the first query; null: key_length - query_length. Any value within +-2^53.
  const std::int64_t* query_starts = nullptr;
  PairView<std::uint8_t> mask; ///< 0: not seen; `fp32` and `fp16` only, as below
  PairView<float> bias;        ///< added to the logits; below 2^100, or -infinity: not seen
  Input query, key, value;
  ElementType output_type = ElementType::float32; ///< float32 or float16
  void* output = nullptr;                         ///< [batch, heads, query_length, value_dim]
  const Intermediates* intermediates = nullptr;   ///< `int8` (up to the scores) and `integer` pipelines only
};

/// Longest key sequence a pipeline takes: 263,172 for `integer` (a row sum fits 32 bits), 2^24 otherwise.
std::size_t max_key_length(Pipeline pipeline);

/// Attention over any number of runs; keeps its working memory. One run at a time per object; different objects may run
/// at the same time. They share the worker threads of the process, which end with the last object that has more than
/// one thread. Results do not depend on the number of threads.
class Attention {
public:
  /// Options must be valid (the caller checks).
  explicit Attention(const AttentionOptions& options);
  ~Attention();
  Attention(const Attention&) = delete;
  Attention& operator=(const Attention&) = delete;

  /// Never throws. On any status but `ok` the output is undefined.
  Status run(const AttentionArguments& arguments, StageTimes* times) noexcept;

  /// Bytes of working memory held at present, inputs and outputs apart.
  std::size_t memory_bytes() const;

private:
  class State;
  std::unique_ptr<State> state_;
};

} // namespace intattn
