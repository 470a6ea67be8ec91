#include "runtime/crowd.h"

#include <time.h>

#include <algorithm>

#include "sparse_engine/counters.h"

namespace sparse_engine {
namespace {

// A shorter region says nothing: a single turn of the scheduler takes some milliseconds.
constexpr int64_t kShortest = 5'000'000;
constexpr int kFirstPause = 8, kLongestPause = 256;

std::atomic<int> regions_alone{0}, pause{kFirstPause};

int64_t nanoseconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

}  // namespace

Share::Share() : started_(nanoseconds(CLOCK_MONOTONIC)) {}

int64_t Share::begin() { return nanoseconds(CLOCK_THREAD_CPUTIME_ID); }

void Share::end(int64_t begun) {
  tally(counters.members);
  const int64_t ran = nanoseconds(CLOCK_THREAD_CPUTIME_ID) - begun;
  int64_t most = most_.load(std::memory_order_relaxed);
  while (most < ran && !most_.compare_exchange_weak(most, ran, std::memory_order_relaxed)) {
  }
}

void Share::report() const {
  tally(counters.teams);
  judge(nanoseconds(CLOCK_MONOTONIC) - started_, most_.load(std::memory_order_relaxed));
}

void judge(int64_t took, int64_t most) {
  if (took < kShortest || !crowding.load(std::memory_order_relaxed)) return;
  // Where only the work is uneven, the member that has most of it runs all the time.
  if (2 * most >= took) {
    pause.store(kFirstPause, std::memory_order_relaxed);
    return;
  }
  const int length = pause.load(std::memory_order_relaxed);
  regions_alone.store(length, std::memory_order_relaxed);
  pause.store(std::min(2 * length, kLongestPause), std::memory_order_relaxed);
}

bool stays_alone() {
  const int left = regions_alone.load(std::memory_order_relaxed);
  if (left <= 0) return false;
  regions_alone.store(left - 1, std::memory_order_relaxed);
  tally(counters.crowded);
  return true;
}

}  // namespace sparse_engine
