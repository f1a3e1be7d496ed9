#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "block/key_values.h"

namespace intattn {

/// Rows of int8 and blocks of 64 of them as a table of products packs them.
class BlockLayout {
public:
  BlockLayout(const BlockProducts& products, Side side, std::size_t dim);

  std::size_t dim() const { return dim_; }
  /// Bytes of a packed block.
  std::size_t bytes() const { return bytes_; }
  /// From row to row, where blocks of rows are handed over: zeros follow the channels.
  std::size_t stride() const { return stride_; }

  /// Rows [first, first + count) of a block.
  void read(const unsigned char* packed, std::size_t first, std::size_t count, std::int8_t* rows,
            std::size_t stride) const;
  /// Others stay as they are.
  /// @param work [block_keys][stride()]
  void write(const std::int8_t* rows, std::size_t stride, std::size_t first, std::size_t count, unsigned char* packed,
             std::int8_t* work) const;

private:
  using Pack = void (*)(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed);

  const Pack pack_;
  const std::size_t dim_, stride_, bytes_, number_bytes_;
  const std::uint8_t even_flip_;
  const BlockProducts::RowWritten row_written_;
  std::vector<std::uint32_t> places_; ///< [block_keys][dim]
};

/// How the pages of a cache lie in memory. A page is a segment of one sequence, with all its KV heads; while it is the
/// last one, it grows by whole blocks.
class PageFormat {
public:
  PageFormat(const BlockKernels& kernels, std::size_t kv_heads, std::size_t head_dim, std::size_t value_dim);

  const BlockProducts& products; ///< whose blocks these are
  const std::size_t kv_heads;
  const BlockLayout key, value;
  std::uint8_t position_of[block_keys]; ///< where in `ValueScales` a key stands

  std::size_t bytes(std::size_t blocks) const { return kv_heads * head_bytes(blocks); }

private:
  friend class Page;
  std::size_t key_scale_at(std::size_t blocks) const { return lines(blocks * key.bytes()); }
  std::size_t values_at(std::size_t blocks) const { return key_scale_at(blocks) + blocks * block_keys * sizeof(float); }
  std::size_t scales_at(std::size_t blocks) const { return values_at(blocks) + lines(blocks * value.bytes()); }
  std::size_t head_bytes(std::size_t blocks) const { return scales_at(blocks) + lines(blocks * sizeof(ValueScales)); }
  static std::size_t lines(std::size_t bytes) { return (bytes + 63) / 64 * 64; }
};

/// The table whose packed blocks caches keep: its numbers are bytes where the instruction set has such a table.
const BlockProducts& page_products(const BlockKernels& kernels, std::size_t head_dim);

class PageReference;

/// Memory of the first blocks of a segment.
class Page {
public:
  struct Head {
    unsigned char* keys;
    float* key_scale;
    unsigned char* values;
    ValueScales* scales;
  };

  /// Without any key. @return none where there is no memory
  static PageReference make(const PageFormat& format, std::size_t blocks);
  /// A page of at least as many blocks that holds the same. @return none where there is no memory
  PageReference copy(const PageFormat& format, std::size_t blocks) const;

  std::size_t blocks() const { return blocks_; }
  Head head(const PageFormat& format, std::size_t head) const;

  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;

private:
  friend class PageReference;
  Page(std::size_t blocks, unsigned char* memory) : blocks_(blocks), memory_(memory) {}
  ~Page();

  const std::size_t blocks_;
  unsigned char* const memory_;
  std::atomic<std::size_t> references_{1};
};

/// A page that caches share, or none. `std::shared_ptr` cannot say that it is the last one in a way that puts what
/// other threads read before they let go ahead of what is written then.
class PageReference {
public:
  PageReference() = default;
  PageReference(const PageReference& other) : page_(other.page_) {
    if (page_)
      page_->references_.fetch_add(1, std::memory_order_relaxed);
  }
  PageReference(PageReference&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  PageReference& operator=(PageReference other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~PageReference() {
    if (page_ && page_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete page_;
  }

  explicit operator bool() const { return page_ != nullptr; }
  Page* operator->() const { return page_; }
  const Page* get() const { return page_; }
  /// Whether the page may be written: nothing else refers to it, nor reads it any more.
  bool only() const { return page_->references_.load(std::memory_order_acquire) == 1; }

private:
  friend class Page;
  explicit PageReference(Page* page) : page_(page) {}

  Page* page_ = nullptr;
};

} // namespace intattn
