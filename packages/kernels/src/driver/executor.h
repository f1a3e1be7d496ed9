#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>

#include "driver/thread_pool.h"

namespace intattn {

/// Runs tasks on a limited number of threads: the calling one, and those of the process's pool that are free.
class Executor {
public:
  /// @param threads at least 1
  explicit Executor(unsigned threads) : size_(threads), pool_(threads > 1 ? ThreadPool::shared(threads) : nullptr) {}

  /// The most threads that take part, the caller included; fewer when others need them or the system grants no more.
  unsigned size() const { return size_; }

  /// Calls f(task, thread) for every task in [0, tasks) and returns when all are done; thread in [0, size()), 0 is the
  /// caller, and calls at the same time have different ones. `f` must not throw; it may run tasks of its own. Tasks
  /// start in the order of their numbers.
  template <class F> void run(std::size_t tasks, const F& f) const {
    if (!pool_ || tasks < 2) {
      for (std::size_t task = 0; task < tasks; ++task)
        f(task, 0u);
      return;
    }
    Job job(
        [](const void* context, std::size_t task, unsigned thread) { (*static_cast<const F*>(context))(task, thread); },
        &f, tasks, unsigned(std::min<std::size_t>(size_, tasks)) - 1);
    pool_->run(job);
  }

private:
  const unsigned size_;
  const std::shared_ptr<ThreadPool> pool_;
};

} // namespace intattn
