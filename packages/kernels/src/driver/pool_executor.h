#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>

#include "driver/thread_pool.h"
#include "intattn/executor.h"

namespace intattn {

/// Our own threads: the calling one, and those of the process's pool that are free. Fewer than `threads()` take part
/// when others need them or the system grants no more. Tasks start in the order of their numbers and may run tasks of
/// their own.
class PoolExecutor final : public Executor {
public:
  /// @param threads at least 1
  explicit PoolExecutor(unsigned threads)
      : threads_(threads), pool_(threads > 1 ? ThreadPool::shared(threads) : nullptr) {}

  unsigned threads() const noexcept override { return threads_; }

  void parallel_for(std::size_t count, Task task, const void* context) noexcept override {
    if (!pool_ || count < 2) {
      for (std::size_t i = 0; i < count; ++i)
        task(context, i, 0u);
      return;
    }
    Job job(task, context, count, unsigned(std::min<std::size_t>(threads_, count)) - 1);
    pool_->run(job);
  }

private:
  const unsigned threads_;
  const std::shared_ptr<ThreadPool> pool_;
};

} // namespace intattn
