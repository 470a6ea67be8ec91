// Sums over the lanes of one vector per link, for the gradients of links.
#pragma once

#include <algorithm>

#include "runtime/kept.h"
#include "runtime/simd.h"

namespace sparse_engine {
namespace {

// Adds to gradient[p], for consecutive links p, the sum over the lanes of a vector of K partial
// sums. As many links as a vector has lanes are summed together, across rows too, since the links
// of neighbouring rows are neighbours in memory.
template <typename T, int K>
class LinkSums {
  // From so many links on, a row is worth groups of its own, whose sums stay in registers.
  static constexpr int64_t kLongRow = 2 * K;
  static constexpr int kFetched = std::min(K, 4);

 public:
  // `gradient` is that of the first link to come.
  explicit LinkSums(T* gradient) : to_(gradient) {}

  // The next n links, a row: products(i, odd) gives the vector of link i. Every other link of the
  // row is `odd`, so that what is added up on the way need not wait for its neighbour. Before
  // links [i, i + count), fetch(i, count, first) asks for what those behind them will need: a few
  // at a time, since a core waits for no more lines at once. `first` is set where `i` begins a
  // group.
  template <class Fetch, class Products>
  SE_INLINE void row(int64_t n, const Fetch& fetch, const Products& products) {
    int64_t i = 0;
    if (K > 1 && n >= kLongRow) {
      finish();
      for (; i + K <= n; i += K) {
        Vec<T, K> group[K];
#pragma GCC unroll 16
        for (int k = 0; k < K; ++k) {
          if (k % kFetched == 0) fetch(i + k, kFetched, k == 0);
          group[k] = products(i + k, k % 2 == 1);
        }
        add(group);
      }
    }
    for (; i + 2 <= n; i += 2) {
      fetch(i, 2, true);
      push(products(i, false));
      push(products(i + 1, true));
    }
    if (i < n) push(products(i, false));
  }

  // Must follow the last row.
  SE_INLINE void finish() {
    if constexpr (K > 1) {
      if (held_ == 0) return;
      for (int i = held_; i < K; ++i) pending_[i] = Vec<T, K>{};
      const Vec<T, K> sums = sums_of<T, K>(pending_);
      for (int i = 0; i < held_; ++i) *to_++ += sums[i];
      held_ = 0;
    }
  }

 private:
  SE_INLINE void push(Vec<T, K> sum) {
    if constexpr (K == 1) {
      *to_++ += sum;
    } else {
      pending_[held_++] = sum;
      if (held_ == K) add(pending_), held_ = 0;
    }
  }

  SE_INLINE void add(const Vec<T, K> (&group)[K]) {
    store<T, K>(to_, load<T, K>(to_) + sums_of<T, K>(group));
    to_ += K;
  }

  T* to_;
  int held_ = 0;
  Vec<T, K> pending_[K];
};

}  // namespace
}  // namespace sparse_engine
