// A team of threads that works through one parallel region together.
#pragma once

#include <omp.h>

#include <cstdint>

namespace sparse_engine {
namespace {

struct Team {
  int rank;
  int size;

  void barrier() const {
    if (size > 1) {
#pragma omp barrier
    }
  }

  // This member's share of [0, count), in whole multiples of `grain`.
  int64_t first(int64_t count, int64_t grain = 1) const { return bound(rank, count, grain); }
  int64_t last(int64_t count, int64_t grain = 1) const { return bound(rank + 1, count, grain); }

 private:
  int64_t bound(int member, int64_t count, int64_t grain) const {
    const int64_t pieces = (count + grain - 1) / grain;
    const int64_t at = pieces * member / size * grain;
    return at < count ? at : count;
  }
};

// Runs body(team) on `threads` threads, or right here when there is one.
template <class Body>
inline void run_team(int threads, const Body& body) {
  if (threads <= 1) {
    body(Team{0, 1});
    return;
  }
#pragma omp parallel num_threads(threads)
  body(Team{omp_get_thread_num(), omp_get_num_threads()});
}

// How many threads pay for `work` multiply-adds between two barriers: a thread must save more
// than a barrier costs, about a microsecond.
inline int useful_threads(int threads, int64_t work) {
  constexpr int64_t kWorkPerThread = 32 * 1024;
  const int64_t useful = 1 + work / kWorkPerThread;
  return static_cast<int>(useful < threads ? useful : threads);
}

}  // namespace
}  // namespace sparse_engine
