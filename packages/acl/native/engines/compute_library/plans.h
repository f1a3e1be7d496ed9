#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace intattn::compute_library {

/// Operators configured for the shapes met last; configuring costs more than a short run.
template <class Plan> class Plans {
public:
  /// The plan for `rows` rows of scores of `keys` keys, which `make()` makes when it is not there.
  template <class Make> Plan& get(std::size_t rows, std::size_t keys, const Make& make) {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.rows == rows && entry.keys == keys; });
    if (found != entries_.end()) {
      std::rotate(entries_.begin(), found, found + 1);
    } else {
      if (entries_.size() == capacity)
        entries_.pop_back();
      entries_.insert(entries_.begin(), Entry{rows, keys, make()});
    }
    return *entries_.front().plan;
  }

  /// What the operators hold for themselves, mostly packed operands.
  std::size_t memory_bytes() const {
    std::size_t bytes = 0;
    for (const Entry& entry : entries_)
      bytes += entry.plan->memory_bytes();
    return bytes;
  }

private:
  static constexpr std::size_t capacity = 4;
  struct Entry {
    std::size_t rows, keys;
    std::unique_ptr<Plan> plan;
  };
  std::vector<Entry> entries_; // most recent first
};

} // namespace intattn::compute_library
