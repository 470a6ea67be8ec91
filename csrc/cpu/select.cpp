#include "sparse_engine/select.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "team.h"

namespace sparse_engine {
namespace {

// Sign, exponent and a few bits more: a histogram that stays in the first-level caches.
constexpr int kBinBits = 13;
constexpr int64_t kBins = int64_t{1} << kBinBits;

// An unsigned integer that is ordered as the numbers are.
template <typename T>
auto ordered(T value) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  constexpr int kSign = 8 * sizeof(T) - 1;
  value += T(0);  // -0 becomes 0, so that the two are equal
  Bits bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits ^ ((Bits(0) - (bits >> kSign)) | Bits(1) << kSign);
}

// Scores that may not be chosen fall into a last bin, which is never reached. Written
// without a branch: half of all links may be on the wrong side, in no order.
template <typename T>
int64_t bin_of(T value, T above) {
  const int64_t bin = static_cast<int64_t>(ordered(value) >> (8 * sizeof(T) - kBinBits));
  return bin + (kBins - bin) * static_cast<int64_t>(value <= above);
}

}  // namespace

template <typename T>
int64_t smallest(const Scores<T>& scores, int64_t count, bool* chosen, int threads) {
  using Candidate = std::pair<decltype(ordered(T())), int64_t>;
  std::atomic<int64_t> nan{-1};
  std::vector<int64_t> histogram(kBins);
  std::vector<Candidate> candidates;
  int64_t threshold = 0;
  const T sign = scores.negate ? T(-1) : T(1), above = scores.above;
  run_team(useful_threads(threads, scores.n / 4), [&](const Team& team) {
    const int64_t first = team.first(scores.n), last = team.last(scores.n);
    std::vector<int32_t> own(kBins + 1);
    for (int64_t i = first; i < last; ++i) {
      const T score = sign * scores.entries[i];
      if (score != score) nan = i;
      ++own[bin_of(score, above)];
    }
#pragma omp critical(sparse_engine_smallest)
    for (int64_t b = 0; b < kBins; ++b) histogram[b] += own[b];
    team.barrier();
    // The bin that holds the last of the chosen: all below it are in, some of its own are.
    if (team.rank == 0)
      for (int64_t below = 0; threshold < kBins && below + histogram[threshold] < count;)
        below += histogram[threshold++];
    team.barrier();
    std::vector<Candidate> mine;
    for (int64_t i = first; i < last; ++i) {
      const T score = sign * scores.entries[i];
      const int64_t bin = bin_of(score, above);
      chosen[i] = bin < threshold;
      if (bin == threshold && bin < kBins) mine.emplace_back(ordered(score), i);
    }
#pragma omp critical(sparse_engine_smallest)
    candidates.insert(candidates.end(), mine.begin(), mine.end());
  });
  if (nan >= 0) return nan;
  int64_t wanted = count;
  for (int64_t b = 0; b < std::min(threshold, kBins); ++b) wanted -= histogram[b];
  wanted = std::min<int64_t>(wanted, candidates.size());
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
