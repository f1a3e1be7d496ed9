#pragma once

#include <atomic>

#include "intattn/attention.h"

namespace intattn {

/// How a run stands that several threads work on: the first failure is the one that is told.
class RunStatus {
public:
  void fail(Status status) {
    Status none = Status::ok;
    status_.compare_exchange_strong(none, status, std::memory_order_relaxed);
  }
  bool failed() const { return status() != Status::ok; }
  Status status() const { return status_.load(std::memory_order_relaxed); }

private:
  std::atomic<Status> status_{Status::ok};
};

} // namespace intattn
