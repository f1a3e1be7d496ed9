#include "driver/thread_pool.h"

#include <exception>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace intattn {
namespace {

/// About 200 microseconds: bridges the gaps between stages and between runs in a row, where waking a sleeping thread
/// would take longer than a short run lasts, and still leaves the core soon after the last run.
constexpr int spins = 8000;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

} // namespace

void ThreadPool::start_workers() {
  started_ = true;
  try {
    workers_.reserve(size_ - 1);
    for (unsigned i = 1; i < size_; ++i)
      workers_.emplace_back([this, i] { work(i); });
  } catch (const std::exception&) {
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
  if (!started_)
    start_workers();
  function_ = function;
  context_ = context;
  tasks_ = std::ptrdiff_t(tasks);
  done_.store(0, std::memory_order_relaxed);
  remaining_.store(tasks_, std::memory_order_release);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    round_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  take_tasks(0);
  for (int i = 0; done_.load(std::memory_order_acquire) != tasks_; ++i) {
    if (i < spins)
      relax();
    else
      std::this_thread::yield();
  }
}

void ThreadPool::take_tasks(unsigned thread) {
  for (;;) {
    const std::ptrdiff_t left = remaining_.fetch_sub(1, std::memory_order_acq_rel);
    if (left <= 0)
      return;
    function_(context_, std::size_t(tasks_ - left), thread);
    done_.fetch_add(1, std::memory_order_release);
  }
}

void ThreadPool::work(unsigned thread) {
  unsigned seen = 0;
  for (;;) {
    for (int i = 0; i < spins && round_.load(std::memory_order_acquire) == seen; ++i)
      relax();
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return round_.load(std::memory_order_relaxed) != seen; });
      seen = round_.load(std::memory_order_relaxed);
      if (stop_)
        return;
    }
    take_tasks(thread);
  }
}

} // namespace intattn
