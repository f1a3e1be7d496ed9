#pragma once

#include <cstddef>
#include <functional>
#include <mutex>

namespace intattn::compute_library {

/// The library's pool of threads, of which a process has one: whoever holds this object has it for itself.
class Threads {
public:
  /// Waits for the pool. Throws std::system_error when the threads cannot be started.
  explicit Threads(unsigned count);

  unsigned count() const { return count_; }

  /// Calls `work(begin, end)` for parts of [0, items), on all threads; parts begin at multiples of `grain`. What the
  /// work throws is thrown here.
  void for_parts(std::size_t items, std::size_t grain, const std::function<void(std::size_t, std::size_t)>& work);

private:
  std::lock_guard<std::mutex> lock_;
  unsigned count_;
};

} // namespace intattn::compute_library
