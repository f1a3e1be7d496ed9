#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "block/rows.h"
#include "block/visibility.h"
#include "cache/page_format.h"
#include "intattn/kv_cache.h"

namespace intattn {

class KvCache::State {
public:
  /// @param options checked, `value_dim` settled
  explicit State(const KvCacheOptions& options);
  /// With the rows of another.
  State(const State& other);
  State& operator=(const State&) = delete;

  const KvCacheOptions& options() const { return options_; }
  const PageFormat& format() const { return *format_; }
  std::size_t length() const { return length_; }
  std::size_t bytes() const;

  /// Null where its keys were freed.
  const Page* page(std::size_t segment) const { return pages_[segment].get(); }
  bool holds(Range keys) const;
  /// Padded, of one head; null where there is none.
  const float* value_offset(std::size_t head) const { return offset_of(value_, head); }

  StatusMessage append(std::size_t count, const TensorView& key, const TensorView& value, Executor& executor);
  StatusMessage truncate(std::size_t length);
  StatusMessage reserve(std::size_t keys);
  void release(std::uint64_t window, std::uint64_t keep_first);
  void read(std::size_t first, std::size_t count, const CachedRows& rows) const;

  std::size_t saved_bytes() const;
  void save(unsigned char* bytes) const;
  /// Takes the place of an empty cache; the header was read and found sound.
  StatusMessage restore(const unsigned char* bytes, std::size_t size);

  /// Any number of readers, or one that changes it.
  bool begin_reading() const;
  void end_reading() const { users_.fetch_sub(1, std::memory_order_release); }
  bool begin_changing() const;
  void end_changing() const { users_.store(0, std::memory_order_release); }

private:
  struct OfSide {
    std::size_t dim;
    RowFormat format;
    Rotation rotation;
    std::vector<float> given, padded; ///< offsets; empty where there are none
  };
  /// Quantized rows that are not in the cache yet.
  struct Staged {
    std::vector<std::int8_t> key, value;       ///< [kv_heads, count, dim]
    std::vector<float> key_scale, value_scale; ///< [kv_heads, count]
  };

  static const float* offset_of(const OfSide& side, std::size_t head) {
    return side.padded.empty() ? nullptr : side.padded.data() + head * round_up(side.dim, float_padding);
  }
  Status quantize(Staged& staged, std::size_t count, const TensorView& key, const TensorView& value,
                  Executor& executor) const;
  /// Pages of its own, and large enough, for keys from `first` up to `end`.
  bool own(std::size_t first, std::size_t end);
  void write(const Staged& staged, std::size_t count, std::size_t head, std::size_t block, std::int8_t* work) const;

  KvCacheOptions options_; ///< its arrays are those of this object
  const Kernels& kernels_;
  const BlockKernels& block_;
  OfSide key_, value_;
  std::shared_ptr<const PageFormat> format_;
  std::vector<PageReference> pages_;
  std::size_t length_ = 0;
  std::uint64_t window_ = 0; ///< the widest whose hidden keys were freed; 0: none
  mutable std::atomic<int> users_{0};
};

/// What the header of a saved cache says, arrays apart, unless the bytes are not one or have changed.
StatusMessage saved_options(const unsigned char* bytes, std::size_t size, KvCacheOptions* options);

} // namespace intattn
