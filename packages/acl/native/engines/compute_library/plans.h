#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

namespace intattn::compute_library {

/// Operators configured for the shapes met last; configuring costs more than a short run. `Plan` has `packed_bytes`:
/// what its operators hold for themselves, mostly packed operands.
template <class Plan> class Plans {
public:
  /// Keeps at least as many plans as one run needs, so that it finds them again, as far as `max_bytes` allow.
  void make_room(std::size_t plans) { capacity_ = std::max(usual_capacity, plans); }

  /// The plan for `rows` rows of scores of `keys` keys, which `make()` makes when it is not there.
  template <class Make> Plan& get(std::size_t rows, std::size_t keys, const Make& make) {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.rows == rows && entry.keys == keys; });
    if (found != entries_.end()) {
      std::rotate(entries_.begin(), found, found + 1);
      return *entries_.front().plan;
    }
    entries_.insert(entries_.begin(), Entry{rows, keys, make()});
    while (entries_.size() > capacity_ || (entries_.size() > usual_capacity && memory_bytes() > max_bytes))
      entries_.pop_back();
    return *entries_.front().plan;
  }

  std::size_t memory_bytes() const {
    std::size_t bytes = 0;
    for (const Entry& entry : entries_)
      bytes += entry.plan->packed_bytes;
    return bytes;
  }

private:
  static constexpr std::size_t usual_capacity = 4;
  static constexpr std::size_t max_bytes = std::size_t{64} << 20; ///< from more plans than usual
  struct Entry {
    std::size_t rows, keys;
    std::unique_ptr<Plan> plan;
  };
  std::size_t capacity_ = usual_capacity;
  std::vector<Entry> entries_; // most recent first
};

} // namespace intattn::compute_library
