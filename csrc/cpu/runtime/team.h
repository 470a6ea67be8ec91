// A team of threads that works through one parallel region together.
#pragma once

#include <omp.h>
#include <sched.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdint>

#include "runtime/trials.h"
#include "sparse_engine/counters.h"
#include "sparse_engine/threads.h"

namespace sparse_engine {
namespace {

// Where the members of a team wait for each other, many times. They spin only as long as steps of
// equal work differ, then give their processor away a few times, and then sleep: OpenMP's own
// barrier spins for up to a millisecond, and next to another busy process every step would cost one
// of the scheduler's turns.
class Barrier {
 public:
  void wait(int size) {
    const unsigned turn = turn_.load(std::memory_order_acquire);
    if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      waiting_.store(0, std::memory_order_relaxed);
      // Either a member that goes to sleep is seen here, or it sees the new turn.
      turn_.store(turn + 1, std::memory_order_seq_cst);
      if (asleep_.load(std::memory_order_seq_cst) > 0) wake();
      return;
    }
    for (int tries = 0; turn_.load(std::memory_order_acquire) == turn; ++tries) {
      if (tries < kSpins)
        relax();
      else if (tries < kSpins + kYields)
        sched_yield();
      else
        sleep(turn);
    }
  }

 private:
  static constexpr int kSpins = 2000, kYields = 16;

  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

#if defined(__linux__)
  // Returns at once where the turn is another one by now.
  void sleep(unsigned turn) {
    asleep_.fetch_add(1, std::memory_order_seq_cst);
    syscall(SYS_futex, &turn_, FUTEX_WAIT_PRIVATE, turn, nullptr, nullptr, 0);
    asleep_.fetch_sub(1, std::memory_order_relaxed);
  }
  void wake() { syscall(SYS_futex, &turn_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0); }
#else
  void sleep(unsigned) { sched_yield(); }
  void wake() {}
#endif

  alignas(64) std::atomic<int> waiting_{0};
  alignas(64) std::atomic<unsigned> turn_{0};
  std::atomic<int> asleep_{0};
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

// Runs body(team) on `threads` threads, or right here when there is one. All threads that
// operations may have take part, and those that are not in the team do nothing: OpenMP ends threads
// that a smaller region leaves out, and starting them again costs tens of microseconds.
template <class Body>
inline void run_team(int threads, const Body& body) {
  if (threads <= 1) {
    body(Team{0, 1, nullptr});
    return;
  }
  tally(counters.teams);
  Barrier gate;
#pragma omp parallel num_threads(std::max(threads, region_threads()))
  {
    const int rank = omp_get_thread_num(), size = std::min(threads, omp_get_num_threads());
    if (rank < size) {
      tally(counters.members);
      body(Team{rank, size, &gate});
    }
  }
}

// How many threads pay for `work` multiply-adds between two barriers: a thread must save more
// than a barrier costs, about a microsecond.
inline int useful_threads(int threads, int64_t work) {
  constexpr int64_t kWorkPerThread = 32 * 1024;
  const int64_t useful = 1 + work / kWorkPerThread;
  return static_cast<int>(useful < threads ? useful : threads);
}

// The threads that pay, and the work.
inline Job job_of(int threads, int64_t work, int64_t steps = 1) {
  return {useful_threads(threads, work), work, steps};
}

// The same for a region of its own with so much work in all: to wake a thread costs tens of
// microseconds.
inline Job job_of_region(int threads, int64_t work) {
  constexpr int64_t kBarriers = 32;
  return {useful_threads(threads, work / kBarriers), work};
}

// Runs body(team) on so many threads, or right here, whichever is quicker.
template <class Body>
inline void run_team(const Job& job, const Body& body) {
  static char code;
  const Trial trial(&code, job, job.threads > 1, false);
  run_team(trial.way() == Way::kAlone ? 1 : job.threads, body);
}

}  // namespace
}  // namespace sparse_engine
