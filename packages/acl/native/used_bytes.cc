#include "used_bytes.h"

#include <algorithm>

namespace intattn::addon {

/// One piece after the other.
class UsedBytes::Pieces {
public:
  explicit Pieces(const UsedBytes& of) : of_(of), begin_(of.begin_) {}

  std::uintptr_t begin() const { return begin_; }
  std::uintptr_t end() const { return begin_ + of_.length_; }

  bool next() {
    for (std::size_t axis = 0; axis < of_.axes_.size(); ++axis) {
      begin_ += of_.axes_[axis].stride;
      if (++at_[axis] < of_.axes_[axis].count)
        return true;
      begin_ -= of_.axes_[axis].stride * of_.axes_[axis].count;
      at_[axis] = 0;
    }
    return false;
  }

private:
  const UsedBytes& of_;
  std::uintptr_t begin_;
  std::size_t at_[3] = {};
};

UsedBytes::UsedBytes(const void* data, std::size_t element_bytes, const Layout& layout)
    : begin_(reinterpret_cast<std::uintptr_t>(data)), length_(layout.dim * element_bytes), reach_(length_) {
  for (int i = 0; i < 3; ++i)
    if (layout.counts[i] > 1)
      axes_.push_back({layout.counts[i], layout.strides[i] * element_bytes});
  std::sort(axes_.begin(), axes_.end(), [](const Axis& a, const Axis& b) { return a.stride < b.stride; });
  std::size_t solid = 0; // axes whose pieces touch
  bool nested = true;
  for (std::size_t i = 0; i < axes_.size(); ++i) {
    const bool touches = solid == i && axes_[i].stride <= length_;
    nested = nested && (touches || solid == i || axes_[i].stride >= reach_);
    reach_ += (axes_[i].count - 1) * axes_[i].stride;
    if (touches)
      length_ = reach_, ++solid;
  }
  axes_.erase(axes_.begin(), axes_.begin() + std::ptrdiff_t(solid));
  if (nested)
    return;
  // Pieces of one axis lie among those of another: taken as everything between the first and the last.
  axes_.clear();
  length_ = reach_;
}

bool UsedBytes::overlaps(const UsedBytes& other) const {
  if (begin_ >= other.begin_ + other.reach_ || other.begin_ >= begin_ + reach_)
    return false;
  Pieces a(*this), b(other);
  for (;;) {
    if (a.begin() < b.end() && b.begin() < a.end())
      return true;
    if (!(a.end() <= b.begin() ? a : b).next())
      return false;
  }
}

} // namespace intattn::addon
