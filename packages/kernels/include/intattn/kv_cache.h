#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "intattn/executor.h"
#include "intattn/instruction_set.h"
#include "intattn/status.h"
#include "intattn/tensor_view.h"

namespace intattn {

/// Most keys of a cache, as of any sequence.
constexpr std::size_t most_cached_keys = 262144;

/// What is fixed for the life of a `KvCache`. Arrays are copied.
struct KvCacheOptions {
  std::uint32_t kv_heads = 1;  ///< 1 ... 65536
  std::uint32_t head_dim = 64; ///< 1 ... 1024
  std::uint32_t value_dim = 0; ///< 1 ... 1024; 0 stands for `head_dim`
  bool rotate = true;
  unsigned key_bits = 8;               ///< 8, 7 or 4
  unsigned value_bits = 8;             ///< 8 or 4
  const float* key_offset = nullptr;   ///< [kv_heads, head_dim], subtracted from every key
  const float* value_offset = nullptr; ///< [kv_heads, value_dim], subtracted from every value, added to outputs
  InstructionSet isa = InstructionSet::scalar;
};

/// Where rows of a cache are copied to; every pointer may be null.
struct CachedRows {
  std::int8_t* key = nullptr;   ///< [kv_heads, count, head_dim]; of 4 bits the levels
  std::int8_t* value = nullptr; ///< [kv_heads, count, value_dim]
  float* key_scale = nullptr;   ///< [kv_heads, count]
  float* value_scale = nullptr; ///< same shape
};

/// Quantized keys and values of one sequence, section 4 of the numeric specification, version 2. What a row becomes
/// depends on nothing but itself and the offsets: however they came, the same rows give the same results.
///
/// Any number of threads may attend over a cache at the same time. What changes it is refused while a call is under
/// way, and calls are refused while it changes: `invalid_argument`, never a race.
class KvCache {
public:
  /// @return `invalid_argument` with a message that names the option, `out_of_memory`, or `ok` and an empty cache
  static StatusMessage create(const KvCacheOptions& options, std::unique_ptr<KvCache>* cache) noexcept;
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  /// Adds rows behind those that are there: all of them, or on any status but `ok` none.
  /// @param key [1, kv_heads, count, head_dim]: floats, or rows of int8 with their scales to which offset and rotation
  /// were applied, kept as they are; those only with 8 bits, or 7 for keys within +-63
  /// @param value [1, kv_heads, count, value_dim]
  StatusMessage append(std::size_t count, const TensorView& key, const TensorView& value, Executor& executor) noexcept;
  /// Drops the rows from `length` on, at most `length()`. Refused where the row before would see keys that were freed.
  StatusMessage truncate(std::size_t length) noexcept;
  /// A second cache with the same rows, in the same memory until one of them changes there.
  StatusMessage fork(std::unique_ptr<KvCache>* cache) const noexcept;
  /// Memory for so many keys altogether.
  StatusMessage reserve(std::size_t keys) noexcept;
  /// Gives back memory of keys that no row from the last position on sees any more: those before `window` and from
  /// `keep_first` on. Indices stay as they are.
  StatusMessage release(std::uint64_t window, std::uint64_t keep_first) noexcept;

  /// Copies rows [first, first + count), none of them freed.
  /// Scales of values have 15 bits, as attention uses them.
  StatusMessage read(std::size_t first, std::size_t count, const CachedRows& rows) const noexcept;
  /// Bytes that `save` writes.
  std::size_t saved_bytes() const noexcept;
  /// The cache as bytes, the same on every instruction set.
  StatusMessage save(unsigned char* bytes) const noexcept;
  /// @return `invalid_argument` for bytes that `save` did not write, or that have changed since
  static StatusMessage load(const unsigned char* bytes, std::size_t size, InstructionSet isa,
                            std::unique_ptr<KvCache>* cache) noexcept;

  /// Its arrays live as long as the cache; `value_dim` is settled.
  const KvCacheOptions& options() const noexcept;
  std::size_t length() const noexcept;
  /// Bytes of its pages, those that it shares included.
  std::size_t bytes() const noexcept;

  class State;
  /// For `BlockAttention`.
  const State& state() const noexcept { return *state_; }

private:
  explicit KvCache(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

} // namespace intattn
