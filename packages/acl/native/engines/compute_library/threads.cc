#include "engines/compute_library/threads.h"

#include <algorithm>
#include <vector>

#include "arm_compute/runtime/Scheduler.h"

namespace intattn::compute_library {
namespace {

std::mutex& pool_mutex() {
  static std::mutex& mutex = *new std::mutex; // never destroyed: threads may outlive the destructors that run at exit
  return mutex;
}

} // namespace

Threads::Threads(unsigned count) : lock_(pool_mutex()), count_(count) {
  arm_compute::IScheduler& scheduler = arm_compute::Scheduler::get();
  if (scheduler.num_threads() == count)
    return;
  try {
    scheduler.set_num_threads(count);
  } catch (...) {
    scheduler.set_num_threads(1); // the pool counts threads that it could not start
    throw;
  }
}

void Threads::for_parts(std::size_t items, std::size_t grain,
                        const std::function<void(std::size_t, std::size_t)>& work) {
  const std::size_t grains = (items + grain - 1) / grain, parts = std::min<std::size_t>(grains, count_);
  if (parts <= 1) {
    if (items > 0)
      work(0, items);
    return;
  }
  std::vector<arm_compute::IScheduler::Workload> workloads;
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t begin = grains * part / parts * grain, end = std::min(items, grains * (part + 1) / parts * grain);
    workloads.emplace_back([&work, begin, end](const arm_compute::ThreadInfo&) { work(begin, end); });
  }
  arm_compute::Scheduler::get().run_tagged_workloads(workloads, "intattn");
}

} // namespace intattn::compute_library
