#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace intattn::addon {

/// A [batch, heads, length, dim] tensor in a typed array; strides count elements, rows are contiguous.
struct Layout {
  std::size_t counts[3]; ///< batch, heads, length
  std::size_t strides[3];
  std::size_t dim;
};

/// The bytes that a tensor uses: pieces of equal length, ascending.
class UsedBytes {
public:
  UsedBytes(const void* data, std::size_t element_bytes, const Layout& layout);

  bool overlaps(const UsedBytes& other) const;

private:
  struct Axis {
    std::size_t count, stride;
  };
  class Pieces;

  std::uintptr_t begin_;
  std::size_t length_;     ///< of a piece
  std::size_t reach_;      ///< from the first byte to the last
  std::vector<Axis> axes_; ///< from the innermost to the outermost, each beyond the reach of what is within
};

} // namespace intattn::addon
