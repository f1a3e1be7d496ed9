#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

namespace intattn {

/// Workers that share out numbered tasks with the calling thread. They sleep between runs and spin briefly within one.
class ThreadPool {
public:
  /// For `threads` threads, the caller included. Workers start with the first work that can be shared.
  explicit ThreadPool(unsigned threads) : size_(threads) {}
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// The most threads that take part, the caller included; fewer when the system grants no more.
  unsigned size() const { return size_; }

  /// Calls f(task, thread) for every task in [0, tasks) and returns when all are done; thread in [0, size()), 0 is the
  /// caller. `f` must not throw. Tasks start in the order of their numbers.
  template <class F> void run(std::size_t tasks, const F& f) {
    if (size_ < 2 || tasks < 2) {
      for (std::size_t task = 0; task < tasks; ++task)
        f(task, 0u);
      return;
    }
    share(
        [](const void* context, std::size_t task, unsigned thread) { (*static_cast<const F*>(context))(task, thread); },
        &f, tasks);
  }

private:
  using Function = void (*)(const void*, std::size_t, unsigned);

  void start_workers();
  void share(Function function, const void* context, std::size_t tasks);
  void work(unsigned thread);
  void take_tasks(unsigned thread);

  const unsigned size_;
  bool started_ = false;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> round_{0};
  bool stop_ = false;

  // The round under way. Whoever takes `remaining_` from a positive value owns a task, and the round lasts until its
  // task is done: a worker that wakes up late finds nothing left, of this round or the last, and nobody waits for it.
  Function function_ = nullptr;
  const void* context_ = nullptr;
  std::ptrdiff_t tasks_ = 0;
  std::atomic<std::ptrdiff_t> remaining_{0};
  std::atomic<std::ptrdiff_t> done_{0};
};

} // namespace intattn
