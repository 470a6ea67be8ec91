// Uniform sampling of cells that hold no link, in time proportional to links and sample.
#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/memory.h"
#include "runtime/team.h"
#include "sparse_engine/pattern.h"
#include "sparse_engine/philox.h"

namespace sparse_engine {
namespace {

// A number in [0, range), from 64 random bits.
int64_t scaled(uint64_t bits, int64_t range) {
  return static_cast<int64_t>(static_cast<unsigned __int128>(bits) * range >> 64);
}

// Numbers are sorted by digits of so many bits, in at most so many buckets of about so many draws.
constexpr int kDigitBits = 8, kBuckets = 1024, kDraws = 1024;

// Sorts n numbers below 2^bits, least significant digit first. The result is in `values` for an
// even number of digits and in `other` for an odd one.
void sort_digits(int64_t* values, int64_t* other, int64_t n, int bits) {
  constexpr int64_t kMask = (1 << kDigitBits) - 1;
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    int64_t start[kMask + 1] = {};
    for (int64_t i = 0; i < n; ++i) ++start[values[i] >> shift & kMask];
    for (int64_t sum = 0, k = 0; k <= kMask; ++k) sum += std::exchange(start[k], sum);
    for (int64_t i = 0; i < n; ++i) other[start[values[i] >> shift & kMask]++] = values[i];
    std::swap(values, other);
  }
}

// Sorts n numbers below `range`: they are dealt out to buckets that fit a cache, and sorted there.
// Returns `values` or `other`, where the result is.
int64_t* sort_below(int64_t* values, int64_t* other, int64_t n, int64_t range, int threads) {
  const int64_t buckets = std::clamp<int64_t>(n / kDraws, 1, kBuckets);
  int bits = 0;
  while ((range - 1) >> bits >= buckets) ++bits;
  const int size = useful_threads(threads, n);
  std::vector<int64_t> next(size * kBuckets), begin(kBuckets + 1);
  run_team(size, [&](const Team& team) {
    int64_t* own = next.data() + team.rank * kBuckets;
    const int64_t first = team.first(n), last = team.last(n);
    for (int64_t i = first; i < last; ++i) ++own[values[i] >> bits];
    team.barrier();
    if (team.rank == 0)
      for (int bucket = 0; bucket < kBuckets; ++bucket) {
        begin[bucket + 1] = begin[bucket];
        for (int member = 0; member < team.size; ++member)
          begin[bucket + 1] += std::exchange(next[member * kBuckets + bucket], begin[bucket + 1]);
      }
    team.barrier();
    for (int64_t i = first; i < last; ++i) other[own[values[i] >> bits]++] = values[i];
    team.barrier();
    for (int64_t bucket = team.first(kBuckets); bucket < team.last(kBuckets); ++bucket) {
      const int64_t at = begin[bucket], count = begin[bucket + 1] - at;
      sort_digits(other + at, values + at, count, bits);
    }
  });
  return (bits + kDigitBits - 1) / kDigitBits % 2 == 0 ? other : values;
}

// The first `count` distinct numbers of an endless sequence of uniform draws from [0, range): a
// uniformly random subset, whatever order or thread count it is computed in. Sorted, in `values` or
// in `other`, both [count]. Needs count <= range / 2, so that repeated draws stay rare.
int64_t* distinct(int64_t count, int64_t range, const RandomKey& key, int64_t* values,
                  int64_t* other, int threads) {
  uint64_t next = 0;
  for (int64_t have = 0; have < count;) {
    const int64_t missing = count - have;
    run_team(useful_threads(threads, missing), [&](const Team& team) {
      Philox bits = {};
      for (int64_t i = team.first(missing); i < team.last(missing); ++i) {
        const uint64_t draw = next + i;
        if (draw % 2 == 0 || i == team.first(missing))
          bits = Philox::at(draw / 2, key.step, key.stream, key.seed);
        values[have + i] = scaled(bits.pair(draw % 2), range);
      }
    });
    next += missing;
    const bool moved =
        sort_below(values + have, other + have, missing, range, threads) == other + have;
    if (have == 0) {
      if (moved) std::swap(values, other);
    } else {
      if (moved) std::copy(other + have, other + count, values + have);
      std::merge(values, values + have, values + have, values + count, other);
      std::swap(values, other);
    }
    have = std::unique(values, values + count) - values;
  }
  return values;
}

// `count` distinct numbers below `range`, sorted, in `values` or in `other`, both [count].
int64_t* subset(int64_t count, int64_t range, const RandomKey& key, int64_t* values, int64_t* other,
                int threads) {
  if (count <= range / 2) return distinct(count, range, key, values, other, threads);
  const int64_t holes = range - count;
  Scratch scratch(2 * Scratch::bytes_of<int64_t>(holes));
  int64_t* first = scratch.take<int64_t>(holes);
  const int64_t* hole = distinct(holes, range, key, first, scratch.take<int64_t>(holes), threads);
  for (int64_t at = 0, from = 0, h = 0; from < range; ++from) {
    if (h < holes && hole[h] == from)
      ++h;
    else
      values[at++] = from;
  }
  return values;
}

}  // namespace

void sample_absent(const Csr& w, const bool* dropped, int64_t count, const RandomKey& key,
                   int64_t* cells, int threads) {
  Scratch scratch(2 * Scratch::bytes_of<int64_t>(count) + Scratch::bytes_of<int64_t>(w.rows + 1));
  int64_t* values = scratch.take<int64_t>(count);
  int64_t* other = scratch.take<int64_t>(count);
  int64_t* absent_before = scratch.take<int64_t>(w.rows + 1);
  absent_before[0] = 0;
  const int size = useful_threads(threads, w.nnz() + w.rows + count);
  run_team(size, [&](const Team& team) {
    for (int64_t row = team.first(w.rows); row < team.last(w.rows); ++row) {
      absent_before[row + 1] = w.cols - (w.ptr[row + 1] - w.ptr[row]);
      if (dropped)
        absent_before[row + 1] += std::count(dropped + w.ptr[row], dropped + w.ptr[row + 1], true);
    }
  });
  for (int64_t row = 0; row < w.rows; ++row) absent_before[row + 1] += absent_before[row];

  // A draw is a rank among the absent cells; walking the links of a row turns rank into column.
  const int64_t* ranks = subset(count, absent_before[w.rows], key, values, other, threads);
  run_team(size, [&](const Team& team) {
    const int64_t first = team.first(w.rows), last = team.last(w.rows);
    int64_t i = std::lower_bound(ranks, ranks + count, absent_before[first]) - ranks;
    for (int64_t row = first; row < last; ++row) {
      int64_t p = w.ptr[row], links = 0;
      for (; i < count && ranks[i] < absent_before[row + 1]; ++i) {
        const int64_t rank = ranks[i] - absent_before[row];
        for (; p < w.ptr[row + 1] && w.idx[p] - links <= rank; ++p)
          links += dropped == nullptr || !dropped[p];
        cells[i] = row * w.cols + rank + links;
      }
    }
  });
}

}  // namespace sparse_engine
