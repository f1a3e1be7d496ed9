#pragma once

#include "driver/thread_pool.h"
#include "intattn/executor.h"

namespace intattn {

/// Our own threads.
class PoolExecutor final : public Executor {
public:
  explicit PoolExecutor(unsigned threads) : pool_(threads) {}

  unsigned threads() const noexcept override { return pool_.size(); }
  void parallel_for(std::size_t count, Task task, const void* context) noexcept override {
    pool_.run(count, [&](std::size_t i, unsigned thread) { task(context, i, thread); });
  }

private:
  ThreadPool pool_;
};

} // namespace intattn
