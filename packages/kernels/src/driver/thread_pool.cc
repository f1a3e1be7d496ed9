#include "driver/thread_pool.h"

#include <system_error>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace intattn {
namespace {

/// About 20 microseconds: the gap between two stages of a run, far less than that between two runs.
constexpr int spins = 1000;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

} // namespace

ThreadPool::ThreadPool(unsigned threads) {
  workers_.reserve(threads - 1);
  try {
    for (unsigned i = 1; i < threads; ++i)
      workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error&) {
    // Fewer workers compute the same, only later.
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    round_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_)
    worker.join();
}

void ThreadPool::share(Function function, const void* context, std::size_t tasks) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    function_ = function;
    context_ = context;
    tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(unsigned(workers_.size()), std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  take_tasks(0);
  for (int i = 0; busy_.load(std::memory_order_acquire) != 0; ++i) {
    if (i < spins)
      relax();
    else
      std::this_thread::yield();
  }
}

void ThreadPool::take_tasks(unsigned thread) {
  for (;;) {
    const std::size_t task = next_.fetch_add(1, std::memory_order_relaxed);
    if (task >= tasks_)
      return;
    function_(context_, task, thread);
  }
}

void ThreadPool::work(unsigned thread) {
  unsigned seen = 0;
  for (;;) {
    for (int i = 0; i < spins && round_.load(std::memory_order_acquire) == seen; ++i)
      relax();
    if (round_.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return round_.load(std::memory_order_relaxed) != seen; });
    }
    seen = round_.load(std::memory_order_acquire);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stop_)
        return;
    }
    take_tasks(thread);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

} // namespace intattn
