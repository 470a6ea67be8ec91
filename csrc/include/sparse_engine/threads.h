// The greatest number of threads of an operation, such as the quota of the process's control group.
// By default there is no limit.
#pragma once

#include <atomic>
#include <limits>

namespace sparse_engine {

inline std::atomic<int>& thread_limit() {
  static std::atomic<int> limit{std::numeric_limits<int>::max()};
  return limit;
}

inline int most_threads() { return thread_limit().load(std::memory_order_relaxed); }

inline void set_most_threads(int threads) {
  thread_limit().store(threads, std::memory_order_relaxed);
}

}  // namespace sparse_engine
