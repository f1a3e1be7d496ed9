#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace intattn {

/// Tasks [0, tasks), each taken once, in the order of their numbers, by whichever thread comes first.
class Job {
public:
  /// `thread` is 0 for the caller, and no two threads have the same.
  using Function = void (*)(const void* context, std::size_t task, unsigned thread);

  /// @param helpers most threads that work on it beside the caller
  Job(Function function, const void* context, std::size_t tasks, unsigned helpers)
      : function_(function), context_(context), tasks_(tasks), helpers_(helpers) {}

private:
  friend class ThreadPool;

  bool exhausted() const { return next_.load(std::memory_order_relaxed) >= tasks_; }
  void take_tasks(unsigned thread);

  const Function function_;
  const void* const context_;
  const std::size_t tasks_;
  const unsigned helpers_;
  std::atomic<std::size_t> next_{0};
  std::atomic<unsigned> working_{0}; ///< helpers at work

  // Guarded by the mutex of the pool.
  unsigned joined_ = 0;      ///< helpers so far
  Job* next_open_ = nullptr; ///< in the pool's list
};

/// The worker threads of this process: they help whoever has tasks to share. They sleep while there are none and spin
/// briefly before, so that stages and runs in a row find them awake.
///
/// There are as many as were of use at one time, but no more than the machine runs, or than the most that one caller
/// asked for. They end with the last owner of the pool. Nothing is left to be destroyed when the process ends.
class ThreadPool {
public:
  /// @param threads most threads of one job, its caller included
  static std::shared_ptr<ThreadPool> shared(unsigned threads);

  ThreadPool();
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Works on a job until all its tasks are done, with the help of workers that are free. Any number of threads may
  /// call this at the same time, and so may tasks: a caller waits only for tasks that others are at work on.
  void run(Job& job);

private:
  void open(Job& job);
  void close(Job& job);
  Job* join(unsigned* thread);
  void start_workers(unsigned wanted);
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
  std::size_t limit_; ///< of workers
  bool stop_ = false;
  unsigned sleeping_ = 0;
  Job* open_ = nullptr; ///< jobs with vacancies

  /// Helpers that the open jobs still take; changed under the mutex, watched by workers that spin.
  std::atomic<unsigned> vacancies_{0};
  /// Workers without a job that will look for one before they sleep.
  std::atomic<unsigned> awake_{0};
};

} // namespace intattn
