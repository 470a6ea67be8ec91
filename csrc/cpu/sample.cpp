// Uniform sampling of cells that hold no link, in time proportional to links and sample.
#include <algorithm>
#include <vector>

#include "sparse_engine/pattern.h"
#include "sparse_engine/philox.h"
#include "team.h"

namespace sparse_engine {
namespace {

// A number in [0, range), from 64 random bits.
int64_t scaled(uint64_t bits, int64_t range) {
  return static_cast<int64_t>(static_cast<unsigned __int128>(bits) * range >> 64);
}

// Least significant digit first, 11 bits at a time.
void sort_below(std::vector<int64_t>& values, int64_t range) {
  constexpr int kBits = 11;
  std::vector<int64_t> other(values.size());
  for (int shift = 0; shift < 63 && (range - 1) >> shift > 0; shift += kBits) {
    int64_t start[(1 << kBits) + 1] = {};
    const auto digit = [&](int64_t v) { return v >> shift & ((1 << kBits) - 1); };
    for (int64_t v : values) ++start[digit(v) + 1];
    for (int d = 0; d < 1 << kBits; ++d) start[d + 1] += start[d];
    for (int64_t v : values) other[start[digit(v)]++] = v;
    values.swap(other);
  }
}

// The first `count` distinct numbers of an endless sequence of uniform draws from [0, range): a
// uniformly random subset, whatever order or thread count it is computed in. Sorted. Needs
// count <= range / 2, so that repeated draws stay rare.
std::vector<int64_t> distinct(int64_t count, int64_t range, const RandomKey& key, int threads) {
  std::vector<int64_t> drawn;
  for (uint64_t next = 0; static_cast<int64_t>(drawn.size()) < count;) {
    const int64_t have = static_cast<int64_t>(drawn.size()), missing = count - have;
    drawn.resize(count);
    run_team(useful_threads(threads, missing), [&](const Team& team) {
      for (int64_t i = team.first(missing); i < team.last(missing); ++i) {
        const uint64_t draw = next + i;
        const Philox bits = Philox::at(draw / 2, key.step, key.stream, key.seed);
        drawn[have + i] = scaled(bits.pair(draw % 2), range);
      }
    });
    next += missing;
    sort_below(drawn, range);
    drawn.erase(std::unique(drawn.begin(), drawn.end()), drawn.end());
  }
  return drawn;
}

// `count` distinct numbers below `range`, sorted.
std::vector<int64_t> subset(int64_t count, int64_t range, const RandomKey& key, int threads) {
  if (count <= range / 2) return distinct(count, range, key, threads);
  const std::vector<int64_t> left_out = distinct(range - count, range, key, threads);
  std::vector<int64_t> rest;
  rest.reserve(count);
  int64_t from = 0;
  for (int64_t hole : left_out) {
    for (; from < hole; ++from) rest.push_back(from);
    from = hole + 1;
  }
  for (; from < range; ++from) rest.push_back(from);
  return rest;
}

}  // namespace

void sample_absent(const Csr& w, int64_t count, const RandomKey& key, int64_t* cells,
                   int threads) {
  // A draw is a rank among the absent cells; walking the links of a row turns rank into column.
  const auto absent_before = [&](int64_t row) { return row * w.cols - w.ptr[row]; };
  const std::vector<int64_t> ranks = subset(count, absent_before(w.rows), key, threads);
  run_team(useful_threads(threads, w.nnz() + w.rows + count), [&](const Team& team) {
    const int64_t first = team.first(w.rows), last = team.last(w.rows);
    int64_t i = std::lower_bound(ranks.begin(), ranks.end(), absent_before(first)) - ranks.begin();
    for (int64_t row = first; row < last; ++row) {
      int64_t p = w.ptr[row];
      for (; i < count && ranks[i] < absent_before(row + 1); ++i) {
        const int64_t rank = ranks[i] - absent_before(row);
        while (p < w.ptr[row + 1] && w.idx[p] - (p - w.ptr[row]) <= rank) ++p;
        cells[i] = row * w.cols + rank + (p - w.ptr[row]);
      }
    }
  });
}

}  // namespace sparse_engine
