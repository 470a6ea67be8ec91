#include "sparse_engine/select.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "runtime/team.h"
#include "topology/order.h"

namespace sparse_engine {
namespace {

// Scores as keys in ascending order. Those that may not be chosen wrap around to the end: half of
// all links may be among them, in no order, and a branch would be mispredicted as often.
template <typename T>
struct Keys {
  const T* entries;
  T sign;
  Key<T> least;

  explicit Keys(const Scores<T>& scores)
      : entries(scores.entries),
        sign(scores.negate ? T(-1) : T(1)),
        least(scores.above != scores.above ? Key<T>(0) : ordered(scores.above) + 1) {}

  Key<T> operator[](int64_t i) const { return ordered(sign * entries[i]) - least; }
  bool may_be_chosen(Key<T> key) const { return key < Key<T>(0) - least || least == 0; }
};

}  // namespace

template <typename T>
int64_t smallest(const Scores<T>& scores, int64_t count, bool* chosen, int threads) {
  using Candidate = std::pair<Key<T>, int64_t>;
  const Keys<T> keys(scores);
  std::atomic<int64_t> nan{-1};
  std::vector<int64_t> histogram(kBins);
  std::vector<Candidate> candidates;
  int64_t eligible = 0, threshold = 0, below = 0;
  run_team(useful_threads(threads, scores.n / 4), [&](const Team& team) {
    const int64_t first = team.first(scores.n), last = team.last(scores.n);
    std::vector<int32_t> own(kBins);
    int64_t own_eligible = 0;
    for (int64_t i = first; i < last; ++i) {
      if (scores.entries[i] != scores.entries[i]) nan = i;
      const Key<T> key = keys[i];
      own_eligible += keys.may_be_chosen(key);
      ++own[bin_of<T>(key)];
    }
#pragma omp critical(sparse_engine_smallest)
    {
      eligible += own_eligible;
      for (int64_t b = 0; b < kBins; ++b) histogram[b] += own[b];
    }
    team.barrier();
    // The bin that holds the last of the chosen: all below it are in, some of its own are.
    if (team.rank == 0) {
      count = std::min(count, eligible);
      while (threshold < kBins && below + histogram[threshold] < count)
        below += histogram[threshold++];
    }
    team.barrier();
    std::vector<Candidate> mine;
    for (int64_t i = first; i < last; ++i) {
      const Key<T> key = keys[i];
      const int64_t bin = bin_of<T>(key);
      chosen[i] = bin < threshold;
      if (bin == threshold) mine.emplace_back(key, i);
    }
#pragma omp critical(sparse_engine_smallest)
    candidates.insert(candidates.end(), mine.begin(), mine.end());
  });
  if (nan >= 0) return nan;
  const int64_t wanted = count - below;
  if (wanted > 0) {
    // Positions break ties, so the order in which threads delivered them does not matter.
    std::nth_element(candidates.begin(), candidates.begin() + (wanted - 1), candidates.end());
    for (int64_t i = 0; i < wanted; ++i) chosen[candidates[i].second] = true;
  }
  return -1;
}

template int64_t smallest(const Scores<float>&, int64_t, bool*, int);
template int64_t smallest(const Scores<double>&, int64_t, bool*, int);

}  // namespace sparse_engine
