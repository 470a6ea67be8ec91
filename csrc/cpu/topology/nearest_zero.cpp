#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "runtime/team.h"
#include "sparse_engine/select.h"
#include "topology/order.h"

namespace sparse_engine {
namespace {

// Keys of positive numbers are in this bin and above it, those of negative ones below it.
constexpr int64_t kZeroBin = kBins / 2;

// One sign: the bin in which the last of the chosen is, and how many are chosen there.
template <typename T>
struct Side {
  int64_t bin = 0;
  int64_t wanted = 0;
  std::vector<std::pair<Key<T>, int64_t>> candidates;  // distance from zero, position

  // Goes from bin `first` away from zero.
  void cut(const std::vector<int64_t>& histogram, int64_t first, int64_t step, int64_t count) {
    for (bin = first, wanted = count; wanted > histogram[bin]; bin += step)
      wanted -= histogram[bin];
  }

  void choose(bool* chosen) {
    if (wanted == 0) return;
    // Positions break ties, so the order in which threads delivered them does not matter.
    std::nth_element(candidates.begin(), candidates.begin() + (wanted - 1), candidates.end());
    for (int64_t i = 0; i < wanted; ++i) chosen[candidates[i].second] = true;
  }
};

}  // namespace

template <typename T>
int64_t nearest_zero(const T* values, int64_t n, double share, bool* chosen, int threads) {
  std::atomic<int64_t> nan{-1};
  std::vector<int64_t> histogram(kBins);
  int64_t zeros = 0, negatives = 0;
  Side<T> above, below;
  run_team(useful_threads(threads, n / 4), [&](const Team& team) {
    const int64_t first = team.first(n), last = team.last(n);
    std::vector<int32_t> own(kBins);
    int64_t own_zeros = 0, own_negatives = 0;
    for (int64_t i = first; i < last; ++i) {
      if (values[i] != values[i]) nan = i;
      own_zeros += values[i] == T(0);
      own_negatives += values[i] < T(0);
      ++own[bin_of<T>(ordered(values[i]))];
    }
#pragma omp critical(sparse_engine_nearest_zero)
    {
      zeros += own_zeros;
      negatives += own_negatives;
      for (int64_t b = 0; b < kBins; ++b) histogram[b] += own[b];
    }
    team.barrier();
    if (team.rank == 0 && nan < 0) {
      histogram[kZeroBin] -= zeros;
      above.cut(histogram, kZeroBin, 1, static_cast<int64_t>(share * (n - zeros - negatives)));
      below.cut(histogram, kZeroBin - 1, -1, static_cast<int64_t>(share * negatives));
    }
    team.barrier();
    Side<T> mine_above, mine_below;
    const int64_t highest = above.bin, lowest = below.bin;
    for (int64_t i = first; i < last; ++i) {
      const Key<T> key = ordered(values[i]);
      const int64_t bin = bin_of<T>(key);
      const bool zero = values[i] == T(0);
      // Bitwise, for a branch on what is in no order would be mispredicted all the time.
      chosen[i] = ((bin > lowest) & (bin < highest)) | zero;
      if ((bin == highest) & !zero) mine_above.candidates.emplace_back(key, i);
      if (bin == lowest) mine_below.candidates.emplace_back(~key, i);
    }
#pragma omp critical(sparse_engine_nearest_zero)
    for (auto [side, mine] : {std::pair(&above, &mine_above), std::pair(&below, &mine_below)})
      side->candidates.insert(side->candidates.end(), mine->candidates.begin(),
                              mine->candidates.end());
  });
  if (nan >= 0) return nan;
  above.choose(chosen);
  below.choose(chosen);
  return -1;
}

template int64_t nearest_zero(const float*, int64_t, double, bool*, int);
template int64_t nearest_zero(const double*, int64_t, double, bool*, int);

}  // namespace sparse_engine
