// A team of threads that works through one parallel region together.
#pragma once

#include <omp.h>
#include <sched.h>

#include <atomic>
#include <cstdint>

namespace sparse_engine {
namespace {

// Where the members of a team wait for each other, many times. They spin only as long as steps of
// equal work differ, and then give their processor away: OpenMP's own barrier spins for up to a
// millisecond, and next to another busy process every step would cost one of the scheduler's turns.
class Barrier {
 public:
  void wait(int size) {
    const unsigned turn = turn_.load(std::memory_order_acquire);
    if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      waiting_.store(0, std::memory_order_relaxed);
      turn_.store(turn + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; turn_.load(std::memory_order_acquire) == turn; ++spins) {
      if (spins >= kSpins)
        sched_yield();
      else
        relax();
    }
  }

 private:
  static constexpr int kSpins = 2000;

  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  alignas(64) std::atomic<int> waiting_{0};
  alignas(64) std::atomic<unsigned> turn_{0};
};

struct Team {
  int rank;
  int size;
  Barrier* gate;

  void barrier() const {
    if (size > 1) gate->wait(size);
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
    body(Team{0, 1, nullptr});
    return;
  }
  Barrier gate;
#pragma omp parallel num_threads(threads)
  body(Team{omp_get_thread_num(), omp_get_num_threads(), &gate});
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
