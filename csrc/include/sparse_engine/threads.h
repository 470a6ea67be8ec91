// The greatest number of threads of an operation, such as the quota of the process's control group
// (by default there is no limit), and the number of those that parallel regions start.
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

inline std::atomic<int>& threads_of_regions() {
  static std::atomic<int> threads{1};
  return threads;
}

// The threads that an operation may have, as the last one was told.
inline int region_threads() { return threads_of_regions().load(std::memory_order_relaxed); }

inline void set_region_threads(int threads) {
  threads_of_regions().store(threads, std::memory_order_relaxed);
}

}  // namespace sparse_engine
