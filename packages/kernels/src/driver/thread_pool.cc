#include "driver/thread_pool.h"

#include "driver/pool_executor.h"

#include <algorithm>
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

void Job::take_tasks(unsigned thread) {
  for (;;) {
    const std::size_t task = next_.fetch_add(1, std::memory_order_relaxed);
    if (task >= tasks_)
      return;
    function_(context_, task, thread);
  }
}

std::shared_ptr<ThreadPool> ThreadPool::shared(unsigned threads) {
  struct Process {
    std::mutex mutex;
    std::weak_ptr<ThreadPool> pool;
  };
  static Process& process = *new Process; // never destroyed: owners of the pool may outlive static objects
  std::lock_guard<std::mutex> lock(process.mutex);
  std::shared_ptr<ThreadPool> pool = process.pool.lock();
  if (!pool)
    process.pool = pool = std::make_shared<ThreadPool>();
  std::lock_guard<std::mutex> pool_lock(pool->mutex_);
  pool->limit_ = std::max<std::size_t>(pool->limit_, threads - 1);
  return pool;
}

ThreadPool::ThreadPool() : limit_(std::max(std::thread::hardware_concurrency(), 1u) - 1) {}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    vacancies_.store(1, std::memory_order_relaxed); // ends the spinning
  }
  wake_.notify_all();
  for (std::thread& worker : workers_)
    worker.join();
}

void ThreadPool::run(Job& job) {
  open(job);
  job.take_tasks(0);
  close(job);
  for (int i = 0; job.working_.load(std::memory_order_acquire) != 0; ++i) {
    if (i < spins)
      relax();
    else
      std::this_thread::yield();
  }
}

void ThreadPool::open(Job& job) {
  unsigned sleepers = 0;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    job.next_open_ = open_;
    open_ = &job;
    const unsigned vacancies = vacancies_.load(std::memory_order_relaxed) + job.helpers_;
    vacancies_.store(vacancies, std::memory_order_release);
    const unsigned awake = awake_.load(std::memory_order_relaxed);
    if (vacancies > awake) {
      sleepers = std::min(vacancies - awake, sleeping_);
      start_workers(vacancies - awake - sleepers);
    }
  }
  for (; sleepers > 0; --sleepers)
    wake_.notify_one();
}

void ThreadPool::start_workers(unsigned wanted) {
  try {
    for (; wanted > 0 && workers_.size() < limit_; --wanted) {
      workers_.emplace_back([this] { work(); });
      awake_.fetch_add(1, std::memory_order_relaxed);
    }
  } catch (const std::exception&) {
    limit_ = workers_.size(); // Fewer compute the same, only later.
  }
}

/// Takes a job off the list, if it is still there.
void ThreadPool::close(Job& job) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (Job** link = &open_; *link; link = &(*link)->next_open_) {
    if (*link != &job)
      continue;
    *link = job.next_open_;
    vacancies_.fetch_sub(job.helpers_ - job.joined_, std::memory_order_relaxed);
    return;
  }
}

/// A place at the job that has the fewest helpers, or null; under the mutex.
Job* ThreadPool::join(unsigned* thread) {
  Job** chosen = nullptr;
  for (Job** link = &open_; *link;) {
    Job& job = **link;
    if (job.exhausted()) {
      *link = job.next_open_;
      vacancies_.fetch_sub(job.helpers_ - job.joined_, std::memory_order_relaxed);
      continue;
    }
    if (!chosen || job.joined_ < (*chosen)->joined_)
      chosen = link;
    link = &job.next_open_;
  }
  if (!chosen)
    return nullptr;
  Job& job = **chosen;
  vacancies_.fetch_sub(1, std::memory_order_relaxed);
  job.working_.fetch_add(1, std::memory_order_relaxed);
  *thread = ++job.joined_;
  if (job.joined_ == job.helpers_)
    *chosen = job.next_open_;
  return &job;
}

void ThreadPool::work() {
  int patience = spins;
  for (;;) {
    for (; patience > 0 && vacancies_.load(std::memory_order_acquire) == 0; --patience)
      relax();
    std::unique_lock<std::mutex> lock(mutex_);
    unsigned thread;
    Job* job = join(&thread);
    if (!job) {
      if (stop_)
        return;
      if (patience > 0)
        continue; // others were quicker
      awake_.fetch_sub(1, std::memory_order_relaxed);
      ++sleeping_;
      wake_.wait(lock);
      --sleeping_;
      awake_.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    awake_.fetch_sub(1, std::memory_order_relaxed);
    lock.unlock();
    job->take_tasks(thread);
    patience = spins;
    // In this order: the caller, once it waits no longer, may share the next stage at once.
    awake_.fetch_add(1, std::memory_order_relaxed);
    job->working_.fetch_sub(1, std::memory_order_release);
  }
}

std::unique_ptr<Executor> make_executor(unsigned threads) { return std::make_unique<PoolExecutor>(threads); }

} // namespace intattn
