#pragma once

#include <cstddef>
#include <memory>

namespace intattn {

/// Shares numbered tasks out over threads: our own pool, or that of a host which embeds the kernels.
class Executor {
public:
  using Task = void (*)(const void* context, std::size_t task, unsigned thread);

  virtual ~Executor() = default;
  /// The most threads that take part at the same time, the caller included; at least 1.
  virtual unsigned threads() const noexcept = 0;
  /// Calls `task(context, i, thread)` once for every i in [0, count) and returns when all are done. `thread` is below
  /// `threads()` and no two calls at the same time have the same one. Tasks do not throw.
  virtual void parallel_for(std::size_t count, Task task, const void* context) noexcept = 0;

  template <class F> void run(std::size_t count, const F& f) noexcept {
    parallel_for(
        count,
        [](const void* context, std::size_t task, unsigned thread) { (*static_cast<const F*>(context))(task, thread); },
        &f);
  }
};

/// Our own threads: the calling one, and workers that all objects of the process share.
/// @param threads at least 1
std::unique_ptr<Executor> make_executor(unsigned threads);

} // namespace intattn
