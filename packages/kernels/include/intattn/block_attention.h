#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "intattn/executor.h"
#include "intattn/instruction_set.h"
#include "intattn/kv_cache.h"
#include "intattn/stage_times.h"
#include "intattn/status.h"
#include "intattn/tensor_view.h"

namespace intattn {

/// Whether the mean over the present keys is subtracted before quantizing.
enum class Mean : std::uint8_t {
  automatic, ///< yes, unless a mask of any kind, extra logits, a given offset or int8 input forbid it
  no,
  yes,
};

/// Everything that is fixed for the life of a `BlockAttention`: integer attention with a scale per row and an exponent
/// per block of 64 keys, version 2 of the numeric specification. Arrays are copied.
struct BlockAttentionOptions {
  std::uint32_t heads = 1;      ///< 1 ... 65536
  std::uint32_t kv_heads = 1;   ///< divides `heads`
  std::uint32_t head_dim = 64;  ///< 1 ... 1024
  std::uint32_t value_dim = 0;  ///< 1 ... 1024; 0 stands for `head_dim`
  double softmax_scale = 0;     ///< 2^-20 ... 2^20; 0 stands for 1 / sqrt(head_dim)
  bool causal = false;          ///< a query at position p sees keys j <= p
  std::uint64_t window = 0;     ///< a query at p sees keys j > p - window only; 0: all
  std::uint64_t keep_first = 0; ///< with a window: these first keys are seen nevertheless
  bool rotate = true;
  unsigned query_bits = 8; ///< 8 or 15
  unsigned key_bits = 8;   ///< 8, 7 or 4
  unsigned value_bits = 8; ///< 8 or 4
  unsigned plane_bits = 8; ///< 8, 7 or 14
  Mean smooth_key = Mean::automatic;
  Mean center_value = Mean::automatic;
  const float* key_offset = nullptr;   ///< [kv_heads, head_dim]
  const float* value_offset = nullptr; ///< [kv_heads, value_dim]
  const float* slopes = nullptr;       ///< [heads], ALiBi; magnitudes below 2^60
  const float* sinks = nullptr;        ///< [heads], extra logits without a value; below 2^100, or -infinity for none
  InstructionSet isa = InstructionSet::scalar;
};

/// The numbers inside a run, for tests and study; every pointer may be null. These are L x L and cost memory. What no
/// key reaches is left as it is: hand in zeros.
struct BlockIntermediates {
  std::int16_t* query = nullptr;          ///< quantized, [batch, heads, query_length, head_dim]
  std::int8_t* key = nullptr;             ///< [batch, kv_heads, key_length, head_dim]
  std::int8_t* value = nullptr;           ///< [batch, kv_heads, key_length, value_dim]
  float* query_scale = nullptr;           ///< [batch, heads, query_length]
  float* key_scale = nullptr;             ///< [batch, kv_heads, key_length]
  float* value_scale = nullptr;           ///< same shape
  float* unit = nullptr;                  ///< [batch, heads, query_length]
  std::uint16_t* plane = nullptr;         ///< h, [batch, heads, query_length, key_length]
  std::int16_t* block_exponent = nullptr; ///< E, [batch, heads, query_length, blocks of 64 keys]; -1: dead
  std::int16_t* value_exponent = nullptr; ///< Z, same shape; -32768: the block adds nothing
  std::int16_t* shift = nullptr;          ///< t, same shape
  std::uint64_t* row_sum = nullptr;       ///< [batch, heads, query_length]
};

struct BlockAttentionArguments {
  std::size_t batch = 0, query_length = 0, key_length = 0; ///< each at least 1; at most 262,144 keys
  const std::uint32_t* key_lengths = nullptr;              ///< [batch], each 0 ... key_length; null: all of them
  /// [batch]: position of the first query; null: key_length - query_length. Any value within +-2^53.
  const std::int64_t* query_starts = nullptr;
  TensorView query;             ///< [batch, heads, query_length, head_dim]
  TensorView key;               ///< [batch, kv_heads, key_length, head_dim]
  TensorView value;             ///< [batch, kv_heads, key_length, value_dim]
  PairView<std::uint8_t> mask;  ///< 0: not seen
  PairView<float> bias;         ///< added to the logits; below 2^100, or -infinity: not seen
  OutputView output;            ///< [batch, heads, query_length, value_dim]; shares no memory with an input
  float* log_sum_exp = nullptr; ///< [batch, heads, query_length], -infinity for a row without a key
  const BlockIntermediates* intermediates = nullptr;
  Mean smooth_key = Mean::automatic; ///< automatic: as the options say
  Mean center_value = Mean::automatic;
  /// `key` and `value` are rows of a cache in memory of the caller: int8 with a scale per row, to which rotation and
  /// the offsets of the options were applied. Results are those of a `KvCache` with the same rows.
  bool rows_of_cache = false;
};

/// Attention over quantized caches, one for each batch item, of any lengths. Rotation, bits and offsets of keys and
/// values are theirs.
struct CachedAttentionArguments {
  std::size_t batch = 0, query_length = 0; ///< each at least 1
  TensorView query;                        ///< [batch, heads, query_length, head_dim]; int8 where nothing is rotated
  const KvCache* const* caches = nullptr;  ///< [batch], the same one may be there more than once
  /// [batch]: position of the first query; null: the last `query_length` positions of each cache. Within +-2^53.
  const std::int64_t* query_starts = nullptr;
  PairView<std::uint8_t> mask; ///< rows as long as the longest cache; 0: not seen
  PairView<float> bias;        ///< likewise; below 2^100, or -infinity: not seen
  OutputView output;           ///< [batch, heads, query_length, value_dim]; shares no memory with an input
  float* log_sum_exp = nullptr;
  /// `key_length` is that of the longest cache; what K and V are, a cache says itself.
  const BlockIntermediates* intermediates = nullptr;
};

/// Integer attention over any number of runs. Keeps its working memory; one run at a time per object. Results are the
/// same bits on every instruction set and executor.
class BlockAttention {
public:
  /// @return `invalid_argument` with a message that names the option, `out_of_memory`, or `ok` and the object
  static StatusMessage create(const BlockAttentionOptions& options,
                              std::unique_ptr<BlockAttention>* attention) noexcept;
  ~BlockAttention();
  BlockAttention(const BlockAttention&) = delete;
  BlockAttention& operator=(const BlockAttention&) = delete;

  /// On any status but `ok` the output is undefined.
  /// @param times may be null
  StatusMessage run(const BlockAttentionArguments& arguments, Executor& executor, StageTimes* times = nullptr) noexcept;

  StatusMessage run(const CachedAttentionArguments& arguments, Executor& executor,
                    StageTimes* times = nullptr) noexcept;

  /// Bytes of working memory held at present, inputs and outputs apart.
  std::size_t memory_bytes() const noexcept;

private:
  class State;
  explicit BlockAttention(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

} // namespace intattn
