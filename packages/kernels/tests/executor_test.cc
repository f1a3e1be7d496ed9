#include "driver/pool_executor.h"

#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <filesystem>
#endif

#include "intattn/attention.h"
#include "random.h"

namespace intattn::test {
namespace {

/// Runs jobs on an executor of its own, and in some of their tasks the same one level down.
/// @return tasks that did not run once, or that ran on a thread number that was out of range or taken.
std::size_t faults_of_jobs(std::uint32_t seed, int depth) {
  Random random(seed);
  PoolExecutor executor(unsigned(random.between(1, 5)));
  std::atomic<std::size_t> faults{0};
  for (int round = 0; round < 10; ++round) {
    std::vector<std::atomic<int>> runs(random.between(0, 40)), taken(executor.threads());
    executor.run(runs.size(), [&](std::size_t task, unsigned thread) {
      if (thread >= executor.threads() || taken[thread].fetch_add(1) != 0) {
        ++faults;
        return;
      }
      ++runs[task];
      if (depth > 0 && task % 16 == 3)
        faults += faults_of_jobs(seed + std::uint32_t(task) + 1, depth - 1);
      --taken[thread];
    });
    for (const std::atomic<int>& count : runs)
      faults += count != 1;
  }
  return faults;
}

/// Whether a condition comes true within a time that no machine needs.
template <class F> bool becomes(const F& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition() && std::chrono::steady_clock::now() < end)
    std::this_thread::yield();
  return condition();
}

TEST(Executor, EveryTaskRunsOnceWhoeverElseRunsTasks) {
  std::vector<std::thread> threads;
  std::atomic<std::size_t> faults{0};
  for (std::uint32_t i = 0; i < 6; ++i)
    threads.emplace_back([&, i] { faults += faults_of_jobs(1000 * i, 2); });
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(faults, 0u);
}

TEST(Executor, ThreadsWorkAtTheSameTime) {
  constexpr unsigned count = 3;
  PoolExecutor executor(count);
  std::atomic<unsigned> arrived{0}, met{0};
  executor.run(count, [&](std::size_t, unsigned) {
    ++arrived;
    met += becomes([&] { return arrived == count; });
  });
  EXPECT_EQ(met, count);
}

#if defined(__linux__)
std::size_t threads_of_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::size_t(std::distance(begin(tasks), end(tasks)));
}

TEST(Executor, ObjectsShareThreads) {
  AttentionOptions options;
  options.heads = options.kv_heads = 3;
  options.head_dim = 8;
  options.threads = 3;
  const std::size_t length = 8, size = options.heads * length * options.head_dim;
  std::vector<float> input = Random(7).normals(size), output(size);
  AttentionArguments arguments;
  arguments.batch = 1;
  arguments.query_length = arguments.key_length = length;
  arguments.query.data = arguments.key.data = arguments.value.data = input.data();
  arguments.output = output.data();

  std::thread([] {}).join(); // a sanitizer may start one of its own with the first
  const std::size_t before = threads_of_process();
  std::vector<std::unique_ptr<Attention>> objects;
  for (int i = 0; i < 200; ++i) {
    objects.push_back(std::make_unique<Attention>(options));
    ASSERT_EQ(objects.back()->run(arguments, nullptr), Status::ok);
  }
  // The system may list a thread for a moment after it has ended.
  EXPECT_TRUE(becomes([&] { return threads_of_process() <= before + options.threads - 1; })) << threads_of_process();
  objects.clear();
  EXPECT_TRUE(becomes([&] { return threads_of_process() <= before; })) << threads_of_process();
}
#endif

} // namespace
} // namespace intattn::test
