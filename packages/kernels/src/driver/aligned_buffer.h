#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace intattn {

/// Memory aligned to cache lines that only grows; its contents do not survive growing.
class AlignedBuffer {
public:
  AlignedBuffer() = default;
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { std::free(data_); }

  /// @return false when there is not enough memory; the buffer is then empty.
  bool reserve(std::size_t bytes) {
    if (bytes <= size_)
      return true;
    std::free(data_);
    size_ = (bytes + alignment - 1) / alignment * alignment;
    data_ = std::aligned_alloc(alignment, size_);
    if (!data_)
      size_ = 0;
    return data_ != nullptr;
  }

  std::size_t size() const { return size_; }
  template <class T = unsigned char> T* as() { return static_cast<T*>(data_); }

private:
  static constexpr std::size_t alignment = 64;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Hands out parts of one buffer: first counts with a null base, then places.
class Layout {
public:
  explicit Layout(unsigned char* base) : base_(reinterpret_cast<std::uintptr_t>(base)) {}
  template <class T> T* take(std::size_t count) {
    T* part = reinterpret_cast<T*>(base_ + used_);
    used_ += (count * sizeof(T) + 63) / 64 * 64;
    return part;
  }
  std::size_t used() const { return used_; }

private:
  std::uintptr_t base_;
  std::size_t used_ = 0;
};

} // namespace intattn
